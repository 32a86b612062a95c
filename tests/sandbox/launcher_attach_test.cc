// A guest without a command: a namespace that somebody else made.
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cstdlib>
#include <cstring>

#include "sandbox/descriptors.h"
#include "tests/sandbox/launcher_run.h"

namespace cordon::sandbox {
namespace {

// Ends when the test releases its hold.
class ServedGuest final : public GuestStarter {
 public:
  explicit ServedGuest(int hold) : hold_(hold) {}
  base::Result<Started> start() override {
    Started started{.command = -1, .taps = {}};
    started.taps.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
    return started;
  }
  base::Result<void> go() override { return {}; }
  [[nodiscard]] int end_fd() const override { return hold_; }
  [[nodiscard]] bool ended() override {
    char byte = 0;
    return ::read(hold_, &byte, 1) == 0;
  }

 private:
  int hold_;
};

std::unique_ptr<GuestStarter> serve_until_released(int hold) { return std::make_unique<ServedGuest>(hold); }

// A real tap in a network namespace of its own (needs root), for tests of an interface that is removed.
base::Fd make_tap() {
  if (::unshare(CLONE_NEWNET) != 0) return base::Fd{};
  base::Fd tap{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  ifreq request{};
  std::strncpy(request.ifr_name, "vanishing", IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (!tap || ::ioctl(tap.get(), TUNSETIFF, &request) != 0) return base::Fd{};
  return tap;
}

}  // namespace

TEST_CASE("launcher: an interface is gone when its device is, and only then") {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const base::Fd tap = make_tap();
    if (!tap) ::_exit(77);
    if (is_interface_gone(tap.get())) ::_exit(1);
    if (::system("ip link del vanishing") != 0) ::_exit(77);
    ::_exit(is_interface_gone(tap.get()) ? 0 : 2);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("this machine forbids the tap that the test needs");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
  const base::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  CHECK_FALSE(is_interface_gone(null.get()));
}

TEST_CASE("launcher: without a command it ends with 0 when the guest says so") {
  Run run{"normal", "serve", "/etc/resolv.conf", serve_until_released};
  REQUIRE(run.sees("all ready"));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.text().find("broker stopped") != std::string::npos);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: without a command each ending signal is a clean end, one that is ignored is not") {
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT}) {
    CAPTURE(signal);
    Run run{"normal", "serve", "/etc/resolv.conf", serve_until_released};
    REQUIRE(run.sees("all ready"));
    run.signal(signal);
    CHECK(run.exit_status() == 0);
    CHECK(run.all_gone());
  }
  Run run{"normal", "serve", "/etc/resolv.conf", [](int hold) {
            ::signal(SIGINT, SIG_IGN);  // as a shell does for what it puts into the background
            return serve_until_released(hold);
          }};
  REQUIRE(run.sees("all ready"));
  run.signal(SIGINT);
  CHECK_FALSE(run.sees("broker stopped", 200ms));
  run.signal(SIGTERM);
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: without a command a killed translator is replaced") {
  Run run{"normal", "serve", "/etc/resolv.conf", serve_until_released};
  REQUIRE(run.sees("all ready"));
  ::kill(run.roles("--role=translator").front(), SIGKILL);
  CHECK(run.sees("event 0 killed by signal 9 (Killed)"));
  CHECK(run.sees("translator 2"));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: without a command nothing goes on without broker") {
  Run broker{"normal", "serve", "/etc/resolv.conf", serve_until_released};
  REQUIRE(broker.sees("all ready"));
  ::kill(broker.roles("--role=broker").front(), SIGKILL);
  CHECK(broker.exit_status() == 125);
  CHECK(broker.text().find("cordon ends") != std::string::npos);
  CHECK(broker.all_gone());
}

TEST_CASE("launcher: kill -9 without a command leaves nothing behind") {
  Run run{"normal", "serve", "/etc/resolv.conf", serve_until_released};
  REQUIRE(run.sees("all ready"));
  run.signal(SIGKILL);
  CHECK(run.exit_status() == -SIGKILL);
  CHECK(run.all_gone());
}

}  // namespace cordon::sandbox
