// Any bytes as the guest's ICMP message in a packet that is otherwise right, as what a ping socket gave us,
// and as an entry of a socket's error queue. The first byte: family (bit 0), kind (bits 1-2).
#include <array>

#include "core/icmp/echo.h"
#include "core/icmp/errors.h"
#include "core/icmp/guest_error.h"
#include "core/icmp/host_error.h"
#include "core/wire/checksum.h"
#include "core/wire/icmp.h"
#include "fuzz/lan_fuzz.h"

using namespace cordon;
using fuzz::require;

namespace {

constexpr net::IpAddress kRemote4 = net::Ipv4Address{192, 0, 2, 1};
constexpr net::IpAddress kGuest4 = net::Ipv4Address{10, 0, 2, 15};

// Ethernet, IP and the message with its checksum made right; must be understood as it is meant.
std::vector<std::byte> frame_of(bool v4, base::Bytes message) {
  const net::IpAddress guest = v4 ? kGuest4 : net::IpAddress{fuzz::ula(0x15)};
  const net::IpAddress remote = v4 ? kRemote4 : net::IpAddress{fuzz::ula(0x99)};
  const wire::FrameTemplate flow{
      {fuzz::kGuestMac, fuzz::kOurMac, {guest, net::Port{0}}, {remote, net::Port{0}}},
      v4 ? wire::IpProtocol::kIcmp : wire::IpProtocol::kIcmpv6};
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint8_t>(message[i]); };
  const std::uint32_t rest =
      std::uint32_t{byte(4)} << 24U | std::uint32_t{byte(5)} << 16U | std::uint32_t{byte(6)} << 8U | byte(7);
  const iovec tail = wire::piece(message.subspan(8));
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_icmp(flow, byte(0), byte(1), rest, std::span(&tail, 1), headers);
  std::vector<std::byte> out(headers.begin(), headers.begin() + built.length);
  out.insert(out.end(), message.begin() + 8, message.end());
  return out;
}

void take_guest_error(const wire::Packet& packet) {
  const auto error = icmp::parse_guest_error(packet);
  if (!error) return;
  const bool v4 = packet.source.is_v4();
  if (error->kind == icmp::GuestError::Kind::kTooBig) require(error->mtu >= (v4 ? 576 : 1280));
  require(error->tuple.protocol != flow::Protocol::kIcmpEcho);
  require(error->tuple.guest.address.family() == packet.source.family());
  require(error->tuple.remote.address.family() == packet.source.family());
}

void from_guest(bool v4, base::Bytes message) {
  if (message.size() < 8 || message.size() > 1400) return;
  const auto frame = frame_of(v4, message);
  const auto ethernet = wire::EthernetView::parse(frame);
  require(ethernet.has_value());
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
  require(packet.has_value() && packet->l4.size() == message.size());
  const auto echo = icmp::parse_echo(*packet);
  if (echo) {
    require(echo->payload.size() == message.size() - 8);
    const auto tuple = icmp::echo_tuple(*packet, *echo);
    require(tuple.guest.port.number() == echo->identifier && tuple.remote.port.number() == 0);
  }
  take_guest_error(*packet);
  // Never an error about an error (RFC 1122 3.2.2, RFC 4443 2.4 (e)).
  std::array<std::byte, icmp::kMaxErrorFrame> out{};
  const icmp::ErrorPath path{
      fuzz::kOurMac, fuzz::kGuestMac,
      v4 ? net::IpAddress{net::Ipv4Address{10, 0, 2, 2}} : net::IpAddress{fuzz::ula(2)}};
  const auto answer = icmp::build_error(path, {icmp::ErrorKind::kAdminProhibited, 0}, *packet, out);
  const unsigned type = std::to_integer<unsigned>(message[0]);
  const bool is_error = v4 ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12 : type < 128;
  require(!(answer && is_error));
  if (answer) fuzz::require_clean(base::Bytes{out}.first(*answer));
}

void from_error_queue(bool v4, fuzz::Input& in) {
  const icmp::HostError error{
      .error = in.u32(), .origin = in.u8(), .type = in.u8(), .code = in.u8(), .info = in.u32()};
  const auto report = icmp::to_guest_error(error);
  if (!report) return;
  const flow::Tuple tuple{in.flag() ? flow::Protocol::kTcp : flow::Protocol::kUdp,
                          {v4 ? kGuest4 : net::IpAddress{fuzz::ula(0x15)}, net::Port{in.u16()}},
                          {v4 ? kRemote4 : net::IpAddress{fuzz::ula(0x99)}, net::Port{in.u16()}}};
  const std::uint32_t length = in.u16(), sequence = in.u32();
  const base::Bytes payload = in.bytes(length);
  const icmp::ErrorPath path{fuzz::kOurMac, fuzz::kGuestMac, tuple.remote.address};
  std::array<std::byte, icmp::kMaxErrorFrame> out{};
  const auto built = icmp::build_flow_error(path, *report, tuple, payload, length, out, sequence);
  if (built) fuzz::require_clean(base::Bytes{out}.first(*built));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  fuzz::Input in{data, size};
  const unsigned how = in.u8();
  const bool v4 = (how & 1U) == 0;
  switch (how >> 1U & 3U) {
    case 0:
    case 1: from_guest(v4, in.rest()); break;
    case 2: {
      const auto family = v4 ? net::Family::kIpv4 : net::Family::kIpv6;
      const base::Bytes message = in.rest();
      if (const auto echo = icmp::parse_host_echo(family, message))
        require(echo->payload.size() + 8 == message.size());
      break;
    }
    default: from_error_queue(v4, in);
  }
  return 0;
}
