// The ring between two workers.
#include "core/plane/handover_ring.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

using namespace cordon;
using cordon::plane::HandoverRing;

namespace {

std::vector<std::byte> pattern(std::uint32_t number, std::size_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(number * 31 + i);
  return out;
}
bool push(HandoverRing& ring, std::uint32_t number, std::size_t size) {
  const auto bytes = pattern(number, size);
  const base::Bytes all = bytes;
  const std::array<base::Bytes, 2> parts{all.first(size / 3), all.subspan(size / 3)};
  link::Offload offload;
  offload.gso_size = static_cast<std::uint16_t>(number);
  return ring.push(HandoverRing::Kind::kFrame, offload, parts);
}
bool is(const HandoverRing::Record& record, std::uint32_t number) {
  const auto expected = pattern(number, record.bytes.size());
  return record.offload.gso_size == static_cast<std::uint16_t>(number) &&
         std::ranges::equal(base::Bytes{expected}, record.bytes);
}

}  // namespace

TEST_CASE("plane ring: records arrive in order and whole, over the end and around") {
  HandoverRing ring(1024);
  std::mt19937 random(1);
  std::uint32_t sent = 0;
  std::uint32_t seen = 0;
  for (int i = 0; i < 20'000; ++i) {
    for (std::size_t n = random() % 6; n > 0; --n)
      if (push(ring, sent, random() % 300)) ++sent;
    for (std::size_t n = random() % 6; n > 0; --n) {
      const auto record = ring.next();
      if (!record) break;
      REQUIRE(is(*record, seen));
      ++seen;
    }
    if (random() % 2 == 0) ring.release();
  }
  while (const auto record = ring.next()) REQUIRE(is(*record, seen++));
  CHECK(seen == sent);
  CHECK(sent > 10'000);
  CHECK(ring.empty());
}

TEST_CASE("plane ring: a full ring refuses, and what was taken stays until it is given back") {
  HandoverRing ring(1024);
  std::uint32_t sent = 0;
  while (push(ring, sent, 96)) ++sent;
  CHECK(sent == 8);  // 96 bytes and a header of 32 each
  const auto first = ring.next();
  REQUIRE(first);
  CHECK_FALSE(push(ring, 99, 1));
  CHECK(is(*first, 0));
  ring.release();
  CHECK(push(ring, sent, 96));
  CHECK_FALSE(push(ring, 99, 1));
  CHECK_FALSE(push(ring, 99, 4096));  // never fits
}

TEST_CASE("plane ring: an empty ring gives its memory back and goes on") {
  HandoverRing ring(4096);
  for (std::uint32_t i = 0; i < 100; ++i) {
    REQUIRE(push(ring, i, 700));
    ring.trim();  // not empty: untouched
    const auto record = ring.next();
    REQUIRE(record);
    REQUIRE(is(*record, i));
    ring.release();
    ring.trim();
  }
}

TEST_CASE("plane ring: two threads") {
  HandoverRing ring(1U << 16U);
  constexpr std::uint32_t kRecords = 200'000;
  std::jthread producer([&ring] {
    std::mt19937 random(2);
    for (std::uint32_t i = 0; i < kRecords; ++i) {
      const std::size_t size = random() % 9 == 0 ? random() % 9000 : random() % 90;
      while (!push(ring, i, size)) std::this_thread::yield();
    }
  });
  std::uint32_t seen = 0;
  bool good = true;
  while (seen < kRecords && good) {
    for (int n = 0; n < 32 && good; ++n) {
      const auto record = ring.next();
      if (!record) break;
      good = is(*record, seen++);
    }
    ring.release();
    if (ring.empty()) std::this_thread::yield();
  }
  CHECK(good);
  CHECK(seen == kRecords);
}
