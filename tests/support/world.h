// A private world for tests with real sockets: this process moves into a user and network namespace of its
// own
// ("host", where the code under test runs), joined by a veth pair to a second one ("far").
//
//   host: lo, up0 192.0.2.1/24 2001:db8::1/64, default routes by .254 / ::fe      far: far0 with .254 / ::fe,
//   and
//         198.51.100.1, 2001:db8:1::1 (what a guest reaches)
//
// Works as root and as an ordinary user; nothing outlives the process.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/base/fd.h"

namespace cordon::test {

inline void require(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::exit(1);
}

inline void write_file(const std::string& path, const std::string& text) {
  const base::Fd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  require(fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()),
          path.c_str());
}

inline void run(const std::string& command) { require(std::system(command.c_str()) == 0, command.c_str()); }

class World {
 public:
  // The one world of this process; made at first use, which must come before any thread.
  static World& get() {
    static World world;
    return world;
  }

  // Runs `work` inside the far namespace; sockets made there stay there.
  template <class Work>
  auto far(Work work) {
    require(::setns(far_.get(), CLONE_NEWNET) == 0, "setns far");
    struct Back {
      int fd;
      ~Back() { require(::setns(fd, CLONE_NEWNET) == 0, "setns host"); }
    } back{host_.get()};
    return work();
  }
  void far_run(const std::string& command) {
    far([&] { run(command); });
  }

 private:
  World() {
    const uid_t uid = ::getuid();
    const gid_t gid = ::getgid();
    require(::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0, "unshare: this test needs user namespaces");
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
    write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
    host_ = open_namespace();
    require(::unshare(CLONE_NEWNET) == 0, "unshare far");
    far_ = open_namespace();
    require(::setns(host_.get(), CLONE_NEWNET) == 0, "setns host");

    const std::string far_path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(far_.get());
    run("ip link set lo up");
    run("ip link add up0 type veth peer name far0 netns " + far_path);
    run("ip link set up0 up");
    far_run("ip link set lo up && ip link set far0 up");
    run("ip addr add 192.0.2.1/24 dev up0 && ip addr add 2001:db8::1/64 dev up0 nodad");
    far_run("ip addr add 192.0.2.254/24 dev far0 && ip addr add 2001:db8::fe/64 dev far0 nodad");
    far_run("ip addr add 198.51.100.1/32 dev far0 && ip addr add 2001:db8:1::1/128 dev far0 nodad");
    far_run("ip route add default via 192.0.2.1 && ip route add default via 2001:db8::1");
    run("ip route add default via 192.0.2.254 && ip route add default via 2001:db8::fe");
    write_file("/proc/sys/net/ipv4/ping_group_range", "0 0");
  }

  static base::Fd open_namespace() {
    base::Fd fd{::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
    require(fd.valid(), "open namespace");
    return fd;
  }

  base::Fd host_;
  base::Fd far_;
};

}  // namespace cordon::test
