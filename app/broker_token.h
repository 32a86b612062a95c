// The parts of a Decision that a record needs, in a verdict's token.
#pragma once

#include <cstdint>

#include "policy/decide.h"

namespace cordon::app {

inline std::uint64_t pack(const policy::Decision& d, policy::LogMode log = policy::LogMode::kNone) {
  return std::uint64_t{static_cast<std::uint16_t>(d.layer)} |
         (std::uint64_t{static_cast<std::uint16_t>(d.rule)} << 16U) |
         (std::uint64_t{static_cast<std::uint8_t>(d.reason)} << 32U) |
         (std::uint64_t{static_cast<std::uint8_t>(d.dst_class)} << 40U) |
         (std::uint64_t{d.would_deny} << 48U) | (std::uint64_t{d.allow ? 1U : 0U} << 56U) |
         (std::uint64_t{d.direction == policy::Direction::kIngress ? 1U : 0U} << 57U) |
         (std::uint64_t{static_cast<std::uint8_t>(log)} << 58U);
}

inline policy::LogMode log_of(std::uint64_t token) {
  return static_cast<policy::LogMode>(static_cast<std::uint8_t>(token >> 58U & 3U));
}

inline policy::Decision unpack(std::uint64_t token) {
  policy::Decision d;
  d.layer = static_cast<std::int16_t>(token);
  d.rule = static_cast<std::int16_t>(token >> 16U);
  d.reason = static_cast<policy::Reason>(static_cast<std::uint8_t>(token >> 32U));
  d.dst_class = static_cast<policy::DstClass>(static_cast<std::uint8_t>(token >> 40U));
  d.would_deny = static_cast<std::uint8_t>(token >> 48U);
  d.allow = (token >> 56U & 1U) != 0;
  d.direction = (token >> 57U & 1U) != 0 ? policy::Direction::kIngress : policy::Direction::kEgress;
  return d;
}

}  // namespace cordon::app
