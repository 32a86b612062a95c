#include "core/base/byte_bucket.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace cordon::base;

namespace {
constexpr Instant kStart = Instant::from_nanos(1'000'000'000'000);
}

TEST_CASE("byte bucket: a burst of a tenth of a second, of one datagram at least, then the rate") {
  struct Case {
    std::string_view name;
    std::uint64_t rate;
    std::uint64_t burst;
  };
  for (const Case& c :
       {Case{"1 B/s", 1, 65536}, Case{"8 kB/s", 8000, 65536}, Case{"655 kB/s", 655'360, 65536},
        Case{"10 MB/s", 10'000'000, 1'000'000}, Case{"10 GB/s", 10'000'000'000, 1'000'000'000},
        Case{"1 TB/s", 1'000'000'000'000, 100'000'000'000}}) {
    CAPTURE(c.name);
    ByteBucket bucket;
    bucket.set_rate(c.rate);
    CHECK(bucket.available(kStart) == c.burst);
    bucket.charge(c.burst, kStart);
    CHECK(bucket.available(kStart) <= 1);
    const Instant due = bucket.due(1000);
    CHECK(due > kStart);
    CHECK(bucket.available(due) >= 999);
    CHECK(bucket.available(due) <= 1001 + 3 * c.rate / 1'000'000'000);
    // Never more than the burst, however long it rests.
    CHECK(bucket.available(kStart + std::chrono::hours{1000}) == c.burst);
  }
}

TEST_CASE("byte bucket: what was taken too much is a debt, so the rate holds over time") {
  ByteBucket bucket;
  bucket.set_rate(1'000'000);
  Instant now = kStart;
  std::uint64_t passed = 0;
  for (int ms = 0; ms < 10'000; ++ms, now = now + std::chrono::milliseconds{1}) {
    while (bucket.available(now) > 0) {
      bucket.charge(65'000, now);  // whatever is there
      passed += 65'000;
    }
  }
  CHECK(passed >= 10'000'000);
  CHECK(passed <= 10'000'000 + 100'000 + 65'000);
}

TEST_CASE("byte bucket: another rate counts from now on") {
  ByteBucket bucket;
  bucket.set_rate(1'000'000);
  bucket.charge(100'000, kStart);
  bucket.set_rate(100'000'000);
  CHECK(bucket.available(kStart + std::chrono::seconds{1}) == 10'000'000);
  bucket.set_rate(0);  // nobody may say so; it is not a division by zero
  CHECK(bucket.rate() == 1);
}

TEST_CASE("byte bucket: a debt is owed in bytes, whatever the rate becomes") {
  struct RateCase {
    std::string_view name;
    std::uint64_t before;
    std::uint64_t charged;
    std::uint64_t after;
    std::uint64_t there;  // a second later
  };
  for (const RateCase& c :
       {RateCase{"a slow one's debt does not stop a fast one for hours", 1, 65'536, 100'000'000, 10'000'000},
        RateCase{"the same rate changes nothing", 1'000'000, 1'600'000, 1'000'000, 0},
        RateCase{"a fast one's debt is at most a burst of the slow one", 100'000'000, 90'000'000, 65'536,
                 65'536},
        RateCase{"half of it is paid at the new rate", 1'000'000, 100'000, 50'000, 65'536 - 15'536}}) {
    CAPTURE(c.name);
    ByteBucket bucket;
    bucket.set_rate(c.before);
    bucket.charge(c.charged, kStart);
    bucket.change_rate(c.after, kStart);
    CHECK(bucket.rate() == c.after);
    const std::uint64_t there = bucket.available(kStart + std::chrono::seconds{1});
    CHECK(there + 2 >= c.there);
    CHECK(there <= c.there + 2);
  }
}

TEST_CASE("byte bucket: threads that draw at once get the rate together") {
  ByteBucket bucket;
  bucket.set_rate(1'000'000);
  constexpr int kThreads = 4;
  constexpr std::uint64_t kCharges = 20'000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (std::uint64_t n = 0; n < kCharges; ++n) bucket.charge(100, kStart);
    });
  for (auto& thread : threads) thread.join();
  // 8 MB at 1 MB/s: not one charge was lost.
  CHECK(bucket.due(100'000) >= kStart + std::chrono::seconds{8});
  CHECK(bucket.due(100'000) <= kStart + std::chrono::seconds{8} + std::chrono::nanoseconds{2});
}
