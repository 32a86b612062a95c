#include "tests/hostile/rogue/far_ends.h"

#include <poll.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>

namespace cordon::rogue {

void DatagramFlow::say(std::string_view text) const {
  ::sendto(far, text.data(), text.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&peer), length);
}

DatagramFlow open_datagrams(Scene& scene, bool v6) {
  Remote& agent = scene.agent();
  DatagramFlow flow{.fd = agent.grant(flow::Protocol::kUdp, v6 ? kServer6 : kServer4, kAllowed),
                    .id = agent.last(),
                    .far = scene.witness().udp(v6)};
  write_text(scene, flow.fd, "hello");
  std::array<char, 64> buffer{};
  pollfd ready{flow.far, POLLIN, 0};
  flow.length = sizeof flow.peer;
  if (::poll(&ready, 1, 3000) != 1 || ::recvfrom(flow.far, buffer.data(), buffer.size(), 0,
                                                 reinterpret_cast<sockaddr*>(&flow.peer), &flow.length) != 5)
    throw std::runtime_error("a granted datagram flow does not work");
  return flow;
}

StreamFlow open_stream(Scene& scene, bool v6) {
  Remote& agent = scene.agent();
  StreamFlow flow{.fd = agent.grant(flow::Protocol::kTcp, v6 ? kServer6 : kServer4, kAllowed),
                  .id = agent.last(),
                  .far = scene.witness().accept(v6)};
  if (!flow.far) throw std::runtime_error("a granted connection does not arrive");
  return flow;
}

std::string read_text(Scene& scene, int fd) {
  Remote& agent = scene.agent();
  const std::uint64_t at = agent.room(64);
  const Result got = agent.call(SYS_read, fd, at, 64);
  if (got.value < 0) return name_of_errno(got.error);
  if (got.value == 0) return "end";
  const auto bytes = agent.read(at, static_cast<std::size_t>(got.value));
  std::string text(bytes.size(), '\0');
  std::memcpy(text.data(), bytes.data(), bytes.size());
  return text;
}

std::string write_text(Scene& scene, int fd, std::string_view text) {
  Remote& agent = scene.agent();
  const std::uint64_t at = agent.put(std::as_bytes(std::span{text}));
  return outcome(agent.call(SYS_write, fd, at, text.size()));
}

Arrived receive_all(int far, milliseconds limit) {
  static std::array<char, 1 << 18> buffer;
  Arrived out;
  const auto end = Clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
    pollfd ready{far, POLLIN, 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) != 1) {
      out.end = "silence";
      return out;
    }
    const ssize_t got = ::recv(far, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) {
      out.end = got == 0 ? "end" : errno == ECONNRESET ? "reset" : name_of_errno(errno);
      return out;
    }
    out.bytes += static_cast<std::uint64_t>(got);
  }
}

}  // namespace cordon::rogue
