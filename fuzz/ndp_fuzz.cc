// Any bytes as an ICMPv6 message of neighbour discovery: parser, responder and router advertisements. The
// first byte chooses configuration, source and destination.
#include <algorithm>
#include <cstdint>

#include "core/wire/ndp.h"
#include "fuzz/lan_fuzz.h"

using namespace cordon;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 1500) return 0;
  lan::Responder responder{fuzz::make_config(data[0]), data[0]};
  wire::Packet packet;
  packet.l4 = base::as_bytes(data + 1, size - 1);
  const std::array<net::Ipv6Address, 4> sources{net::Ipv6Address{}, fuzz::kGuestLinkLocal, fuzz::ula(0x15),
                                                fuzz::ula(0x77)};
  packet.source = sources.at(data[0] >> 3U & 3U);
  const auto target = packet.l4.size() >= wire::ndp_layout::Target::kEnd
                          ? wire::ndp_layout::Target::get(packet.l4)
                          : net::Ipv6Address{};
  packet.destination = (data[0] & 32U) != 0 ? fuzz::ula(2) : wire::solicited_node(target);
  packet.protocol = wire::IpProtocol::kIcmpv6;
  packet.hop_limit = (data[0] & 64U) != 0 ? 254 : 255;
  if (!lan::is_neighbour_discovery(packet)) return 0;
  std::array<std::byte, lan::kMaxReply> out;
  responder.start({});
  fuzz::require_sound(responder.on_ndp(fuzz::kGuestMac, packet, {}, out), out);
  if (const std::size_t length = responder.on_timer(responder.next_deadline(), out); length != 0)
    fuzz::require_clean(std::span(out).first(length));
  return 0;
}
