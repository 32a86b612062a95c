// hostile_front_end SOCKET PID AUDIT [WORD]: the rows of section 4.9 against the live `cordon vm
// --vhost-user` that is process PID; with WORD only those in whose number or name it is. Every row is a
// connection whose device works at first. After it the connection is kept or closed as the row says, the next
// one works, launcher and broker are the same with as many descriptors as before, and a violation is on
// record, once.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "tests/hostile/devices/front_end_rows.h"
#include "tests/hostile/devices/live_vm.h"

using namespace cordon::hostile;

namespace {

class Driver {
 public:
  Driver(std::string socket, const LiveVm& vm, std::string wanted)
      : socket_(std::move(socket)), vm_(vm), wanted_(std::move(wanted)) {}

  void run(const FrontEndRow& row) {
    const std::string title = std::string{row.id} + " " + std::string{row.name};
    if (title.find(wanted_) == std::string::npos) return;
    ++rows_;
    std::string why;
    try {
      why = judge(row);
    } catch (const std::exception& error) {
      why = error.what();
    }
    finish(title, why);
  }
  // VU-22: one client, and no more translators than the launcher's pace.
  void crowd() {
    const std::string title = "VU-22 many connections, and two at once";
    if (title.find(wanted_) == std::string::npos) return;
    ++rows_;
    std::string why;
    try {
      Visit first{socket_, {}};
      if (!first.works()) why = "the first one does not work";
      for (int i = 0; i < 30 && why.empty(); ++i) {
        GuestMemory memory{4096};
        FrontEnd second{socket_, memory};
        try {
          static_cast<void>(second.ask_number(Request::kGetFeatures));
          why = "a second client was served";
        } catch (const std::exception&) {  // closed
        }
      }
      if (why.empty() && !first.works()) why = "the first one was disturbed";
    } catch (const std::exception& error) {
      why = error.what();
    }
    for (int i = 0; i < 25; ++i) {
      GuestMemory memory{4096};
      const FrontEnd gone{socket_, memory};
    }
    finish(title, why);
  }
  [[nodiscard]] unsigned rows() const { return rows_; }
  [[nodiscard]] unsigned failures() const { return failures_; }

 private:
  std::string judge(const FrontEndRow& row) {
    const std::size_t recorded = vm_.violations_recorded();
    ::alarm(60);  // whoever hangs, the end says where
    {
      Visit visit{socket_, row.options};
      if (row.options.start && !visit.works()) return "the device does not work before the row";
      const std::size_t descriptors = vm_.translator_descriptors();
      if (!row.act(visit)) return "an answer is not what it must be";
      if (row.end == End::kKept && !visit.works()) return "the device does not go on";
      if (row.end == End::kViolated && !visit.closed()) return "the connection is not closed";
      // What was refused was given back.
      if (row.end == End::kKept && vm_.translator_descriptors() > descriptors + 1)
        return "the translator has " + std::to_string(vm_.translator_descriptors()) + " descriptors, had " +
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
  void finish(const std::string& title, std::string why) {
    if (why.empty() && !vm_.at_rest()) why = "not at rest: " + vm_.disturbed();
    std::printf("%s: %s%s%s\n", why.empty() ? "ok" : "FAILED", title.c_str(), why.empty() ? "" : ": ",
                why.c_str());
    std::fflush(stdout);
    if (!why.empty()) ++failures_;
  }

  std::string socket_;
  const LiveVm& vm_;
  std::string wanted_;
  unsigned rows_ = 0;
  unsigned failures_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fputs("usage: hostile_front_end SOCKET PID AUDIT [WORD]\n", stderr);
    return 2;
  }
  try {
    const LiveVm vm{static_cast<pid_t>(std::atoi(argv[2])), argv[3]};
    Driver driver{argv[1], vm, argc == 5 ? argv[4] : ""};
    const auto begin = std::chrono::steady_clock::now();
    for (const auto& rows : {message_rows(), memory_rows(), ring_rows()})
      for (const FrontEndRow& row : rows) driver.run(row);
    driver.crowd();
    // The last of all: somebody honest.
    const FrontEndRow honest{"VU-00", "an honest machine after all of them", End::kKept,
                             [](Visit&) { return true; }};
    driver.run(honest);
    std::printf("%u rows, %u failed, %.1f s; launcher and broker grew by %lld KiB\n", driver.rows(),
                driver.failures(),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
                vm.grown_bytes() / 1024);
    constexpr long long kMost = 8LL << 20U;
    return driver.failures() == 0 && driver.rows() > 0 && vm.grown_bytes() < kMost ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hostile_front_end: %s\n", error.what());
    return 1;
  }
}
