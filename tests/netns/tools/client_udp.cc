// UDP client commands: every size, port unreachable, DNS questions.
#include <arpa/inet.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;

// Sends one datagram of `size` bytes and waits for its echo; datagrams may be lost, so it asks again.
bool echo_size(const Fd& fd, std::size_t size) {
  std::vector<std::byte> out(size);
  std::vector<std::byte> in(65536);
  for (std::uint64_t attempt = 0; attempt < 5; ++attempt) {
    const std::uint64_t seed = size * 16 + attempt;
    fill_stream(seed, 0, out);
    if (send(fd.get(), out.data(), out.size(), 0) < 0) fail_errno("send " + std::to_string(size) + " bytes");
    while (true) {
      const ssize_t got = recv(fd.get(), in.data(), in.size(), 0);
      if (got < 0 && errno == EAGAIN) break;
      if (got < 0) fail_errno("receive the echo of " + std::to_string(size) + " bytes");
      if (static_cast<std::size_t>(got) != size) continue;  // a late echo of an earlier attempt
      const auto data = std::span<const std::byte>(in).first(size);
      if (good_prefix(seed, 0, data) == size) return true;
    }
  }
  return false;
}

int sizes_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 1000);
  std::vector<std::size_t> sizes;
  for (const std::string& text : arguments.subspan(2)) sizes.push_back(parse_number(text));
  if (sizes.empty()) {
    sizes = {0,    1,    2,     3,     7,     8,     15,    16,    100,   511,   512,   1200,
             1232, 1399, 1400,  1452,  1453,  1471,  1472,  1473,  2000,  2944,  2945,  4096,
             8192, 9000, 16384, 32767, 32768, 40000, 65000, 65472, 65492, 65493, 65506, 65507};
  }
  for (const std::size_t size : sizes) {
    if (!echo_size(fd, size)) fail("no echo of %zu bytes", size);
  }
  std::printf("{\"command\": \"udp-sizes\", \"sizes\": %zu}\n", sizes.size());
  return 0;
}

// A datagram to a port nobody listens on must come back as ECONNREFUSED on the connected socket.
int udp_refused_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 1000);
  std::array<std::byte, 64> data{};
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (send(fd.get(), data.data(), data.size(), 0) < 0 && errno == ECONNREFUSED) return 0;
    if (recv(fd.get(), data.data(), data.size(), 0) >= 0) fail("somebody answered");
    if (errno == ECONNREFUSED) return 0;
  }
  fail("no port unreachable: %s", std::strerror(errno));
}

std::vector<std::byte> dns_question(const std::string& name, std::uint16_t type) {
  std::vector<std::byte> out;
  for (const unsigned value : {0x12U, 0x34U, 1U, 0U, 0U, 1U, 0U, 0U, 0U, 0U, 0U, 0U}) {
    out.push_back(static_cast<std::byte>(value));
  }
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    out.push_back(static_cast<std::byte>(end - at));
    for (; at < end; ++at) out.push_back(static_cast<std::byte>(name[at]));
    ++at;
  }
  for (const unsigned value : {0U, 0U, unsigned{type}, 0U, 1U}) out.push_back(static_cast<std::byte>(value));
  return out;
}

// Prints the one address of the answer; the fake resolver puts it at the end of the message.
int print_answer(std::span<const std::byte> answer, std::uint16_t type) {
  const std::size_t length = type == 28 ? 16 : 4;
  if (answer.size() < 12 + length || answer[7] != std::byte{1}) fail("no answer record");
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(type == 28 ? AF_INET6 : AF_INET, answer.last(length).data(), text.data(), text.size());
  std::puts(text.data());
  return 0;
}

int dns_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint16_t type = arguments.size() > 4 && arguments[4] == "aaaa" ? 28 : 1;
  const std::vector<std::byte> question = dns_question(arguments[3], type);
  std::vector<std::byte> answer(65536);
  if (arguments[2] == "tcp") {
    const Fd fd = connect_tcp_or_fail(target, options);
    std::vector<std::byte> out{static_cast<std::byte>(question.size() / 256),
                               static_cast<std::byte>(question.size() % 256)};
    out.insert(out.end(), question.begin(), question.end());
    if (!send_all(fd.get(), out)) fail_errno("send");
    std::array<std::byte, 2> length{};
    if (!receive_all(fd.get(), length.data(), 2)) fail_errno("receive");
    answer.resize(std::to_integer<std::size_t>(length[0]) * 256 + std::to_integer<std::size_t>(length[1]));
    if (!receive_all(fd.get(), answer.data(), answer.size())) fail_errno("receive");
    return print_answer(answer, type);
  }
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 1000);
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (send(fd.get(), question.data(), question.size(), 0) < 0) fail_errno("send");
    const ssize_t got = recv(fd.get(), answer.data(), answer.size(), 0);
    if (got >= 0) return print_answer(std::span(answer).first(static_cast<std::size_t>(got)), type);
    if (errno != EAGAIN) fail_errno("receive");
  }
  fail("no answer");
}

constexpr std::array kCommands{
    CommandEntry{"udp-sizes", "ADDRESS PORT [SIZE...]", sizes_command, 2},
    CommandEntry{"udp-refused", "ADDRESS PORT", udp_refused_command, 2},
    CommandEntry{"dns", "ADDRESS PORT udp|tcp NAME [a|aaaa]", dns_command, 4},
};

}  // namespace

std::span<const CommandEntry> udp_commands() { return kCommands; }

}  // namespace cordon::traffic
