// Neighbour discovery messages (RFC 4861) with the validity checks of its sections 6.1 and 7.1: hop limit
// 255, code 0, lengths, options none of which is empty. The ICMPv6 checksum is verified with the packet.
#pragma once

#include <expected>
#include <optional>

#include "core/wire/field.h"
#include "core/wire/icmp.h"
#include "core/wire/packet.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace ndp_layout {
using Flags = Field<std::uint8_t, 4>;         // NA: router, solicited, override from the top bit on
using Target = Field<net::Ipv6Address, 8>;    // NS, NA
using OptionMac = Field<net::MacAddress, 2>;  // link-layer address option, from its kind on
inline constexpr std::size_t kNeighbourSize = Target::kEnd;
inline constexpr std::uint8_t kSourceLinkLayer = 1;
inline constexpr std::uint8_t kTargetLinkLayer = 2;
}  // namespace ndp_layout

enum class NdpType : std::uint8_t {
  kRouterSolicitation = icmp6_type::kRouterSolicitation,
  kRouterAdvertisement = icmp6_type::kRouterAdvertisement,
  kNeighbourSolicitation = icmp6_type::kNeighbourSolicitation,
  kNeighbourAdvertisement = icmp6_type::kNeighbourAdvertisement,
  kRedirect = icmp6_type::kRedirect,
};

// ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1)
[[nodiscard]] net::Ipv6Address solicited_node(net::Ipv6Address address);

class NdpView {
 public:
  [[nodiscard]] static std::expected<NdpView, ParseError> parse(const Packet& packet);

  [[nodiscard]] NdpType type() const { return type_; }
  // NS and NA only (:: else).
  [[nodiscard]] net::Ipv6Address target() const { return target_; }
  [[nodiscard]] std::optional<net::MacAddress> source_mac() const { return source_mac_; }
  [[nodiscard]] std::optional<net::MacAddress> target_mac() const { return target_mac_; }

 private:
  explicit NdpView(NdpType type) : type_(type) {}
  std::expected<void, ParseError> read_options(Bytes options);
  std::expected<void, ParseError> check_neighbour(const Packet& packet) const;
  NdpType type_;
  net::Ipv6Address target_;
  std::optional<net::MacAddress> source_mac_;
  std::optional<net::MacAddress> target_mac_;
};

struct AdvertisementFields {
  net::Ipv6Address target;
  net::MacAddress target_mac;
  bool router = false;
  bool solicited = false;
  bool override_cache = true;
};
inline constexpr std::size_t kAdvertisementSize = ndp_layout::kNeighbourSize + 8;

// A neighbour advertisement with its target link-layer option, checksum included; kAdvertisementSize bytes.
void put_advertisement(MutableBytes out, net::Ipv6Address source, net::Ipv6Address destination,
                       const AdvertisementFields& fields);
// A neighbour solicitation with our source link-layer option, checksum included; kSolicitationSize bytes.
inline constexpr std::size_t kSolicitationSize = kAdvertisementSize;
void put_solicitation(MutableBytes out, net::Ipv6Address source, net::Ipv6Address destination,
                      net::Ipv6Address target, net::MacAddress source_mac);

}  // namespace cordon::wire
