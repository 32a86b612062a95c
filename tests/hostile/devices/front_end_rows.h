// The rows of section 4.9: what a front end does to a device at work, and what must come of it.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "tests/hostile/devices/row_driver.h"
#include "tests/hostile/devices/visit.h"

namespace cordon::hostile {

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
