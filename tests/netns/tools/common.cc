// Sockets, the content stream and exact transfers, shared by both ends.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {
namespace {

constexpr std::size_t kChunk = 256 * 1024;

// splitmix64's output function: good enough that a shifted stream differs at once.
std::uint64_t stream_word(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

}  // namespace

void fail(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::fputs("traffic: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputc('\n', stderr);
  va_end(arguments);
  std::exit(1);
}

void fail_errno(std::string_view what) { fail("%s: %s", std::string(what).c_str(), std::strerror(errno)); }

Target parse_target(const std::string& address, const std::string& port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int status = getaddrinfo(address.c_str(), port.c_str(), &hints, &found); status != 0) {
    fail("%s port %s: %s", address.c_str(), port.c_str(), gai_strerror(status));
  }
  Target target;
  std::memcpy(&target.address, found->ai_addr, found->ai_addrlen);
  target.length = found->ai_addrlen;
  freeaddrinfo(found);
  return target;
}

std::uint64_t parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    fail("not a number: %s", std::string(text).c_str());
  }
  return value;
}

void fill_stream(std::uint64_t seed, std::uint64_t offset, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t word = stream_word(seed, at / 8);
    const std::size_t skip = at % 8;
    const std::size_t count = std::min<std::size_t>(8 - skip, out.size() - done);
    std::memcpy(out.data() + done, reinterpret_cast<const std::byte*>(&word) + skip, count);
    done += count;
  }
}

std::size_t good_prefix(std::uint64_t seed, std::uint64_t offset, std::span<const std::byte> data) {
  std::array<std::byte, 4096> expected;
  std::size_t done = 0;
  while (done < data.size()) {
    const std::size_t count = std::min(expected.size(), data.size() - done);
    fill_stream(seed, offset + done, std::span(expected).first(count));
    if (std::memcmp(expected.data(), data.data() + done, count) != 0) {
      const auto [a, b] =
          std::mismatch(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(count),
                        data.begin() + static_cast<std::ptrdiff_t>(done));
      return done + static_cast<std::size_t>(a - expected.begin());
    }
    done += count;
  }
  return done;
}

void set_timeout(int fd, int milliseconds) {
  const timeval limit{.tv_sec = milliseconds / 1000, .tv_usec = (milliseconds % 1000) * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

Fd open_socket(const Target& target, int type, const Options& options) {
  Fd fd(socket(target.family(), type | SOCK_CLOEXEC, 0));
  if (!fd) fail_errno("socket");
  set_timeout(fd.get(), options.timeout_ms);
  if (!options.bind.empty()) {
    const Target local = parse_target(options.bind, "0");
    if (bind(fd.get(), local.get(), local.length) != 0) fail_errno("bind " + options.bind);
  }
  return fd;
}

Connected connect_tcp(const Target& target, const Options& options) {
  Connected result{.fd = open_socket(target, SOCK_STREAM, options)};
  const int one = 1;
  setsockopt(result.fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(result.fd.get(), target.get(), target.length) != 0) result.error = errno;
  return result;
}

Fd connect_tcp_or_fail(const Target& target, const Options& options) {
  Connected result = connect_tcp(target, options);
  if (result.error != 0) fail("connect: %s", std::strerror(result.error));
  return std::move(result.fd);
}

Fd connect_udp(const Target& target, const Options& options) {
  Fd fd = open_socket(target, SOCK_DGRAM, options);
  const int size = 4 << 20;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  if (connect(fd.get(), target.get(), target.length) != 0) fail_errno("connect (udp)");
  return fd;
}

Fd start(const Target& target, const Options& options, const Request& request) {
  Fd fd = connect_tcp_or_fail(target, options);
  if (!send_all(fd.get(), std::as_bytes(std::span(&request, 1)))) fail_errno("send request");
  return fd;
}

bool send_all(int fd, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    data = data.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

bool receive_all(int fd, void* data, std::size_t size) {
  auto* at = static_cast<std::byte*>(data);
  while (size > 0) {
    const ssize_t got = recv(fd, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool send_stream(int fd, std::uint64_t seed, std::uint64_t bytes) {
  std::vector<std::byte> buffer(kChunk);
  for (std::uint64_t sent = 0; sent < bytes;) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes - sent));
    const auto part = std::span(buffer).first(count);
    fill_stream(seed, sent, part);
    if (!send_all(fd, part)) return false;
    sent += count;
  }
  return true;
}

Report receive_stream(int fd, std::uint64_t seed, std::uint64_t limit) {
  std::vector<std::byte> buffer(kChunk);
  Report report;
  while (report.received < limit) {
    const auto want =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), limit - report.received));
    const ssize_t got = recv(fd, buffer.data(), want, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) report.end = End::kFin;
    if (got < 0) report.end = errno == ECONNRESET ? End::kReset : End::kError;
    if (got <= 0) break;
    const auto part = std::span<const std::byte>(buffer).first(static_cast<std::size_t>(got));
    if (report.good == report.received) report.good += good_prefix(seed, report.received, part);
    report.received += part.size();
  }
  return report;
}

void reset_connection(Fd fd) {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

}  // namespace cordon::traffic
