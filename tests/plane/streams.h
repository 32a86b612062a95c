// TCP streams through a worker, as the tests of rates need them.
#pragma once

#include <array>
#include <span>

#include "fakes.h"

namespace cordon::plane::test {

// A stream whose guest acknowledges everything and whose host end never runs dry, or never is full.
struct Stream {
  Stream(World& w, std::uint16_t port, flow::Shaping shaping) : world(w), guest(w, port) {
    guest.syn();
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
    guest.host = base::Fd(fds[1]);
    guest.id = world.gate.requests.back().first;
    world.worker.on_grant({.id = guest.id, .socket = base::Fd(fds[0]), .shaping = shaping});
    world.turn();
    const SeenTcp answer = world.take_tcp();
    REQUIRE(answer.flags.syn);
    guest.ack = answer.seq + 1;
    guest.send({});
    world.link.output.clear();
  }
  void reshape(const flow::Shaping& shaping) { world.worker.on_reshape(guest.id, shaping); }
  void stuff() const {
    static const std::string block(65536, 'x');
    while (::send(guest.host.get(), block.data(), block.size(), 0) > 0) {
    }
  }
  World& world;
  GuestTcp guest;
  std::uint64_t received = 0;  // by the guest
};

// Lets `time` pass in steps; each stream is kept full and acknowledged. Bytes the guests got.
inline void run_to_guest(World& world, std::span<Stream*> streams, base::Duration time,
                         base::Duration step = std::chrono::milliseconds{1}) {
  for (base::Duration passed{}; passed < time; passed += step) {
    for (Stream* stream : streams) stream->stuff();
    world.turn(3);
    while (!world.link.output.empty()) {
      const auto item = std::move(world.link.output.front());
      world.link.output.pop_front();
      const auto ethernet = wire::EthernetView::parse(item.bytes);
      const auto packet =
          wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kSkipL4);
      const auto view = wire::TcpView::parse(packet->l4);
      for (Stream* stream : streams) {
        if (stream->guest.t.guest.port != view->destination_port()) continue;
        const auto n = static_cast<std::uint32_t>(view->payload().size());
        stream->received += n;
        if (n > 0) stream->guest.ack = view->seq() + n;
      }
    }
    for (Stream* stream : streams) stream->guest.queue({});
    world.turn(2);
    world.clock.time = world.clock.time + step;
  }
}

}  // namespace cordon::plane::test
