#include "core/loop/poller.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

using namespace cordon;
using namespace std::chrono_literals;

TEST_CASE("poller: tokens survive packing") {
  const loop::Token token{loop::Token::Kind::kFlow, 0xabcdefU, 0xdeadbeefU};
  const auto back = loop::Token::unpack(token.pack());
  CHECK(back.kind == token.kind);
  CHECK(back.slot == token.slot);
  CHECK(back.generation == token.generation);
}

TEST_CASE("poller: reports what is ready with its token, and nothing after removal") {
  loop::Poller poller(60us);
  const base::Fd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  REQUIRE(poller.add(event.get(), EPOLLIN, {loop::Token::Kind::kFlow, 7, 9}));
  const auto ready = poller.wait(1s);
  REQUIRE(ready.size() == 1);
  CHECK(loop::Token::unpack(ready[0].data.u64).slot == 7);
  CHECK(loop::Token::unpack(ready[0].data.u64).generation == 9);
  poller.remove(event.get());
  CHECK(poller.wait(0ns).empty());
}

TEST_CASE("poller: waits as long as asked, also when it just was busy") {
  loop::Poller poller(60us);
  for (int i = 0; i < 3; ++i) {
    const auto start = base::monotonic_now();
    CHECK(poller.wait(5ms).empty());
    CHECK(base::monotonic_now() - start >= 5ms);
  }
}
