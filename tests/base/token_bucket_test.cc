#include "core/base/token_bucket.h"

#include <doctest/doctest.h>

using cordon::base::Instant;
using cordon::base::TokenBucket;
using namespace std::chrono_literals;

TEST_CASE("token bucket: a burst, then one token per interval") {
  TokenBucket bucket(10, 3);
  Instant now = Instant::from_nanos(5);
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
  now = now + 99ms;
  CHECK_FALSE(bucket.take(now));
  now = now + 1ms;
  CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
}

TEST_CASE("token bucket: idle time fills it up to the burst and no further") {
  TokenBucket bucket(1000, 5);
  Instant now;
  while (bucket.take(now)) {
  }
  now = now + 1h;
  int taken = 0;
  while (bucket.take(now)) ++taken;
  CHECK(taken == 5);
}

TEST_CASE("token bucket: over a second it gives the rate plus the burst at most") {
  TokenBucket bucket(100, 10);
  int taken = 0;
  for (int i = 0; i < 10000; ++i)
    if (bucket.take(Instant::from_nanos(i * 100'000))) ++taken;
  CHECK(taken >= 108);
  CHECK(taken <= 110);
}
