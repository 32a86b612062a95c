#include "core/net/ip_address.h"

#include <arpa/inet.h>

#include "core/base/check.h"

namespace cordon::net {

Ipv4Address IpAddress::v4() const {
  CORDON_CHECK(is_v4());
  return Ipv4Address{bytes_[0], bytes_[1], bytes_[2], bytes_[3]};
}

Ipv6Address IpAddress::v6() const {
  CORDON_CHECK(is_v6());
  return Ipv6Address{bytes_};
}

std::optional<Ipv4Address> parse_ipv4(std::string_view text) {
  std::array<std::uint8_t, 4> bytes{};
  if (text.size() >= INET_ADDRSTRLEN || ::inet_pton(AF_INET, std::string{text}.c_str(), bytes.data()) != 1)
    return std::nullopt;
  return Ipv4Address{bytes};
}

std::optional<Ipv6Address> parse_ipv6(std::string_view text) {
  std::array<std::uint8_t, 16> bytes{};
  if (text.size() >= INET6_ADDRSTRLEN || ::inet_pton(AF_INET6, std::string{text}.c_str(), bytes.data()) != 1)
    return std::nullopt;
  return Ipv6Address{bytes};
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (const auto v4 = parse_ipv4(text)) return IpAddress{*v4};
  if (const auto v6 = parse_ipv6(text)) return IpAddress{*v6};
  return std::nullopt;
}

std::string to_string(Ipv4Address address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, address.bytes().data(), text.data(), text.size());
  return text.data();
}

std::string to_string(Ipv6Address address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET6, address.bytes().data(), text.data(), text.size());
  return text.data();
}

std::string to_string(IpAddress address) {
  return address.is_v4() ? to_string(address.v4()) : to_string(address.v6());
}

}  // namespace cordon::net
