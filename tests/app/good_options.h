// A command line that has to be good.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

#include "app/options.h"

namespace cordon::app {

using Words = std::vector<std::string>;

inline RunOptions good(const Words& words) {
  CAPTURE(words.size());
  const auto parsed = parse(words);
  if (!parsed) FAIL(parsed.error().message);
  REQUIRE(std::holds_alternative<RunOptions>(*parsed));
  return std::get<RunOptions>(*parsed);
}

}  // namespace cordon::app
