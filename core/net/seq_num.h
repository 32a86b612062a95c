// TCP sequence numbers (RFC 9293 section 3.4): 32 bits that wrap. Comparison is meaningful only within a
// window of 2^31, so there is no operator<; use before()/after()/in_window().
#pragma once

#include <cstdint>

namespace cordon::net {

class SeqNum {
 public:
  constexpr SeqNum() = default;
  explicit constexpr SeqNum(std::uint32_t raw) : raw_(raw) {}
  [[nodiscard]] constexpr std::uint32_t raw() const { return raw_; }
  friend constexpr SeqNum operator+(SeqNum s, std::uint32_t n) { return SeqNum{s.raw_ + n}; }
  friend constexpr SeqNum operator-(SeqNum s, std::uint32_t n) { return SeqNum{s.raw_ - n}; }
  constexpr SeqNum& operator+=(std::uint32_t n) { return *this = *this + n; }
  // Signed distance from `from` to this one.
  [[nodiscard]] constexpr std::int32_t distance_from(SeqNum from) const {
    return static_cast<std::int32_t>(raw_ - from.raw_);
  }
  [[nodiscard]] constexpr bool before(SeqNum other) const { return distance_from(other) < 0; }
  [[nodiscard]] constexpr bool after(SeqNum other) const { return distance_from(other) > 0; }
  // start <= this < start + length
  [[nodiscard]] constexpr bool in_window(SeqNum start, std::uint32_t length) const {
    return raw_ - start.raw_ < length;
  }
  friend constexpr bool operator==(SeqNum, SeqNum) = default;

 private:
  std::uint32_t raw_ = 0;
};

}  // namespace cordon::net
