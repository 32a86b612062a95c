#include "core/udp/fragments.h"

#include <doctest/doctest.h>

#include <vector>

#include "core/udp/activity.h"
#include "core/wire/packet.h"
#include "core/wire/udp.h"

using namespace cordon;

namespace {

wire::FrameTemplate frame(bool v6) {
  wire::FrameTemplate::Ends ends;
  ends.source_mac = *net::parse_mac("02:00:00:00:00:02");
  ends.destination_mac = *net::parse_mac("02:00:00:00:00:15");
  ends.source = {*net::parse_ip(v6 ? "2001:db8::1" : "192.0.2.1"), net::Port{53}};
  ends.destination = {*net::parse_ip(v6 ? "fd00::15" : "10.0.2.15"), net::Port{4000}};
  return wire::FrameTemplate(ends, wire::IpProtocol::kUdp);
}

std::vector<std::byte> pattern(std::size_t n) {
  std::vector<std::byte> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(i * 7 + i / 251);
  return out;
}

}  // namespace

TEST_CASE("udp fragments: put together they are the datagram, checksum included") {
  for (const bool v6 : {false, true})
    for (const std::size_t size :
         {std::size_t{1473}, std::size_t{2952}, std::size_t{9000}, std::size_t{65487}}) {
      CAPTURE(v6);
      CAPTURE(size);
      const auto payload = pattern(size);
      const auto flow = frame(v6);
      udp::Fragments fragments(flow, payload, 1500, 77);
      std::vector<std::byte> whole;
      std::array<std::byte, wire::kMaxHeaders> headers{};
      bool more = true;
      while (const auto fragment = fragments.next(headers)) {
        REQUIRE(more);
        std::vector<std::byte> bytes(headers.begin(),
                                     headers.begin() + static_cast<std::ptrdiff_t>(fragment->header_length));
        bytes.insert(bytes.end(), fragment->payload.begin(), fragment->payload.end());
        REQUIRE(bytes.size() <= 14 + 1500);
        const auto packet = wire::parse_packet(std::span(bytes).subspan(14),
                                               v6 ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4,
                                               wire::ChecksumPolicy::kVerifyL4);
        REQUIRE(packet);
        CHECK(packet->is_fragment);
        CHECK(packet->fragment_id == 77);
        CHECK(packet->protocol == wire::IpProtocol::kUdp);
        CHECK(packet->fragment_offset == whole.size());
        more = packet->more_fragments;
        if (more) CHECK(packet->l4.size() % 8 == 0);
        whole.insert(whole.end(), packet->l4.begin(), packet->l4.end());
      }
      CHECK_FALSE(more);
      REQUIRE(whole.size() == size + 8);
      wire::Packet packet;
      packet.source = *net::parse_ip(v6 ? "2001:db8::1" : "192.0.2.1");
      packet.destination = *net::parse_ip(v6 ? "fd00::15" : "10.0.2.15");
      packet.protocol = wire::IpProtocol::kUdp;
      packet.l4 = whole;
      CHECK(wire::verify_l4_checksum(packet));
      const auto view = wire::UdpView::parse(whole);
      REQUIRE(view);
      CHECK(view->destination_port() == net::Port{4000});
      CHECK(std::equal(view->payload().begin(), view->payload().end(), payload.begin(), payload.end()));
    }
}

TEST_CASE("udp activity: one exchange lives 30 s, a stream 120 s after its last datagram") {
  using namespace std::chrono_literals;
  const auto at = [](base::Duration d) { return base::Instant::from_nanos(d.count()); };
  const udp::IdleLimits limits;
  udp::Activity activity(at(0s));
  CHECK(activity.deadline(limits) == at(30s));
  activity.on_guest(at(1s));
  CHECK(activity.deadline(limits) == at(31s));
  activity.on_host(at(2s));
  CHECK(activity.deadline(limits) == at(32s));
  activity.on_guest(at(3s));
  CHECK(activity.deadline(limits) == at(123s));
  activity.on_host(at(4s));
  CHECK(activity.deadline(limits) == at(124s));
}
