// A vhost-user back-end behind the filter that its translator gets: the front end is this process.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/vhost/fault_guard.h"
#include "sandbox/capabilities.h"
#include "sandbox/filter.h"
#include "tests/vhost/backend_rig.h"

using namespace cordon;
using namespace cordon::vhost;
using namespace cordon::vhost::test;

namespace {

// The end of a service, as the child's exit status.
enum : int { kClosed = 10, kViolation = 11, kMemoryLost = 12 };

int serve(BackendRig& rig) {
  const base::Fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event event{};
  event.events = EPOLLIN;
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, rig.backend->poll_fd(), &event);
  if (!fault_guard::install()) return 95;
  const auto program = sandbox::compile_filter(sandbox::memory_translator_profile(), ::getpid());
  if (!program || !sandbox::set_no_new_privs() || !sandbox::install_filter(*program)) return 96;
  for (;;) {
    ::epoll_wait(epoll.get(), &event, 1, 1000);
    const Backend::Status status = rig.backend->serve();
    // Looks into the guest's memory, as a worker would.
    if (const MemoryTable* const table = rig.paths[0].state.memory)
      for (const Region& region : table->regions()) {
        const volatile std::byte* const last = &region.bytes.back();
        rig.paths[0].touch += std::to_integer<unsigned>(*last);
      }
    if (fault_guard::memory_lost()) return kMemoryLost;
    if (status == Backend::Status::kClosed) return kClosed;
    if (status == Backend::Status::kViolation) return kViolation;
  }
}

class Guarded {
 public:
  Guarded() {
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ != 0) return;
    rig_.front.reset();
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    for (const int number : {SIGABRT, SIGSYS, SIGSEGV, SIGTERM}) ::signal(number, SIG_DFL);
    ::syscall(SYS_exit_group, serve(rig_));
  }
  void send(std::uint32_t request, const Bytes& payload, const std::vector<int>& fds = {}) {
    rig_.send(message_bytes(request, kNeedReply, payload), fds);
  }
  std::optional<std::uint64_t> ask(std::uint32_t request, const Bytes& payload,
                                   const std::vector<int>& fds = {}) {
    send(request, payload, fds);
    pollfd wait{rig_.front.get(), POLLIN, 0};
    if (::poll(&wait, 1, 10'000) != 1) return std::nullopt;
    const Bytes got = rig_.answer();
    if (got.size() != 20) return std::nullopt;
    std::uint64_t value = 0;
    std::memcpy(&value, &got[12], sizeof value);
    return value;
  }
  // Minus the signal when it was one.
  int end() {
    rig_.front.reset();
    int status = 0;
    ::waitpid(child_, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  BackendRig rig_;
  pid_t child_ = -1;
};

const Bytes kTable = mem_table({{0, BackendRig::kSize, BackendRig::kUser, 0}});

}  // namespace

TEST_CASE("vhost filter: a whole life of a device, memory plugged in and out") {
  const base::Fd memory = make_memfd(BackendRig::kSize);
  const base::Fd kick = make_event();
  Guarded device;
  CHECK(device.ask(2, number(1ULL << 32U | 1ULL << 30U)) == 0);
  for (int round = 0; round < 3; ++round) {
    CHECK(device.ask(5, kTable, {memory.get()}) == 0);
    CHECK(device.ask(8, state(0, 256)) == 0);
    CHECK(device.ask(
              9, addr(0, 0, BackendRig::kUser, BackendRig::kUser + 0x5000, BackendRig::kUser + 0x4000)) == 0);
    CHECK(device.ask(12, number(0), {kick.get()}) == 0);
    CHECK(device.ask(13, number(0), {kick.get()}) == 0);
    CHECK(device.ask(18, state(0, 1)) == 0);
    CHECK(device.ask(6, Payload{}.u64(0x1000).u64(0), {memory.get()}) == 0);
    CHECK(device.ask(12, number(0), {memory.get()}) == 1);  // judged, and refused
    CHECK(device.ask(5, kTable, {kick.get()}) == 1);
    CHECK(device.ask(11, state(0, 0)).has_value());
    CHECK(device.ask(38, mem_reg({0, BackendRig::kSize, BackendRig::kUser, 0})) == 0);
  }
  CHECK(device.end() == kClosed);
}

TEST_CASE("vhost filter: memory that shrinks ends the service, not the process") {
  const base::Fd memory = make_memfd(BackendRig::kSize);
  Guarded device;
  CHECK(device.ask(5, kTable, {memory.get()}) == 0);
  CHECK(device.ask(18, state(0, 0)) == 0);
  CHECK(::ftruncate(memory.get(), 0x1000) == 0);
  device.send(1, none());
  CHECK(device.end() == kMemoryLost);
}

TEST_CASE("vhost filter: a violation is a violation") {
  Guarded device;
  device.send(8, none());
  CHECK(device.end() == kViolation);
}
