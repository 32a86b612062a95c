// Who does the other end think I am? A server that answers with the address and port it sees, and the clients
// that compare or expect to be turned away.
#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;

std::string text_of(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  unsigned port = 0;
  if (address.ss_family == AF_INET) {
    std::memcpy(&v4, &address, sizeof v4);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    port = ntohs(v4.sin_port);
  } else {
    std::memcpy(&v6, &address, sizeof v6);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    port = ntohs(v6.sin6_port);
  }
  std::string out = text.data();
  if (out.starts_with("::ffff:")) out = out.substr(7);
  return out + " " + std::to_string(port);
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

void answer_tcp(int listener) {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  const Fd fd(accept4(listener, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC));
  if (!fd) return;
  send_all(fd.get(), bytes_of(text_of(peer)));
  shutdown(fd.get(), SHUT_WR);
  set_timeout(fd.get(), 2000);
  char rest = 0;
  while (recv(fd.get(), &rest, 1, 0) > 0) {
  }
}

void answer_udp(int socket) {
  std::array<std::byte, 2048> buffer{};
  Datagram datagram;
  if (receive_datagram(socket, buffer, datagram))
    send_datagram(socket, bytes_of(text_of(datagram.peer)), datagram);
}

// Prints ADDRESS PORT as the server sees them, and with EXPECTED fails unless the address is that.
int who_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[1], arguments[2]);
  std::array<char, 256> text{};
  ssize_t got = -1;
  if (arguments[0] == "tcp") {
    const Fd fd = connect_tcp_or_fail(target, options);
    set_timeout(fd.get(), options.timeout_ms);
    got = recv(fd.get(), text.data(), text.size(), MSG_WAITALL);
  } else {
    const Fd fd = connect_udp(target, options);
    set_timeout(fd.get(), 1000);
    for (int attempt = 0; attempt < 5 && got < 0; ++attempt) {
      if (send(fd.get(), "?", 1, 0) < 0) fail_errno("send");
      got = recv(fd.get(), text.data(), text.size(), 0);
    }
  }
  if (got <= 0) fail("no answer: %s", got == 0 ? "closed" : std::strerror(errno));
  const std::string seen(text.data(), static_cast<std::size_t>(got));
  std::puts(seen.c_str());
  if (arguments.size() > 3 && seen.substr(0, seen.find(' ')) != arguments[3])
    fail("the server sees %s, not %s", seen.c_str(), arguments[3].c_str());
  return 0;
}

// TCP: refused, or connected by the host's own stack and reset at once. UDP: no answer.
int turned_away_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[1], arguments[2]);
  std::array<char, 16> data{};
  if (arguments[0] == "udp") {
    const Fd fd = connect_udp(target, options);
    set_timeout(fd.get(), 300);
    for (int i = 0; i < 2; ++i) {
      if (send(fd.get(), "?", 1, 0) < 0) return 0;
      if (recv(fd.get(), data.data(), data.size(), 0) >= 0) fail("somebody answered");
    }
    return 0;
  }
  const auto begun = Clock::now();
  const Connected attempt = connect_tcp(target, options);
  if (attempt.error != 0 && attempt.error != ECONNREFUSED && attempt.error != ECONNRESET)
    fail("connect: %s", std::strerror(attempt.error));
  if (attempt.error == 0) {
    set_timeout(attempt.fd.get(), 5000);
    const ssize_t got = recv(attempt.fd.get(), data.data(), data.size(), 0);
    if (got >= 0) fail("%s", got == 0 ? "it was closed, not reset" : "somebody answered");
    if (errno != ECONNRESET) fail("neither refused nor reset: %s", std::strerror(errno));
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  std::printf("{\"command\": \"turned-away\", \"milliseconds\": %lld}\n", static_cast<long long>(took));
  return 0;
}

constexpr CommandEntry kCommands[] = {
    {"who", "tcp|udp ADDRESS PORT [EXPECTED]", who_command, 3},
    {"turned-away", "tcp|udp ADDRESS PORT", turned_away_command, 3},
};

}  // namespace

std::span<const CommandEntry> who_commands() { return kCommands; }

int run_who_server(std::span<const std::string> arguments) {
  const Target local = parse_target(arguments.size() > 1 ? arguments[1] : "::", arguments[0]);
  const Fd tcp = listen_tcp(local);
  const Fd udp = bind_udp(local);
  std::puts("ready");
  std::fflush(stdout);
  while (true) {
    std::array<pollfd, 2> watched{pollfd{.fd = tcp.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = udp.get(), .events = POLLIN, .revents = 0}};
    if (poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[0].revents != 0) answer_tcp(tcp.get());
    if (watched[1].revents != 0) answer_udp(udp.get());
  }
}

}  // namespace cordon::traffic
