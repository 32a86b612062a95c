#pragma once

#include <compare>
#include <cstdint>

namespace cordon::net {

// 16 bits, host order inside; big-endian only in core/wire and sockaddr.cc.
class Port {
 public:
  constexpr Port() = default;
  explicit constexpr Port(std::uint16_t number) : number_(number) {}
  [[nodiscard]] constexpr std::uint16_t number() const { return number_; }
  friend constexpr auto operator<=>(Port, Port) = default;

 private:
  std::uint16_t number_ = 0;
};

}  // namespace cordon::net
