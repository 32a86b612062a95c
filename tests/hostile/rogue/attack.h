// The table of attacks. `expected` is what becomes of one, alternatives separated by '|':
//
//   SIGSYS          the kernel ended the translator at the call (the filter)
//   SIGSEGV         the same, at an address
//   violation WHAT  the broker had it killed for what it said on the channel
//   refused HOW     the broker said no
//   an errno's name, or the attack's own word for what it got, which is then harmless
//
// Whatever is expected, the oracles of driver.cc hold after each.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tests/hostile/rogue/scene.h"

namespace cordon::rogue {

struct Attack {
  std::string_view group;
  std::string_view name;
  std::string_view expected;
  std::string (*run)(Scene&);
  std::string_view record = {};  // must be in the audit log afterwards
  enum class When : std::uint8_t {
    kAlways,
    kFiltered,  // not where a sanitizer's runtime needs the call itself
    kLong,      // only in the long form
  } when = When::kAlways;
};

std::span<const Attack> call_attacks();
std::span<const Attack> memory_attacks();
std::span<const Attack> option_attacks();
std::span<const Attack> channel_attacks();
std::span<const Attack> flow_attacks();
std::span<const Attack> revocation_attacks();
std::span<const Attack> load_attacks();
// After which IPv4 is denied for a while.
std::span<const Attack> last_attacks();

// What a filter with holes must be seen by; `expected` is then a part of what the oracles say.
std::span<const Attack> weak_attacks();

}  // namespace cordon::rogue
