// The parts of a Decision that a record needs, in a verdict's token, and the generation of the policy whose
// files and rules it names.
//
//   bits 0-3 layer + 1, 4-15 generation (low part), 16-31 rule, 32-39 reason, 40-47 class, 48-55 would_deny,
//   56 allow, 57 ingress, 58-59 log, 60-63 generation (high part)
#pragma once

#include <cstdint>

#include "policy/decide.h"

namespace cordon::app {

// The low 16 bits of a generation: no flow lives through so many reloads without being judged again.
using PolicyTag = std::uint16_t;
inline PolicyTag tag_of_generation(std::uint64_t generation) { return static_cast<PolicyTag>(generation); }

inline std::uint64_t pack(const policy::Decision& d, policy::LogMode log = policy::LogMode::kNone,
                          std::uint64_t generation = 0) {
  const std::uint64_t tag = tag_of_generation(generation);
  return (static_cast<std::uint64_t>(d.layer + 1) & 0xfU) | ((tag & 0xfffU) << 4U) |
         (std::uint64_t{static_cast<std::uint16_t>(d.rule)} << 16U) |
         (std::uint64_t{static_cast<std::uint8_t>(d.reason)} << 32U) |
         (std::uint64_t{static_cast<std::uint8_t>(d.dst_class)} << 40U) |
         (std::uint64_t{d.would_deny} << 48U) | (std::uint64_t{d.allow ? 1U : 0U} << 56U) |
         (std::uint64_t{d.direction == policy::Direction::kIngress ? 1U : 0U} << 57U) |
         (std::uint64_t{static_cast<std::uint8_t>(log)} << 58U) | ((tag >> 12U) << 60U);
}

inline policy::LogMode log_of(std::uint64_t token) {
  return static_cast<policy::LogMode>(static_cast<std::uint8_t>(token >> 58U & 3U));
}

inline PolicyTag tag_of(std::uint64_t token) {
  return static_cast<PolicyTag>((token >> 4U & 0xfffU) | (token >> 60U << 12U));
}

inline policy::Decision unpack(std::uint64_t token) {
  policy::Decision d;
  d.layer = static_cast<std::int16_t>(static_cast<std::int16_t>(token & 0xfU) - 1);
  d.rule = static_cast<std::int16_t>(token >> 16U);
  d.reason = static_cast<policy::Reason>(static_cast<std::uint8_t>(token >> 32U));
  d.dst_class = static_cast<policy::DstClass>(static_cast<std::uint8_t>(token >> 40U));
  d.would_deny = static_cast<std::uint8_t>(token >> 48U);
  d.allow = (token >> 56U & 1U) != 0;
  d.direction = (token >> 57U & 1U) != 0 ? policy::Direction::kIngress : policy::Direction::kEgress;
  return d;
}

}  // namespace cordon::app
