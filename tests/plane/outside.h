// A peer outside: what the broker offers, and the other end of it.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>

#include "fakes.h"

namespace cordon::plane::test {

// Two connected sockets on loopback: what the broker offers, and the peer.
struct Pair {
  explicit Pair(flow::Protocol protocol = flow::Protocol::kTcp) {
    const int type = (protocol == flow::Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC;
    base::Fd listener(::socket(AF_INET, type, 0));
    near = base::Fd(::socket(AF_INET, type, 0));
    net::SockAddr at = net::to_sockaddr({*net::parse_ip("127.0.0.1"), net::Port{0}});
    REQUIRE(::bind(listener.get(), &at.generic, at.length) == 0);
    REQUIRE(::getsockname(listener.get(), &at.generic, &at.length) == 0);
    if (protocol == flow::Protocol::kTcp) {
      REQUIRE(::listen(listener.get(), 1) == 0);
      REQUIRE(::connect(near.get(), &at.generic, at.length) == 0);
      far = base::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    } else {
      REQUIRE(::connect(near.get(), &at.generic, at.length) == 0);
      REQUIRE(::getsockname(near.get(), &at.generic, &at.length) == 0);
      REQUIRE(::connect(listener.get(), &at.generic, at.length) == 0);
      far = std::move(listener);
    }
    REQUIRE(::fcntl(near.get(), F_SETFL, O_NONBLOCK) == 0);
  }
  void reset() {
    const linger now{1, 0};
    REQUIRE(::setsockopt(far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    far.reset();
  }
  base::Fd near, far;
};

struct Outside {
  explicit Outside(World& w, flow::Protocol protocol = flow::Protocol::kTcp, std::uint32_t number = 7,
                   bool v6 = false)
      : world(w), offer(number), t(tuple(protocol, 8080, v6)), pair(protocol) {
    t.remote.port = net::Port{50000};
  }
  void arrive(std::string_view first = {}) {
    const auto bytes = bytes_of(first);
    flow::Inbound inbound;
    inbound.offer = offer;
    inbound.tuple = t;
    inbound.socket = std::move(pair.near);
    inbound.first = bytes;
    world.worker.on_inbound(std::move(inbound));
    world.turn();
  }
  // The guest answers our SYN, then talks.
  void answer(bool accept = true) {
    const SeenTcp syn = world.take_tcp();
    REQUIRE(syn.flags.syn);
    REQUIRE_FALSE(syn.flags.ack);
    ack = syn.seq + 1;
    wire::TcpFields f;
    f.seq = net::SeqNum{accept ? 9000U : 0U};
    f.ack = ack;
    f.flags = {.syn = accept, .rst = !accept, .ack = true};
    f.window = 65535;
    if (accept) {
      f.mss = 1460;
      f.window_scale = 7;
      f.sack_permitted = true;
    }
    world.link.from_guest(tcp_frame(t, f));
    world.turn();
    seq = f.seq + 1;
  }
  void send(std::string_view payload, bool fin = false) {
    wire::TcpFields f;
    f.seq = seq;
    f.ack = ack;
    f.flags.ack = true;
    f.flags.fin = fin;
    f.window = 500;
    world.link.from_guest(tcp_frame(t, f, bytes_of(payload)));
    world.turn();
    seq = seq + static_cast<std::uint32_t>(payload.size()) + (fin ? 1U : 0U);
  }
  void peer_sends(std::string_view text) {
    REQUIRE(::send(pair.far.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
    world.turn();
  }
  std::string peer_reads() {
    std::string out(70000, '\0');
    const ssize_t n = ::recv(pair.far.get(), out.data(), out.size(), MSG_DONTWAIT);
    error = n < 0 ? errno : 0;
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  World& world;
  std::uint32_t offer;
  flow::Tuple t;
  Pair pair;
  net::SeqNum seq, ack;
  int error = 0;
};

}  // namespace cordon::plane::test
