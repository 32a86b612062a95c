#include "core/lan/dhcpv6_server.h"

#include <algorithm>
#include <bitset>

#include "core/base/check.h"
#include "core/wire/frame_builder.h"
#include "core/wire/name_list.h"

namespace cordon::lan {
namespace {

using wire::Dhcpv6Status;
using wire::Dhcpv6Type;
using wire::OptionWriter;
namespace option = wire::dhcpv6_option;
using Association = wire::Dhcpv6View::Association;

constexpr std::size_t kHeaders = 62;           // Ethernet, IPv6, UDP
constexpr std::size_t kMostPayload = 1232;     // of a packet of the smallest IPv6 MTU
constexpr std::uint32_t kForbiddenTime = 0;    // lifetimes of an address that must not be used any more
constexpr std::uint32_t kRefreshTime = 86400;  // RFC 8415 section 7.6

constexpr net::Ipv6Address kAllServers{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}};

Answer malformed(wire::ParseError error) { return {Outcome::kMalformed, error, 0}; }

bool told(const LanAddresses& lan) {
  return std::ranges::any_of(name_servers(lan), [](const auto& server) { return server.has_value(); });
}

// An option whose length is known when `fill` is done; left out as a whole when it does not fit.
template <class Fill>
void put_option(OptionWriter& out, std::uint16_t code, Fill fill) {
  const std::size_t start = out.size();
  const bool header = out.number(code) && out.number(std::uint16_t{0});
  if (!header || !fill()) return out.rewind(start);
  out.set(start + 2, static_cast<std::uint16_t>(out.size() - start - 4));
}

void put_bytes(OptionWriter& out, std::uint16_t code, base::Bytes value) {
  put_option(out, code, [&] { return out.bytes(value); });
}

void put_status(OptionWriter& out, Dhcpv6Status status) {
  put_option(out, option::kStatusCode, [&] { return out.number(static_cast<std::uint16_t>(status)); });
}

bool put_address(OptionWriter& out, net::Ipv6Address address, std::uint32_t lifetime) {
  const std::size_t start = out.size();
  if (out.number(option::kIaAddress) && out.number(std::uint16_t{24}) &&
      out.bytes(std::as_bytes(std::span(address.bytes()))) && out.number(lifetime) && out.number(lifetime))
    return true;
  out.rewind(start);
  return false;
}

// RFC 8415 section 16: who may and who must be named.
bool identifiers_fit(const wire::Dhcpv6View& request, base::Bytes own) {
  const bool client = !request.client_id().empty();
  const bool server = !request.server_id().empty();
  switch (request.type()) {
    case Dhcpv6Type::kSolicit:
    case Dhcpv6Type::kConfirm:
    case Dhcpv6Type::kRebind: return client && !server;
    case Dhcpv6Type::kRequest:
    case Dhcpv6Type::kRenew:
    case Dhcpv6Type::kRelease:
    case Dhcpv6Type::kDecline: return client && server;
    case Dhcpv6Type::kInformationRequest:
      return request.associations().empty() && (!server || std::ranges::equal(request.server_id(), own));
    case Dhcpv6Type::kAdvertise:
    case Dhcpv6Type::kReply:
    case Dhcpv6Type::kReconfigure:
    case Dhcpv6Type::kRelayForward:
    case Dhcpv6Type::kRelayReply: break;
  }
  return false;
}

bool is_for_clients_only(Dhcpv6Type type) {
  return type == Dhcpv6Type::kAdvertise || type == Dhcpv6Type::kReply || type == Dhcpv6Type::kReconfigure;
}

}  // namespace

// Which of the plan's addresses this message has been given already.
struct Dhcpv6Server::Lease {
  std::array<net::Ipv6Address, kMoreAddresses + 1> addresses{};
  std::size_t count = 0;
  std::bitset<kMoreAddresses + 1> taken;

  explicit Lease(const LanAddresses& lan) {
    addresses[count++] = lan.guest.v6();
    for (const auto& more : lan.more_guest)
      if (more) addresses[count++] = more->v6();
  }
  [[nodiscard]] std::optional<std::size_t> find(net::Ipv6Address address) const {
    const auto all = std::span(addresses).first(count);
    const auto at = std::ranges::find(all, address);
    if (at == all.end()) return std::nullopt;
    return static_cast<std::size_t>(at - all.begin());
  }
  // Keeps those that one of the message's associations lists for it.
  void reserve(std::span<const Association> associations) {
    for (const auto& association : associations)
      for (const auto& address : association.listed())
        if (const auto i = find(address)) taken[*i] = true;
  }
  [[nodiscard]] std::optional<net::Ipv6Address> take_any() {
    for (std::size_t i = 0; i < count; ++i) {
      if (taken[i]) continue;
      taken[i] = true;
      return addresses[i];
    }
    return std::nullopt;
  }
};

Dhcpv6Server::Dhcpv6Server(const LanConfig& config) : config_(config) {
  CORDON_CHECK(config.v6.has_value());
  OptionWriter duid{duid_};
  duid.number(std::uint16_t{3});  // DUID-LL
  duid.number(std::uint16_t{1});  // Ethernet
  duid.bytes(std::as_bytes(std::span(config.our_mac.bytes())));
}

Answer Dhcpv6Server::on_message(const wire::Packet& packet, base::Bytes payload, ReplyBuffer out) const {
  const auto request = wire::Dhcpv6View::parse(payload);
  if (!request) return malformed(request.error());
  const Dhcpv6Type type = request->type();
  if (type == Dhcpv6Type::kRelayForward || type == Dhcpv6Type::kRelayReply) return {Outcome::kRelayed, {}, 0};
  if (is_for_clients_only(type)) return malformed(wire::ParseError::kDhcpv6MessageType);
  if (!identifiers_fit(*request, duid_)) return malformed(wire::ParseError::kDhcpv6Identifier);
  if (!request->server_id().empty() && !std::ranges::equal(request->server_id(), duid_))
    return {Outcome::kNotForUs, {}, 0};
  if (packet.destination != net::IpAddress{kAllServers}) return by_unicast(packet, *request, out);

  OptionWriter body{out.subspan(kHeaders, kMostPayload)};
  const bool advertise = type == Dhcpv6Type::kSolicit && !request->rapid_commit();
  const auto answer = static_cast<std::uint32_t>(advertise ? Dhcpv6Type::kAdvertise : Dhcpv6Type::kReply);
  body.number(answer << 24U | request->transaction());
  put_identifiers(*request, body);
  if (!put_body(*request, body)) return {Outcome::kNothingToSay, {}, 0};
  return finish(packet, body.size(), out);
}

Answer Dhcpv6Server::by_unicast(const wire::Packet& packet, const wire::Dhcpv6View& request,
                                ReplyBuffer out) const {
  switch (request.type()) {
    case Dhcpv6Type::kRequest:
    case Dhcpv6Type::kRenew:
    case Dhcpv6Type::kRelease:
    case Dhcpv6Type::kDecline: break;
    case Dhcpv6Type::kSolicit:
    case Dhcpv6Type::kConfirm:
    case Dhcpv6Type::kRebind:
    case Dhcpv6Type::kInformationRequest:
    case Dhcpv6Type::kAdvertise:
    case Dhcpv6Type::kReply:
    case Dhcpv6Type::kReconfigure:
    case Dhcpv6Type::kRelayForward:
    case Dhcpv6Type::kRelayReply: return {Outcome::kNotForUs, {}, 0};
  }
  OptionWriter body{out.subspan(kHeaders, kMostPayload)};
  body.number(static_cast<std::uint32_t>(Dhcpv6Type::kReply) << 24U | request.transaction());
  put_identifiers(request, body);
  put_status(body, Dhcpv6Status::kUseMulticast);
  return finish(packet, body.size(), out);
}

void Dhcpv6Server::put_identifiers(const wire::Dhcpv6View& request, OptionWriter& out) const {
  put_bytes(out, option::kServerId, duid_);
  if (!request.client_id().empty()) put_bytes(out, option::kClientId, request.client_id());
}

bool Dhcpv6Server::put_body(const wire::Dhcpv6View& request, OptionWriter& out) const {
  switch (request.type()) {
    case Dhcpv6Type::kConfirm: return put_confirmation(request, out);
    case Dhcpv6Type::kRelease:
    case Dhcpv6Type::kDecline: put_release(request, out); return true;
    case Dhcpv6Type::kSolicit:
      if (request.rapid_commit())
        put_bytes(out, option::kRapidCommit, {});
      else  // nobody else will answer: the client need not wait for a better offer
        put_option(out, option::kPreference, [&] { return out.number(std::uint8_t{255}); });
      break;
    case Dhcpv6Type::kRequest:
    case Dhcpv6Type::kRenew:
    case Dhcpv6Type::kRebind:
    case Dhcpv6Type::kInformationRequest:
    case Dhcpv6Type::kAdvertise:
    case Dhcpv6Type::kReply:
    case Dhcpv6Type::kReconfigure:
    case Dhcpv6Type::kRelayForward:
    case Dhcpv6Type::kRelayReply: break;
  }
  // The settings first: a message with many associations may not leave room for all of them.
  put_settings(request, out);
  Lease lease{*config_.v6};
  lease.reserve(request.associations());
  for (const auto& association : request.associations()) put_association(request, association, lease, out);
  return true;
}

bool Dhcpv6Server::put_confirmation(const wire::Dhcpv6View& request, OptionWriter& out) const {
  std::size_t count = 0;
  bool all_leased = true;
  for (const auto& association : request.associations())
    for (const auto& address : association.listed()) {
      ++count;
      all_leased = all_leased && is_assigned(config_, address);
    }
  if (count == 0) return false;  // RFC 8415 section 18.3.3
  put_status(out, all_leased ? Dhcpv6Status::kSuccess : Dhcpv6Status::kNotOnLink);
  return true;
}

// Sections 18.3.7 and 18.3.8; what was never given is told so.
void Dhcpv6Server::put_release(const wire::Dhcpv6View& request, OptionWriter& out) const {
  put_status(out, Dhcpv6Status::kSuccess);
  for (const auto& association : request.associations()) {
    const bool known =
        association.option == option::kIaNa && association.address_count > 0 &&
        std::ranges::any_of(association.listed(), [&](const auto& a) { return is_assigned(config_, a); });
    if (known) continue;
    put_option(out, association.option, [&] {
      if (!out.number(association.id)) return false;
      if (association.option != option::kIaTa &&
          !(out.number(std::uint32_t{0}) && out.number(std::uint32_t{0})))
        return false;
      put_status(out, Dhcpv6Status::kNoBinding);
      return true;
    });
  }
}

// What an IA_NA gets; a status instead when that is nothing.
std::optional<Dhcpv6Status> Dhcpv6Server::put_addresses(const wire::Dhcpv6View& request,
                                                        const Association& association, Lease& lease,
                                                        OptionWriter& out) const {
  const std::uint32_t lifetime = config_.services.lease_seconds;
  const bool extends = request.type() == Dhcpv6Type::kRenew || request.type() == Dhcpv6Type::kRebind;
  bool given = false;
  bool foreign = false;
  for (const auto& address : association.listed()) {
    if (lease.find(address)) {
      given |= put_address(out, address, lifetime);
      continue;
    }
    foreign = true;
    // Sections 18.3.4 and 18.3.5: the client must stop using it.
    if (extends) put_address(out, address, kForbiddenTime);
  }
  if (given) return std::nullopt;
  // Section 18.3.2: a request for addresses that do not belong here.
  if (foreign && request.type() == Dhcpv6Type::kRequest) return Dhcpv6Status::kNotOnLink;
  const auto address = lease.take_any();
  if (address && put_address(out, *address, lifetime)) return std::nullopt;
  return Dhcpv6Status::kNoAddrsAvail;
}

void Dhcpv6Server::put_association(const wire::Dhcpv6View& request, const Association& association,
                                   Lease& lease, OptionWriter& out) const {
  const std::uint32_t lifetime = config_.services.lease_seconds;
  put_option(out, association.option, [&] {
    if (!out.number(association.id)) return false;
    if (association.option == option::kIaTa) {
      put_status(out, Dhcpv6Status::kNoAddrsAvail);
      return true;
    }
    const std::size_t times = out.size();
    if (!out.number(std::uint32_t{0}) || !out.number(std::uint32_t{0})) return false;
    if (association.option == option::kIaPd) {
      put_status(out, Dhcpv6Status::kNoPrefixAvail);
      return true;
    }
    const auto refusal = put_addresses(request, association, lease, out);
    if (refusal) {
      put_status(out, *refusal);
      return true;
    }
    out.set(times, lifetime / 2);          // T1
    out.set(times + 4, lifetime / 5 * 4);  // T2
    return true;
  });
}

void Dhcpv6Server::put_settings(const wire::Dhcpv6View& request, OptionWriter& out) const {
  const auto wanted = [&](std::uint16_t code) {
    return !request.has_option_request() || request.requests(code);
  };
  const Services& services = config_.services;
  if (wanted(option::kDnsServers) && told(*config_.v6))
    put_option(out, option::kDnsServers, [&] {
      return std::ranges::all_of(name_servers(*config_.v6), [&](const auto& server) {
        return !server || out.bytes(std::as_bytes(server->bytes()));
      });
    });
  if (wanted(option::kDomainList) && !services.search.empty())
    put_option(out, option::kDomainList, [&] {
      wire::put_names(out, services.search);
      return true;
    });
  if (request.type() == Dhcpv6Type::kInformationRequest && request.requests(option::kInformationRefresh))
    put_option(out, option::kInformationRefresh, [&] { return out.number(kRefreshTime); });
  if (!services.fqdn || (!request.fqdn_flags() && !request.requests(option::kFqdn))) return;
  // RFC 4704 section 6: we update nothing (N), against the client's wish when it had set S (O).
  constexpr std::uint8_t kServerUpdates = 1;
  constexpr std::uint8_t kOverridden = 2;
  constexpr std::uint8_t kNoUpdates = 4;
  const bool overridden = (request.fqdn_flags().value_or(0) & kServerUpdates) != 0;
  put_option(out, option::kFqdn, [&] {
    return out.number(static_cast<std::uint8_t>(kNoUpdates | (overridden ? kOverridden : 0))) &&
           wire::put_names(out, std::span(&*services.fqdn, 1));
  });
}

Answer Dhcpv6Server::finish(const wire::Packet& packet, std::size_t length, ReplyBuffer out) const {
  const wire::FrameTemplate frame({config_.our_mac,
                                   config_.guest_mac,
                                   {config_.our_link_local, net::Port{547}},
                                   {packet.source, net::Port{546}}},
                                  wire::IpProtocol::kUdp);
  const iovec payload = wire::piece(out.subspan(kHeaders, length));
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_udp(frame, std::span(&payload, 1), wire::ChecksumMode::kFull, headers);
  CORDON_CHECK(built.length == kHeaders);
  std::ranges::copy(std::span(headers).first<kHeaders>(), out.begin());
  return {Outcome::kReply, {}, kHeaders + length};
}

}  // namespace cordon::lan
