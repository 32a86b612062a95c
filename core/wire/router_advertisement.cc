#include "core/wire/router_advertisement.h"

#include "core/wire/checksum.h"
#include "core/wire/icmp.h"
#include "core/wire/ip_protocol.h"
#include "core/wire/name_list.h"

namespace cordon::wire {
namespace {

// Option kinds (RFC 4861 section 4.6, RFC 8106 section 5).
constexpr std::uint8_t kSourceLinkLayer = 1;
constexpr std::uint8_t kPrefixInformation = 3;
constexpr std::uint8_t kMtu = 5;
constexpr std::uint8_t kRecursiveDns = 25;
constexpr std::uint8_t kSearchList = 31;

// In units of 8 bytes.
void put_head(OptionWriter& out, std::uint8_t kind, std::uint8_t units) {
  out.number(kind);
  out.number(units);
}

void put_address(OptionWriter& out, net::Ipv6Address address) {
  out.bytes(std::as_bytes(std::span(address.bytes())));
}

void put_prefix(OptionWriter& out, const RouterAdvertisementFields& fields) {
  constexpr unsigned kOnLink = 0x80;
  constexpr unsigned kAutonomous = 0x40;
  put_head(out, kPrefixInformation, 4);
  out.number(static_cast<std::uint8_t>(fields.prefix->length()));
  out.number(static_cast<std::uint8_t>(kOnLink | (fields.autonomous ? kAutonomous : 0U)));
  out.number(fields.valid_lifetime);
  out.number(fields.preferred_lifetime);
  out.number(std::uint32_t{0});
  put_address(out, fields.prefix->address().v6());
}

// RFC 8106 section 5.2: padded with zeros to units of 8 bytes.
void put_search(OptionWriter& out, const RouterAdvertisementFields& fields) {
  const std::size_t start = out.size();
  constexpr std::size_t kHead = 8;
  if (out.room() < 2 * kHead) return;
  put_head(out, kSearchList, 0);
  out.number(std::uint16_t{0});
  out.number(fields.dns_lifetime);
  put_names(out, fields.search);
  bool fits = out.size() > start + kHead;
  while (fits && (out.size() - start) % 8 != 0) fits = out.number(std::uint8_t{0});
  if (!fits) return out.rewind(start);
  out.set(start + 1, static_cast<std::uint8_t>((out.size() - start) / 8));
}

}  // namespace

std::size_t put_router_advertisement(base::MutableBytes out, net::Ipv6Address source,
                                     net::Ipv6Address destination, const RouterAdvertisementFields& fields) {
  constexpr unsigned kManaged = 0x80;
  constexpr unsigned kOther = 0x40;
  OptionWriter message{out};
  message.number(icmp6_type::kRouterAdvertisement);
  message.number(std::uint8_t{0});
  message.number(std::uint16_t{0});  // the checksum's place
  message.number(fields.hop_limit);
  message.number(static_cast<std::uint8_t>((fields.managed ? kManaged : 0U) | (fields.other ? kOther : 0U)));
  message.number(fields.router_lifetime);
  message.number(std::uint32_t{0});  // reachable time, retransmission timer: not ours to say
  message.number(std::uint32_t{0});
  put_head(message, kSourceLinkLayer, 1);
  message.bytes(std::as_bytes(std::span(fields.source_mac.bytes())));
  if (fields.mtu != 0) {
    put_head(message, kMtu, 1);
    message.number(std::uint16_t{0});
    message.number(fields.mtu);
  }
  if (fields.prefix) put_prefix(message, fields);
  if (!fields.dns.empty()) {
    put_head(message, kRecursiveDns, static_cast<std::uint8_t>(1 + 2 * fields.dns.size()));
    message.number(std::uint16_t{0});
    message.number(fields.dns_lifetime);
    for (const net::Ipv6Address& server : fields.dns) put_address(message, server);
  }
  if (!fields.search.empty()) put_search(message, fields);

  ChecksumSum sum;
  sum.add_pseudo_header(source, destination, static_cast<std::uint8_t>(IpProtocol::kIcmpv6),
                        static_cast<std::uint32_t>(message.size()));
  sum.add(message.written());
  message.set(icmp_layout::Checksum::kOffset, sum.finish());
  return message.size();
}

}  // namespace cordon::wire
