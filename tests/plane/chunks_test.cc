#include "core/plane/chunks.h"

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <string>

using namespace cordon;
using plane::ChunkPool;
using plane::ChunkQueue;

namespace {

std::string read(ChunkPool& pool, const ChunkQueue& queue, std::uint32_t at, std::uint32_t n) {
  std::array<iovec, 64> parts;
  const std::size_t count = queue.pieces(pool, at, n, parts);
  std::string out;
  for (std::size_t i = 0; i < count; ++i)
    out.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return out;
}

base::Bytes bytes(std::string_view text) { return base::as_bytes(text.data(), text.size()); }

}  // namespace

TEST_CASE("chunks: bytes written ahead of a gap are where they belong when the gap is filled") {
  ChunkPool pool(1024, 16);
  ChunkQueue queue;
  REQUIRE(queue.write(pool, 20, bytes("behind the gap")));
  REQUIRE(queue.write(pool, 0, bytes("twenty bytes to fill")));
  CHECK(read(pool, queue, 0, 34) == "twenty bytes to fillbehind the gap");
  queue.advance(pool, 27);
  CHECK(read(pool, queue, 0, 7) == "the gap");
  queue.advance(pool, 7);
  queue.clear(pool);
  CHECK(pool.used() == 0);
}

TEST_CASE("chunks: advancing over a hole keeps the distance of what lies behind") {
  ChunkPool pool(1024, 16);
  ChunkQueue queue;
  REQUIRE(queue.write(pool, 50, bytes("later")));
  queue.advance(pool, 50);  // the hole's bytes went straight to the socket
  CHECK(read(pool, queue, 0, 5) == "later");
}

TEST_CASE("chunks: a reservation is honoured, and no more than the pool is reserved") {
  ChunkPool pool(10 * 16, 16);
  CHECK(pool.reserve(6));
  CHECK_FALSE(pool.reserve(5));
  CHECK(pool.reserve(4));
  pool.unreserve(10);
  CHECK(pool.promised() == 0);
  // Whatever the start within a chunk, chunks_for(n) hold n bytes.
  CHECK(pool.chunks_for(32) == 3);
  CHECK(pool.chunks_for(33) == 4);
}

TEST_CASE("chunks: an empty pool refuses, room() gives what there is") {
  ChunkPool pool(4 * 16, 16);
  ChunkQueue a;
  ChunkQueue b;
  REQUIRE(a.write(pool, 0, bytes(std::string(40, 'a'))));
  CHECK_FALSE(b.write(pool, 0, bytes(std::string(40, 'b'))));
  std::array<iovec, 8> parts;
  CHECK(b.room(pool, 0, 100, parts) == 1);
  CHECK(parts[0].iov_len == 16);
  a.clear(pool);
  b.clear(pool);
  CHECK(pool.used() == 0);
  pool.trim();
  CHECK(a.write(pool, 0, bytes(std::string(64, 'a'))));
}

TEST_CASE("chunks: random appends and releases behave like a string") {
  ChunkPool pool(64 * 16, 16);
  ChunkQueue queue;
  std::string model;
  std::mt19937 random(11);
  for (int step = 0; step < 5000; ++step) {
    const std::size_t n = random() % 100;
    if (model.size() + n < 900) {
      std::string more(n, '\0');
      for (char& c : more) c = static_cast<char>(random());
      REQUIRE(queue.write(pool, static_cast<std::uint32_t>(model.size()), bytes(more)));
      model += more;
    }
    const std::size_t drop = random() % (model.size() + 1);
    queue.advance(pool, static_cast<std::uint32_t>(drop));
    model.erase(0, drop);
    REQUIRE(read(pool, queue, 0, static_cast<std::uint32_t>(model.size())) == model);
  }
}
