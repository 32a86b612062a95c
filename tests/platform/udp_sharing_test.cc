// mechanisms 4: datagrams that reach the wrong reader, and what prevents it.
#include <doctest/doctest.h>

#include <cerrno>

#include "tests/platform/support.h"

namespace {

using namespace cordon::platform;

TEST_CASE(
    "platform: a datagram between bind and connect is delivered as if from the peer; a filter prevents it") {
  for (const bool filtered : {false, true}) {
    CAPTURE(filtered);
    const Fd peer = bound_socket(SOCK_DGRAM, "127.0.0.1");
    const Fd stranger = bound_socket(SOCK_DGRAM, "127.0.0.1");
    const Fd flow = make_socket(AF_INET, SOCK_DGRAM);
    if (filtered) REQUIRE(drop_everything(flow.get()));
    const Address any = make_address("0.0.0.0", 0);
    REQUIRE(bind(flow.get(), any.get(), any.length) == 0);
    REQUIRE(send_text_to(stranger.get(), "forged", "127.0.0.1", local_port(flow.get())));
    REQUIRE(connect_to(flow.get(), "127.0.0.1", local_port(peer.get())));
    if (filtered) REQUIRE(set_option(flow.get(), SOL_SOCKET, SO_DETACH_FILTER, 0));
    CHECK(receive_text(flow.get(), 100) == (filtered ? "" : "forged"));
    REQUIRE(send_text_to(peer.get(), "answer", "127.0.0.1", local_port(flow.get())));
    CHECK(receive_text(flow.get()) == "answer");
  }
}

Fd reusing_socket(std::uint16_t port) {
  Fd fd = make_socket(AF_INET, SOCK_DGRAM);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const Address local = make_address("0.0.0.0", port);
  if (bind(fd.get(), local.get(), local.length) != 0) return {};
  return fd;
}

TEST_CASE("platform: with SO_REUSEADDR one instance receives the answer to the other's query") {
  const Fd server = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd first = reusing_socket(0);
  const std::uint16_t port = local_port(first.get());
  const Fd second = reusing_socket(port);
  REQUIRE(second.valid());
  REQUIRE(connect_to(first.get(), "127.0.0.1", local_port(server.get())));
  REQUIRE(connect_to(second.get(), "127.0.0.1", local_port(server.get())));
  // Each asks; both answers go to one of them.
  REQUIRE(send_text(first.get(), "q1"));
  REQUIRE(send_text(second.get(), "q2"));
  for (int i = 0; i < 2; ++i) {
    const std::string query = receive_text(server.get());
    REQUIRE(send_text_to(server.get(), "answer to " + query, "127.0.0.1", port));
  }
  const std::string at_first = receive_text(first.get(), 100) + receive_text(first.get(), 100);
  const std::string at_second = receive_text(second.get(), 100) + receive_text(second.get(), 100);
  const bool crossed = at_first.find("q2") != std::string::npos || at_second.find("q1") != std::string::npos;
  CHECK(crossed);
}

TEST_CASE("platform: SO_REUSEADDR only around the bind lets our second flow in and keeps a stranger out") {
  const Fd server = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd other_server = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd first = bound_socket(SOCK_DGRAM, "0.0.0.0");
  const std::uint16_t port = local_port(first.get());
  REQUIRE(connect_to(first.get(), "127.0.0.1", local_port(server.get())));
  REQUIRE(set_option(first.get(), SOL_SOCKET, SO_REUSEADDR, 1));
  const Fd second = reusing_socket(port);
  REQUIRE(second.valid());
  REQUIRE(set_option(first.get(), SOL_SOCKET, SO_REUSEADDR, 0));
  REQUIRE(set_option(second.get(), SOL_SOCKET, SO_REUSEADDR, 0));
  REQUIRE(connect_to(second.get(), "127.0.0.1", local_port(other_server.get())));
  CHECK_FALSE(reusing_socket(port).valid());
  CHECK(errno == EADDRINUSE);
  REQUIRE(send_text_to(server.get(), "one", "127.0.0.1", port));
  REQUIRE(send_text_to(other_server.get(), "two", "127.0.0.1", port));
  CHECK(receive_text(first.get()) == "one");
  CHECK(receive_text(second.get()) == "two");
}

}  // namespace
