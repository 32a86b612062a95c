// The rows of section 4.9: what a front end does to a device at work, and what must come of it.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "tests/hostile/devices/visit.h"

namespace cordon::hostile {

enum class End : std::uint8_t {
  kKept,      // the device goes on as if nothing had been
  kViolated,  // the connection is closed, and it is on record
  kLeft,      // not decided: the front end leaves; no record
  kEither,    // a race decides between the first two
};

struct FrontEndRow {
  std::string_view id;  // of docs/hostile-matrix.md
  std::string_view name;
  End end;
  std::function<bool(Visit&)> act;  // false: an answer was not what it must be
  Visit::Options options{};
};

[[nodiscard]] std::span<const FrontEndRow> message_rows();
[[nodiscard]] std::span<const FrontEndRow> memory_rows();
[[nodiscard]] std::span<const FrontEndRow> ring_rows();

}  // namespace cordon::hostile
