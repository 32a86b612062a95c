#include "core/vhost/calls.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

using namespace cordon;
using vhost::Calls;

namespace {

constexpr std::uint64_t kFull = UINT64_MAX - 1;

base::Fd event(int flags) { return base::Fd{::eventfd(0, flags | EFD_CLOEXEC)}; }
void add(const base::Fd& fd, std::uint64_t value) {
  REQUIRE(::write(fd.get(), &value, sizeof value) == sizeof value);
}
std::uint64_t take(const base::Fd& fd) {
  std::uint64_t value = 0;
  REQUIRE(::read(fd.get(), &value, sizeof value) == sizeof value);
  return value;
}

}  // namespace

TEST_CASE("vhost calls: a full eventfd is not waited for, whichever kind it is") {
  for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) {
    CAPTURE(flags);
    const base::Fd receive = event(flags);
    const base::Fd transmit = event(flags);
    Calls calls;
    calls.set(receive.get(), transmit.get());
    add(receive, kFull);
    ::alarm(20);  // a blocking write would wait for ever
    CHECK(calls.receive());
    ::alarm(0);
    CHECK(calls.transmit());
    CHECK(take(receive) == kFull);
    CHECK(take(transmit) == 1);
    CHECK(calls.receive());  // and when there is room again
    CHECK(take(receive) == 1);
  }
}

TEST_CASE("vhost calls: both queues may have the same one, and either may have none") {
  const base::Fd both = event(0);
  Calls calls;
  calls.set(both.get(), both.get());
  CHECK(calls.receive());
  CHECK(calls.transmit());
  CHECK(take(both) == 2);
  calls.set(-1, both.get());
  CHECK(!calls.receive());
  CHECK(calls.transmit());
  CHECK(take(both) == 1);
  calls.set(-1, -1);
  CHECK(!calls.transmit());
}
