// Traffic: the one program that makes and checks real traffic for the netns tests and the benchmark.
//
// A server process offers every behaviour on one port: a TCP connection starts with a Request that names what
// the server shall do (echo, swallow, send, close first, reset), UDP datagrams are echoed or start a burst. A
// canary is a server that must not be reached: it only counts. The client commands each check one expectation
// and exit 0 if it was met; results are one JSON line. Content is a seeded stream that either end can
// recompute at any offset, so a byte that is lost, doubled or moved is seen where it happens.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"

namespace cordon::traffic {

using base::Fd;
using Clock = std::chrono::steady_clock;

struct Target {
  sockaddr_storage address{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
  [[nodiscard]] int family() const { return address.ss_family; }
};

struct Options {
  std::string bind;  // local address of client sockets, empty for the kernel's choice
  int timeout_ms = 30000;
};

enum class Mode : std::uint8_t {
  kEcho = 1,        // echo until the client's FIN
  kSink,            // compare with the stream until FIN, then reply with a Report
  kSource,          // send `bytes` of the stream, then FIN
  kCloseFirst,      // send `bytes`, FIN, then compare what still comes; Report kept under the seed
  kAnswerAfterFin,  // compare until FIN, then send `bytes` and FIN
  kResetAfterByte,  // send `bytes`, wait for one byte, reset
  kExpectReset,     // read `bytes`, send one byte, then the client must reset; Report kept under the seed
  kQuery,           // reply with the Report kept under the seed
  kBulkSink,        // read without checking until FIN, reply with a Report
  kBulkSource,      // send zeros until the client goes
  kDeaf,            // read nothing
};

struct Request {
  std::uint32_t magic = kMagic;
  Mode mode = Mode::kEcho;
  std::uint8_t unused[3] = {};
  std::uint64_t bytes = 0;
  std::uint64_t seed = 0;

  static constexpr std::uint32_t kMagic = 0x43524454;
};
static_assert(sizeof(Request) == 24);

enum class End : std::uint32_t { kNone = 0, kFin = 1, kReset = 2, kError = 3 };

struct Report {
  std::uint64_t received = 0;  // bytes read
  std::uint64_t good = 0;      // of these, up to the first one that differs from the stream
  End end = End::kNone;
  std::uint32_t unused = 0;
};
static_assert(sizeof(Report) == 24);

// Asks the UDP server to send datagrams of `size` bytes for `milliseconds` to whoever asked.
struct BurstRequest {
  std::uint32_t magic = kMagic;
  std::uint32_t size = 0;
  std::uint32_t milliseconds = 0;
  std::uint32_t nonce = 0;

  static constexpr std::uint32_t kMagic = 0x43425253;
};

// Prints the message to stderr and exits 1: the expectation was not met.
[[noreturn]] [[gnu::format(printf, 1, 2)]] void fail(const char* format, ...);
// The same with errno's text.
[[noreturn]] void fail_errno(std::string_view what);

Target parse_target(const std::string& address, const std::string& port);
std::uint64_t parse_number(std::string_view text);

// The content stream: fill() writes the bytes at `offset`, good_prefix() tells how many of `data` match
// there.
void fill_stream(std::uint64_t seed, std::uint64_t offset, std::span<std::byte> out);
std::size_t good_prefix(std::uint64_t seed, std::uint64_t offset, std::span<const std::byte> data);

// Sockets. connect_tcp returns an errno or the socket.
struct Connected {
  Fd fd;
  int error = 0;
};
Fd open_socket(const Target& target, int type, const Options& options);
Connected connect_tcp(const Target& target, const Options& options);
Fd connect_tcp_or_fail(const Target& target, const Options& options);
Fd connect_udp(const Target& target, const Options& options);
// Connects and sends the request.
Fd start(const Target& target, const Options& options, const Request& request);

bool send_all(int fd, std::span<const std::byte> data);
// Exactly `size` bytes, or false.
bool receive_all(int fd, void* data, std::size_t size);
bool send_stream(int fd, std::uint64_t seed, std::uint64_t bytes);
// Reads and compares until FIN, reset, or `limit` bytes.
Report receive_stream(int fd, std::uint64_t seed, std::uint64_t limit);
void reset_connection(Fd fd);
void set_timeout(int fd, int milliseconds);

int run_server(std::span<const std::string> arguments);
int run_canary(std::span<const std::string> arguments);
int run_dns_server(std::span<const std::string> arguments);
int run_stamper(std::span<const std::string> arguments);
int run_who_server(std::span<const std::string> arguments);

using Command = int (*)(const Options&, std::span<const std::string>);
struct CommandEntry {
  std::string_view name;
  std::string_view usage;
  Command run;
  std::size_t least_arguments;
};
std::span<const CommandEntry> tcp_commands();
std::span<const CommandEntry> udp_commands();
std::span<const CommandEntry> path_commands();
std::span<const CommandEntry> refusal_commands();
std::span<const CommandEntry> bench_commands();
std::span<const CommandEntry> force_commands();
std::span<const CommandEntry> forbid_commands();
std::span<const CommandEntry> watch_commands();
std::span<const CommandEntry> who_commands();
std::span<const CommandEntry> hammer_commands();
std::span<const CommandEntry> crowd_commands();

}  // namespace cordon::traffic
