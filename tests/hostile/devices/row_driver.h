// Runs rows against a live `cordon vm`. Every row is a connection whose device works at first. After it the
// connection is kept or closed as the row says, launcher and broker are the same with as many descriptors as
// before, a violation is on record once, and the next row shows that the next connection works.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "tests/hostile/devices/live_vm.h"

namespace cordon::hostile {

enum class End : std::uint8_t {
  kKept,      // the device goes on as if nothing had been
  kViolated,  // the connection is closed, and it is on record
  kLeft,      // not decided: the client leaves; no record
  kEither,    // a race decides between the first two
};

class RowDriver {
 public:
  RowDriver(const LiveVm& vm, std::string wanted) : vm_(vm), wanted_(std::move(wanted)) {}

  // `open`: a visit, whose device may be at work.
  template <class Row, class Open>
  void run(const Row& row, bool at_work, Open open) {
    check(std::string{row.id} + " " + std::string{row.name}, [&] { return judge(row, at_work, open); });
  }
  // `work` says what is wrong; empty: nothing.
  template <class Work>
  void check(const std::string& title, Work work) {
    if (title.find(wanted_) == std::string::npos) return;
    ++rows_;
    ::alarm(60);  // whoever hangs, the end says where
    std::string why;
    try {
      why = work();
    } catch (const std::exception& error) {
      why = error.what();
    }
    if (why.empty() && !vm_.at_rest()) why = "not at rest: " + vm_.disturbed();
    std::printf("%s: %s%s%s\n", why.empty() ? "ok" : "FAILED", title.c_str(), why.empty() ? "" : ": ",
                why.c_str());
    std::fflush(stdout);
    if (!why.empty()) ++failures_;
  }
  // The exit status of a driver that has run all of its rows.
  [[nodiscard]] int finish() const {
    std::printf("%u rows, %u failed; launcher and broker grew by %lld KiB\n", rows_, failures_,
                vm_.grown_bytes() / 1024);
    constexpr long long kMost = 8LL << 20U;
    return failures_ == 0 && rows_ > 0 && vm_.grown_bytes() < kMost ? 0 : 1;
  }

 private:
  template <class Row, class Open>
  std::string judge(const Row& row, bool at_work, Open open) {
    const std::size_t recorded = vm_.violations_recorded();
    {
      auto visit = open();
      if (at_work && !visit->works()) return "the device does not work before the row";
      const std::size_t descriptors = vm_.translator_descriptors();
      if (!row.act(*visit)) return "an answer is not what it must be";
      if (row.end == End::kKept && !visit->works()) return "the device does not go on";
      if (row.end == End::kViolated && !visit->closed()) return "the connection is not closed";
      // What was refused was given back.
      const std::size_t now = vm_.translator_descriptors();
      if (row.end == End::kKept && now > descriptors + 1)
        return "the translator has " + std::to_string(now) + " descriptors, had " +
               std::to_string(descriptors);
    }
    if (!vm_.at_rest()) return "not at rest: " + vm_.disturbed();
    // The record is written when the translator has been buried.
    if (row.end == End::kViolated) vm_.wait_for_violations(recorded + 1);
    const std::size_t now = vm_.violations_recorded() - recorded;
    if (row.end == End::kEither ? now > 1 : now != (row.end == End::kViolated ? 1U : 0U))
      return std::to_string(now) + " violations are on record";
    return {};
  }

  const LiveVm& vm_;
  std::string wanted_;
  unsigned rows_ = 0;
  unsigned failures_ = 0;
};

}  // namespace cordon::hostile
