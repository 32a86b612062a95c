// Pauses: nobody is in guest memory while one is on, and everybody comes back. Run under TSan as well: the
// shared value is not atomic.
#include "core/vhost/pause.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

using namespace cordon;
using namespace std::chrono_literals;
using vhost::Pause;
using vhost::PauseSeat;

TEST_CASE("pause: without anybody else it begins and ends at once") {
  Pause pause(0);
  CHECK(pause.begin(0s));
  pause.end();
  CHECK(pause.begin(0s));
  pause.end();
}

TEST_CASE("pause: a worker that does not come out is waited for no longer than said") {
  Pause pause(1);
  CHECK_FALSE(pause.begin(20ms));  // a seat begins inside
  pause.seat(0).leave();
  CHECK(pause.begin(0s));
  pause.end();
}

TEST_CASE("pause: what changes during a pause is never seen half done") {
  constexpr unsigned kWorkers = 3;
  constexpr int kPauses = 2000;
  Pause pause(kWorkers);
  std::vector<int> shared(16, 0);  // all equal, outside of pauses
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::vector<std::uint64_t> turns(kWorkers);
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&, i] {
      PauseSeat& seat = pause.seat(i);
      while (!stop.load()) {
        seat.leave();
        if (turns[i] % 64 == 0) std::this_thread::yield();
        seat.enter();
        for (const int value : shared)
          if (value != shared[0]) torn.fetch_add(1);
        ++turns[i];
      }
      seat.leave();
    });
  }
  int begun = 0;
  for (int i = 1; i <= kPauses; ++i) {
    if (pause.begin(10s)) ++begun;
    for (int& value : shared) value = i;
    pause.end();
    if (i % 16 == 0) std::this_thread::yield();
  }
  stop.store(true);
  for (std::thread& worker : workers) worker.join();
  CHECK(begun == kPauses);
  CHECK(torn.load() == 0);
  for (const std::uint64_t n : turns) CHECK(n > 0);
}
