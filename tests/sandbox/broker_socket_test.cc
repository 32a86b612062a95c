#include "sandbox/broker_socket.h"

#include <doctest/doctest.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "core/net/sockaddr.h"
#include "tests/support/world.h"

namespace cordon::sandbox {
namespace {

constexpr net::Port kPort{7777};

base::Fd service(const std::string& address) {
  const net::SockAddr at = net::to_sockaddr({*net::parse_ip(address), kPort});
  base::Fd fd{::socket(at.generic.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  REQUIRE(::bind(fd.get(), &at.generic, at.length) == 0);
  return fd;
}

bool readable(int fd, int wait_ms) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, wait_ms) == 1 && (entry.revents & POLLIN) != 0;
}

// Answers one datagram.
void answer(int service) {
  REQUIRE(readable(service, 1000));
  net::SockAddr peer;
  peer.length = sizeof peer.storage;
  char byte = 0;
  REQUIRE(::recvfrom(service, &byte, 1, 0, &peer.generic, &peer.length) == 1);
  REQUIRE(::sendto(service, "r", 1, 0, &peer.generic, peer.length) == 1);
}

struct Case {
  const char* address;
  const char* length;
};
constexpr Case kCases[] = {{"203.0.113.9", "/32"}, {"2001:db8:9::9", "/128"}};

TEST_CASE("broker socket: a flow hears nothing from this host when it has become the peer") {
  test::World::get();
  for (const auto& [address, length] : kCases)
    for (const bool bound : {true, false}) {
      CAPTURE(address);
      CAPTURE(bound);
      const net::Endpoint peer{*net::parse_ip(address), kPort};
      const flow::Tuple tuple{
          .protocol = flow::Protocol::kUdp, .guest = {peer.address, net::Port{0}}, .remote = peer};
      const OpenedSocket opened = open_socket(
          tuple, {.allow = true, .dial = peer, .bind_interface = bound ? ::if_nametoindex("up0") : 0}, {});
      REQUIRE(opened.error == 0);
      test::run(std::string("ip addr add ") + address + length + " dev up0" +
                (peer.address.is_v6() ? " nodad" : ""));
      {
        const base::Fd local = service(address);
        // `nodad` or not, IPv6 makes the address's route from a work queue, after ip(8) has ended: what is
        // sent before goes the old way.
        for (int i = 0; i < 100 && !readable(local.get(), 20); ++i)
          REQUIRE(::send(opened.socket.get(), "q", 1, 0) == 1);
        answer(local.get());
        CHECK_FALSE(readable(opened.socket.get(), 50));
      }
      test::run(std::string("ip addr del ") + address + length + " dev up0");
    }
}

TEST_CASE("broker socket: a flow to a service of this host, opened as one, hears it") {
  test::World::get();
  for (const char* address : {"127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"}) {
    CAPTURE(address);
    const net::Endpoint peer{*net::parse_ip(address), kPort};
    const flow::Tuple tuple{
        .protocol = flow::Protocol::kUdp, .guest = {peer.address, net::Port{0}}, .remote = peer};
    const base::Fd local = service(address);
    const OpenedSocket opened = open_socket(tuple, {.allow = true, .local_service = true, .dial = peer}, {});
    REQUIRE(opened.error == 0);
    REQUIRE(::send(opened.socket.get(), "q", 1, 0) == 1);
    answer(local.get());
    CHECK(readable(opened.socket.get(), 1000));
  }
}

}  // namespace
}  // namespace cordon::sandbox
