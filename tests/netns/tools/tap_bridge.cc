// Plays a VM's network card on a stream socket, as QEMU's `-netdev stream` does: a tap in the network
// namespace it is started in, whose kernel plays the guest, and each frame behind its length, both ways. It
// can misbehave as a hostile monitor would.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/fd.h"

namespace {

using cordon::base::Fd;

constexpr std::size_t kLargest = 65535 + 14 + 4;

struct Options {
  std::string tap = "vm0";
  std::string mac;
  int mtu = 1500;
  std::string connect;  // or
  std::string listen;   // or
  int fd = -1;
  int reconnect_ms = 0;
  std::string mischief;
};

[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, ": %s\n", std::strerror(errno));
  std::exit(1);
}

void say(const char* word) {
  std::puts(word);
  std::fflush(stdout);
}

Fd make_tap(const Options& options) {
  Fd tap{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (!tap) fail("/dev/net/tun");
  ifreq request{};
  options.tap.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) fail("TUNSETIFF %s", options.tap.c_str());
  const Fd any{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!options.mac.empty()) {
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::array<unsigned, 6> mac{};
    if (std::sscanf(options.mac.c_str(), "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                    &mac[5]) != 6)
      fail("--mac %s", options.mac.c_str());
    for (std::size_t i = 0; i < mac.size(); ++i) request.ifr_hwaddr.sa_data[i] = static_cast<char>(mac[i]);
    if (::ioctl(any.get(), SIOCSIFHWADDR, &request) != 0) fail("--mac");
  }
  request.ifr_mtu = options.mtu;
  if (::ioctl(any.get(), SIOCSIFMTU, &request) != 0) fail("--mtu");
  if (::ioctl(any.get(), SIOCGIFFLAGS, &request) != 0) fail("flags");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) fail("up");
  return tap;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) fail("%s", path.c_str());
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// An invalid one: nobody is there.
Fd try_connect(const std::string& path) {
  const sockaddr_un address = address_of(path);
  Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

Fd listen_at(const std::string& path) {
  const sockaddr_un address = address_of(path);
  Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), 1) != 0)
    fail("--listen %s", path.c_str());
  return socket;
}

class Bridge {
 public:
  Bridge(const Fd& tap, const Fd& socket) : tap_(tap), socket_(socket) {
    ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
  }

  // Until the other side closes; true then, false on its nonsense.
  bool run() {
    while (!over_) {
      std::array<pollfd, 2> fds{pollfd{socket_.get(), POLLIN, 0}, pollfd{tap_.get(), POLLIN, 0}};
      // As QEMU's: what is begun leaves first, and the guest's queue waits for it.
      if (!output_.empty()) {
        fds[0].events = POLLIN | POLLOUT;
        fds[1].fd = -1;
      }
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) fail("poll");
      if ((fds[0].revents & POLLOUT) != 0) write_socket();
      if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_socket();
      if ((fds[1].revents & POLLIN) != 0) read_tap();
    }
    return good_;
  }

 private:
  void read_tap() {
    for (int i = 0; i < 64 && output_.empty(); ++i) {
      output_.resize(4 + kLargest);
      const ssize_t got = ::read(tap_.get(), output_.data() + 4, kLargest);
      if (got <= 0) return output_.clear();
      const auto size = static_cast<std::uint32_t>(got);
      output_.resize(4 + size);
      for (unsigned k = 0; k < 4; ++k) output_[k] = static_cast<std::uint8_t>(size >> (24 - 8 * k));
      write_socket();
    }
  }
  void write_socket() {
    while (sent_ < output_.size()) {
      const ssize_t put = ::send(socket_.get(), output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
      if (put < 0 && errno == EAGAIN) return;
      if (put < 0) break;  // the reader finds the end
      sent_ += static_cast<std::size_t>(put);
    }
    output_.clear();
    sent_ = 0;
  }
  void read_socket() {
    const std::size_t before = input_.size();
    input_.resize(before + kLargest);
    const ssize_t got = ::recv(socket_.get(), input_.data() + before, kLargest, 0);
    input_.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) over_ = true;
    std::size_t at = 0;
    while (input_.size() - at >= 4) {
      std::uint32_t size = 0;
      for (std::size_t k = 0; k < 4; ++k) size = size << 8U | input_[at + k];
      if (size < 14 || size > kLargest) {
        std::fprintf(stderr, "tap_bridge: a frame of %u bytes\n", size);
        over_ = true;
        good_ = false;
        return;
      }
      if (input_.size() - at - 4 < size) break;
      // The guest's card loses what comes while its interface is down.
      static_cast<void>(!::write(tap_.get(), &input_[at + 4], size));
      at += 4 + size;
    }
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  const Fd& tap_;
  const Fd& socket_;
  std::vector<std::uint8_t> input_, output_;
  std::size_t sent_ = 0;
  bool over_ = false;
  bool good_ = true;
};

// WHAT:NUMBER; then it waits for the other side to close.
void misbehave(const Fd& socket, std::string_view what) {
  const std::size_t colon = what.find(':');
  const auto number = colon == std::string_view::npos
                          ? 0U
                          : static_cast<std::uint32_t>(std::strtoul(what.data() + colon + 1, nullptr, 0));
  what = what.substr(0, colon);
  std::vector<std::uint8_t> bytes;
  if (what == "garbage") {
    std::minstd_rand random{number + 1};
    for (int i = 0; i < 65536; ++i) bytes.push_back(static_cast<std::uint8_t>(random() >> 8U));
  } else if (what == "length" || what == "half") {
    for (unsigned k = 0; k < 4; ++k) bytes.push_back(static_cast<std::uint8_t>(number >> (24 - 8 * k)));
    bytes.resize(4 + (what == "half" ? number / 2 : 60U));
  } else if (what != "deaf") {  // which sends nothing
    std::fprintf(stderr, "tap_bridge: --mischief length:N, half:N, garbage:SEED or deaf\n");
    std::exit(2);
  }
  static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
  pollfd wait{socket.get(), 0, 0};  // nothing is read: whoever waits for us to do so, waits
  while ((wait.revents & (POLLHUP | POLLERR)) == 0)
    if (::poll(&wait, 1, -1) < 0 && errno != EINTR) fail("poll");
}

int usage() {
  std::fputs(
      "usage: tap_bridge [--tap NAME] [--mac MAC] [--mtu N] [--reconnect-ms N] [--mischief WHAT[:N]]\n"
      "                  --connect PATH | --listen PATH | --fd N\n"
      "Prints \"ready\" when the tap is there, \"connected\" and \"closed\" each time.\n"
      "--mischief, in the first connection: length:N, half:N, garbage:SEED, deaf\n",
      stderr);
  return 2;
}

std::optional<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string value = argv[i + 1];
    if (name == "--tap")
      options.tap = value;
    else if (name == "--mac")
      options.mac = value;
    else if (name == "--mtu")
      options.mtu = std::stoi(value);
    else if (name == "--reconnect-ms")
      options.reconnect_ms = std::stoi(value);
    else if (name == "--mischief")
      options.mischief = value;
    else if (name == "--connect")
      options.connect = value;
    else if (name == "--listen")
      options.listen = value;
    else if (name == "--fd")
      options.fd = std::stoi(value);
    else
      return std::nullopt;
  }
  if (argc % 2 == 0 ||
      (options.connect.empty() ? 0 : 1) + (options.listen.empty() ? 0 : 1) + (options.fd >= 0 ? 1 : 0) != 1)
    return std::nullopt;
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  if (!options) return usage();
  std::signal(SIGPIPE, SIG_IGN);
  const Fd tap = make_tap(*options);
  const Fd listener = options->listen.empty() ? Fd{} : listen_at(options->listen);
  say("ready");
  for (bool first = true;; first = false) {
    Fd socket;
    if (options->fd >= 0)
      socket = Fd{options->fd};
    else if (listener)
      socket = Fd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    else
      socket = try_connect(options->connect);
    if (socket) {
      say("connected");
      if (first && !options->mischief.empty())
        misbehave(socket, options->mischief);
      else if (!Bridge(tap, socket).run())
        return 1;
      say("closed");
      if (options->fd >= 0) return 0;
    } else if (options->reconnect_ms == 0) {
      fail("%s", options->connect.c_str());
    }
    if (!listener && options->reconnect_ms == 0) return 0;
    socket.reset();
    if (!listener) std::this_thread::sleep_for(std::chrono::milliseconds{options->reconnect_ms});
  }
}
