#include "core/lan/router_advertiser.h"

#include <algorithm>

#include "core/wire/frame_builder.h"
#include "core/wire/router_advertisement.h"

namespace cordon::lan {
namespace {

using namespace std::chrono_literals;

// RFC 4861 sections 6.2.1 and 10.
constexpr auto kLongest = 600s;
constexpr auto kShortest = 200s;
constexpr auto kInitialInterval = 16s;
constexpr unsigned kInitialCount = 3;
constexpr auto kBetweenMulticasts = 3s;
constexpr std::uint16_t kRouterLifetime = 3 * kLongest.count();
constexpr std::uint32_t kPrefixValid = 30 * 86400;
constexpr std::uint32_t kPrefixPreferred = 7 * 86400;

constexpr net::Ipv6Address kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr net::MacAddress kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
constexpr std::size_t kHeaders = 54;      // Ethernet, IPv6
constexpr std::size_t kMost = 1280 - 40;  // of ICMPv6: fits every IPv6 link

// splitmix64 (Steele et al. 2014): spreads the intervals, guards nothing.
std::uint64_t next_random(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

}  // namespace

void RouterAdvertiser::start(base::Instant now) {
  if (config_.services.router && config_.services.unsolicited) due_ = now;
}

void RouterAdvertiser::schedule(base::Instant now) {
  due_ = base::Instant::never();
  if (!config_.services.unsolicited) return;
  if (initial_ < kInitialCount) ++initial_;
  if (initial_ < kInitialCount) {
    due_ = now + kInitialInterval;
    return;
  }
  constexpr auto kSpan = std::chrono::duration_cast<base::Duration>(kLongest - kShortest);
  due_ = now + kShortest +
         base::Duration{
             static_cast<std::int64_t>(next_random(random_) % static_cast<std::uint64_t>(kSpan.count()))};
}

Answer RouterAdvertiser::on_solicitation(net::MacAddress source_mac, const wire::Packet& packet,
                                         base::Instant now, ReplyBuffer out) {
  if (!config_.services.router) return {Outcome::kNothingToSay, {}, 0};
  if (!net::is_unspecified(packet.source)) {
    if (!unicast_.take(now)) return {Outcome::kRateLimited, {}, 0};
    return {Outcome::kReply, {}, write(source_mac, packet.source.v6(), out)};
  }
  const base::Instant earliest = last_multicast_ + kBetweenMulticasts;
  if (now >= earliest) return {Outcome::kReply, {}, multicast(now, out)};
  due_ = std::min(due_, earliest);
  return {Outcome::kRateLimited, {}, 0};
}

std::size_t RouterAdvertiser::on_timer(base::Instant now, ReplyBuffer out) {
  return now < due_ ? 0 : multicast(now, out);
}

std::size_t RouterAdvertiser::multicast(base::Instant now, ReplyBuffer out) {
  last_multicast_ = now;
  schedule(now);
  return write(kAllNodesMac, kAllNodes, out);
}

std::size_t RouterAdvertiser::write(net::MacAddress destination_mac, net::Ipv6Address destination,
                                    ReplyBuffer out) const {
  const LanAddresses& lan = *config_.v6;
  wire::RouterAdvertisementFields fields;
  fields.managed = config_.services.dhcpv6;
  fields.other = config_.services.dhcpv6;
  fields.router_lifetime = kRouterLifetime;
  fields.source_mac = config_.our_mac;
  fields.mtu = config_.announce_mtu ? config_.mtu : 0U;
  fields.prefix = lan.on_link;
  fields.autonomous = config_.services.slaac;
  fields.valid_lifetime = kPrefixValid;
  fields.preferred_lifetime = kPrefixPreferred;
  std::array<net::Ipv6Address, kNameServers> servers{};
  std::size_t told = 0;
  for (const auto& server : name_servers(lan))
    if (server) servers.at(told++) = server->v6();
  fields.dns = std::span(servers).first(told);
  fields.search = config_.services.search;
  fields.dns_lifetime = kRouterLifetime;
  const std::size_t length = wire::put_router_advertisement(out.subspan(kHeaders, kMost),
                                                            config_.our_link_local, destination, fields);
  const wire::FrameTemplate frame(
      {config_.our_mac, destination_mac, {config_.our_link_local, {}}, {destination, {}}},
      wire::IpProtocol::kIcmpv6, 255);
  frame.put_network(out.first<wire::kMaxHeaders>(), length);
  return kHeaders + length;
}

}  // namespace cordon::lan
