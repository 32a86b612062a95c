// hostile_monitor SOCKET PID AUDIT [WORD]: the rows of section 4.10 against the live `cordon vm` that is
// process PID, by QEMU's stream protocol; with WORD only those in whose number or name it is.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/base/fd.h"
#include "tests/hostile/devices/row_driver.h"

using namespace cordon;
using namespace cordon::hostile;

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::chrono::seconds kPatience{10};
constexpr std::array<std::uint8_t, 6> kMac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

base::Fd connect_to(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  base::Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("connect: " + std::string{std::strerror(errno)});
  return fd;
}

Bytes length(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 24U), static_cast<std::uint8_t>(value >> 16U),
          static_cast<std::uint8_t>(value >> 8U), static_cast<std::uint8_t>(value)};
}
Bytes framed(const Bytes& frame) {
  Bytes out = length(static_cast<std::uint32_t>(frame.size()));
  out.insert(out.end(), frame.begin(), frame.end());
  return out;
}
// Who has 10.0.2.2.
Bytes question() {
  Bytes frame(6, 0xff);
  frame.insert(frame.end(), kMac.begin(), kMac.end());
  frame.insert(frame.end(), {8, 6, 0, 1, 8, 0, 6, 4, 0, 1});
  frame.insert(frame.end(), kMac.begin(), kMac.end());
  frame.insert(frame.end(), {10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2});
  frame.resize(60);
  return frame;
}
// Of a protocol nobody speaks.
Bytes stranger(std::size_t size) {
  Bytes frame = question();
  frame[12] = 0x88;
  frame[13] = 0xb5;
  frame.resize(size);
  return frame;
}

class Monitor {
 public:
  explicit Monitor(const std::string& path) : socket(connect_to(path)) {}

  bool send(const Bytes& bytes) const {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = ::send(socket.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<std::size_t>(n);
    }
    return true;
  }
  // The next frame; nullopt: the end, nothing in time, or a frame that cannot be.
  std::optional<Bytes> next(std::chrono::milliseconds patience = kPatience) {
    for (;;) {
      if (input_.size() >= 4) {
        const std::size_t size = std::size_t{input_[0]} << 24U | std::size_t{input_[1]} << 16U |
                                 std::size_t{input_[2]} << 8U | input_[3];
        if (size < 14 || size > 65553) return std::nullopt;
        if (input_.size() >= 4 + size) {
          Bytes frame(input_.begin() + 4, input_.begin() + 4 + static_cast<std::ptrdiff_t>(size));
          input_.erase(input_.begin(), input_.begin() + 4 + static_cast<std::ptrdiff_t>(size));
          return frame;
        }
      }
      pollfd p{socket.get(), POLLIN, 0};
      if (::poll(&p, 1, static_cast<int>(patience.count())) <= 0) return std::nullopt;
      std::array<std::uint8_t, 65536> buffer;
      const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return std::nullopt;
      input_.insert(input_.end(), buffer.begin(), buffer.begin() + got);
    }
  }
  bool works() {
    if (!send(framed(question()))) return false;
    constexpr std::array<std::uint8_t, 10> kReply{8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
    while (const auto frame = next())
      if (frame->size() >= 42 && std::equal(kMac.begin(), kMac.end(), frame->begin()) &&
          std::equal(kReply.begin(), kReply.end(), frame->begin() + 12))
        return true;
    return false;
  }
  bool closed() {
    while (next()) {
    }
    std::uint8_t byte = 0;
    return ::recv(socket.get(), &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN;
  }

  base::Fd socket;

 private:
  Bytes input_;
};

struct Row {
  std::string_view id;
  std::string_view name;
  End end;
  std::function<bool(Monitor&)> act;
};

Row bad_length(std::string_view id, std::string_view name, std::uint32_t value) {
  return {id, name, End::kViolated, [value](Monitor& monitor) {
            Bytes bytes = length(value);
            bytes.resize(bytes.size() + 64);
            return monitor.send(bytes);
          }};
}

bool burst(Monitor& monitor) {
  constexpr std::size_t kBytes = std::size_t{16} << 20U;
  const Bytes one = framed(stranger(60));
  Bytes chunk;
  while (chunk.size() < (std::size_t{1} << 20U)) chunk.insert(chunk.end(), one.begin(), one.end());
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t sent = 0; sent < kBytes; sent += chunk.size())
    if (!monitor.send(chunk)) return false;
  const bool answered = monitor.works();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("  16 MiB of frames of 60 bytes: %.2f s, %.0f frames a second\n", took.count(),
              static_cast<double>(kBytes) / static_cast<double>(one.size()) / took.count());
  return answered;
}

// As many echo requests to the gateway as fit, and not a byte read; then everything that came is whole.
bool deaf(Monitor& monitor) {
  Bytes ping{kMac.begin(), kMac.end()};
  const auto reply = [&]() -> std::optional<Bytes> {
    if (!monitor.send(framed(question()))) return std::nullopt;
    return monitor.next();
  }();
  if (!reply) return false;
  Bytes frame(reply->begin() + 6, reply->begin() + 12);
  frame.insert(frame.end(), kMac.begin(), kMac.end());
  frame.insert(frame.end(), {8, 0});
  constexpr std::size_t kPayload = 1000;
  Bytes ip{0x45,
           0,
           (20 + 8 + kPayload) >> 8U,
           (20 + 8 + kPayload) & 255U,
           0,
           1,
           0,
           0,
           64,
           1,
           0,
           0,
           10,
           0,
           2,
           15,
           10,
           0,
           2,
           2};
  Bytes icmp{8, 0, 0, 0, 0, 1, 0, 1};
  icmp.resize(8 + kPayload);
  const auto sum = [](Bytes& bytes, std::size_t at) {
    std::uint32_t total = 0;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
      total += std::uint32_t{bytes[i]} << 8U | bytes[i + 1];
    while ((total >> 16U) != 0) total = (total & 0xffffU) + (total >> 16U);
    total = ~total & 0xffffU;
    bytes[at] = static_cast<std::uint8_t>(total >> 8U);
    bytes[at + 1] = static_cast<std::uint8_t>(total);
  };
  sum(ip, 10);
  sum(icmp, 2);
  frame.insert(frame.end(), ip.begin(), ip.end());
  frame.insert(frame.end(), icmp.begin(), icmp.end());
  const Bytes whole = framed(frame);
  constexpr int kPings = 20'000;
  for (int i = 0; i < kPings; ++i)
    if (!monitor.send(whole)) return false;
  std::this_thread::sleep_for(std::chrono::milliseconds{300});
  // What had no room is lost; what is there is whole.
  int answers = 0;
  while (monitor.next(std::chrono::milliseconds{500})) ++answers;
  std::printf("  %d echo requests, of which %d were answered to a guest that did not read\n", kPings,
              answers);
  return answers > 0;
}

const Row kRows[] = {
    bad_length("STR-01", "length 0", 0),
    bad_length("STR-01", "length 1", 1),
    bad_length("STR-01", "length 13", 13),
    bad_length("STR-02", "one more than the longest frame", 65554),
    bad_length("STR-02", "the buffer of QEMU", 69632),
    bad_length("STR-02", "2^31", 0x80000000),
    bad_length("STR-02", "2^32-1", 0xffffffff),
    {"STR-03", "a frame byte by byte", End::kKept,
     [](Monitor& monitor) {
       for (const std::uint8_t byte : framed(question()))
         if (!monitor.send({byte})) return false;
       return monitor.next().has_value();
     }},
    {"STR-03", "lengths cut in two", End::kKept,
     [](Monitor& monitor) {
       const Bytes bytes = framed(question());
       for (std::ptrdiff_t cut = 1; cut <= 3; ++cut) {
         if (!monitor.send({bytes.begin(), bytes.begin() + cut})) return false;
         std::this_thread::sleep_for(std::chrono::milliseconds{20});
         if (!monitor.send({bytes.begin() + cut, bytes.end()}) || !monitor.next()) return false;
       }
       return true;
     }},
    {"STR-03", "the longest frames, cut everywhere", End::kKept,
     [](Monitor& monitor) {
       Bytes bytes;
       for (int i = 0; i < 40; ++i) {
         const Bytes one = framed(stranger(65553 - static_cast<std::size_t>(i) * 997));
         bytes.insert(bytes.end(), one.begin(), one.end());
       }
       for (std::size_t at = 0; at < bytes.size(); at += 16'381)
         if (!monitor.send(
                 {bytes.begin() + static_cast<std::ptrdiff_t>(at),
                  bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at + 16'381, bytes.size()))}))
           return false;
       return true;
     }},
    {"STR-03", "the end inside of a frame", End::kLeft,
     [](Monitor& monitor) { return monitor.send({0, 0, 5, 220, 1, 2, 3}); }},
    {"STR-03", "the end inside of a length", End::kLeft,
     [](Monitor& monitor) { return monitor.send({0, 0}); }},
    {"STR-04", "many small frames at once", End::kKept, burst},
    {"STR-05", "nothing is read", End::kKept, deaf},
    {"STR-06", "descriptors with every frame", End::kKept,
     [](Monitor& monitor) {
       Bytes bytes = framed(stranger(60));
       std::array<int, 8> fds{};
       fds.fill(monitor.socket.get());
       for (int i = 0; i < 200; ++i) {
         iovec part{bytes.data(), bytes.size()};
         alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> control{};
         msghdr message{};
         message.msg_iov = &part;
         message.msg_iovlen = 1;
         message.msg_control = control.data();
         message.msg_controllen = control.size();
         cmsghdr* const rights = CMSG_FIRSTHDR(&message);
         rights->cmsg_level = SOL_SOCKET;
         rights->cmsg_type = SCM_RIGHTS;
         rights->cmsg_len = CMSG_LEN(sizeof fds);
         std::memcpy(CMSG_DATA(rights), fds.data(), sizeof fds);
         if (::sendmsg(monitor.socket.get(), &message, MSG_NOSIGNAL) < 0) return errno == EPERM;
       }
       return true;
     }},
    {"STR-08", "gone with answers under way, half a frame behind", End::kLeft,
     [](Monitor& monitor) {
       for (int i = 0; i < 100; ++i)
         if (!monitor.send(framed(question()))) return false;
       return monitor.send({0, 0, 0, 60, 9});
     }},
    {"STR-08", "nothing of that comes to the next connection", End::kKept,
     [](Monitor& monitor) {
       std::uint8_t byte = 0;
       std::this_thread::sleep_for(std::chrono::milliseconds{100});
       return ::recv(monitor.socket.get(), &byte, 1, MSG_DONTWAIT) < 0;
     }},
};

// STR-07: another user is turned away, though the file's mode lets him in.
std::string other_user(const std::string& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 1;
    try {
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
      Monitor monitor{path};
      static_cast<void>(monitor.send(framed(question())));
      status = monitor.next() ? 3 : 0;
    } catch (const std::exception&) {
      status = 4;
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? std::string{} : "status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fputs("usage: hostile_monitor SOCKET PID AUDIT [WORD]\n", stderr);
    return 2;
  }
  try {
    const std::string socket = argv[1];
    const LiveVm vm{static_cast<pid_t>(std::atoi(argv[2])), argv[3]};
    RowDriver driver{vm, argc == 5 ? argv[4] : ""};
    for (const Row& row : kRows) driver.run(row, true, [&] { return std::make_unique<Monitor>(socket); });
    driver.check("STR-07 another user", [&] { return other_user(socket); });
    driver.run(
        Row{"STR-08", "an honest machine after all of them", End::kKept, [](Monitor&) { return true; }}, true,
        [&] { return std::make_unique<Monitor>(socket); });
    return driver.finish();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hostile_monitor: %s\n", error.what());
    return 1;
  }
}
