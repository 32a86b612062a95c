// Seeded chance for property tests, so that a failure repeats.
#pragma once

#include <array>
#include <random>
#include <string_view>

namespace cordon::policy::testing {

class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  unsigned below(unsigned n) { return std::uniform_int_distribution<unsigned>{0, n - 1}(engine_); }
  bool one_in(unsigned n) { return below(n) == 0; }
  template <std::size_t N>
  std::string_view pick(const std::array<std::string_view, N>& from) {
    return from[below(N)];
  }

 private:
  std::mt19937 engine_;
};

}  // namespace cordon::policy::testing
