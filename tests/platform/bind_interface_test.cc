// mechanisms 5: a flow bound to its interface does not follow its peer's address onto another one.
#include <doctest/doctest.h>
#include <linux/if_tun.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "tests/platform/support.h"

namespace {

using namespace cordon::platform;
using Fds = std::span<const int>;

struct Case {
  std::string_view name;
  bool bound;
  bool appears_on_uplink;
  bool reached;
};
constexpr std::array kCases{
    Case{"unbound, on lo", false, false, true},
    Case{"bound, on lo", true, false, false},
    Case{"bound, on the uplink itself", true, true, true},
};
struct Family {
  std::string_view own, peer, any;
  unsigned uplink_length, host_length;
};
constexpr std::array kFamilies{Family{"192.0.2.1", "192.0.2.9", "0.0.0.0", 24, 32},
                               Family{"2001:db8:5::1", "2001:db8:5::9", "::", 64, 128}};

TEST_CASE(
    "platform: UDP of a bound flow does not reach a local listener when its peer becomes local elsewhere") {
  for (const Family& family : kFamilies) {
    for (const Case& test : kCases) {
      CAPTURE(family.peer);
      CAPTURE(test.name);
      Tun uplink(IFF_TUN | IFF_NO_PI);
      REQUIRE(change_address(true, family.own, family.uplink_length, uplink.index()));
      const Fd listener = bound_socket(SOCK_DGRAM, family.any);
      const Fd flow = make_socket(make_address(family.peer, 0).family(), SOCK_DGRAM);
      if (test.bound) REQUIRE(set_option(flow.get(), SOL_SOCKET, SO_BINDTOIFINDEX, uplink.index()));
      REQUIRE(connect_to(flow.get(), family.peer, local_port(listener.get())));
      const int index = test.appears_on_uplink ? uplink.index() : loopback_index();
      REQUIRE(change_address(true, family.peer, family.host_length, index));
      REQUIRE(wait_until_local(family.peer));
      send_text(flow.get(), "leak");
      CHECK(receive_text(listener.get(), 100) == (test.reached ? "leak" : ""));
      CHECK(change_address(false, family.peer, family.host_length, index));
    }
  }
}

TEST_CASE(
    "platform: TCP of a bound flow does not reach a local listener when its peer becomes local elsewhere") {
  for (const Family& family : kFamilies) {
    for (const Case& test : kCases) {
      CAPTURE(family.peer);
      CAPTURE(test.name);
      Tun uplink(IFF_TUN | IFF_NO_PI);
      REQUIRE(change_address(true, family.own, family.uplink_length, uplink.index()));
      const Fd listener = bound_socket(SOCK_STREAM, family.any);
      const Fd flow = make_socket(make_address(family.peer, 0).family(), SOCK_STREAM);
      if (test.bound) REQUIRE(set_option(flow.get(), SOL_SOCKET, SO_BINDTOIFINDEX, uplink.index()));
      nonblocking(flow.get());
      const int index = test.appears_on_uplink ? uplink.index() : loopback_index();
      REQUIRE(change_address(true, family.peer, family.host_length, index));
      REQUIRE(wait_until_local(family.peer));
      connect_to(flow.get(), family.peer, local_port(listener.get()));
      CHECK(readable(listener.get(), 100) == test.reached);
      CHECK(change_address(false, family.peer, family.host_length, index));
    }
  }
}

TEST_CASE(
    "platform: a SYN sent to an outside address follows the address when it becomes local, unless bound") {
  for (const bool bound : {false, true}) {
    CAPTURE(bound);
    Tun uplink(IFF_TUN | IFF_NO_PI);
    REQUIRE(change_address(true, "192.0.2.1", 24, uplink.index()));
    const Fd listener = bound_socket(SOCK_STREAM, "0.0.0.0");
    const Fd flow = make_socket(AF_INET, SOCK_STREAM);
    if (bound) REQUIRE(set_option(flow.get(), SOL_SOCKET, SO_BINDTOIFINDEX, uplink.index()));
    nonblocking(flow.get());
    connect_to(flow.get(), "192.0.2.9", local_port(listener.get()));
    REQUIRE_FALSE(uplink.next_packet(4, 500).empty());  // the first SYN left
    REQUIRE(change_address(true, "192.0.2.9", 32, loopback_index()));
    CHECK(readable(listener.get(), 2500) == !bound);  // the retransmission after 1 s is routed anew
    CHECK(change_address(false, "192.0.2.9", 32, loopback_index()));
  }
}

TEST_CASE("platform: an unprivileged process can bind an unbound socket to an interface, once") {
  Tun uplink(IFF_TUN | IFF_NO_PI);
  const Fd flow = make_socket(AF_INET, SOCK_DGRAM);
  const int index = uplink.index();
  Holder holder(
      std::array{flow.get()},
      {[index](Fds fds) { return set_option(fds[0], SOL_SOCKET, SO_BINDTOIFINDEX, index) ? 0L : errno; },
       [](Fds fds) { return set_option(fds[0], SOL_SOCKET, SO_BINDTOIFINDEX, 1) ? 0L : errno; }});
  CHECK(holder.call(0) == 0);
  CHECK(holder.call(1) == EPERM);
}

}  // namespace
