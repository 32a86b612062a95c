// Plays a virtual machine: a tap of this network namespace on one side, the rings of a vhost-user back-end on
// the other. The namespace's kernel is the guest, with all its offloads.
//
//   vhost_bridge SOCKET TAP [--queues N] [--ring N] [--buffer BYTES] [--reconnect]
//                [--without mrg,event-idx,indirect,csum,tso,uso]
//   vhost_bridge --fd N TAP [options]: on a socket that is connected already, once.
//
// Makes the tap if need be and prints "ready" when the device runs. SIGUSR1: the guest reboots (rings are
// stopped, emptied and started again). SIGUSR2: a second of kicks that nobody asked for. SIGHUP: leaves and
// connects again. SIGQUIT: the guest's driver goes mad (a chain that is a loop). SIGTERM: ends.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tests/vhost/driver_ring.h"
#include "tests/vhost/front_end.h"

namespace {

using namespace cordon::vhost_client;
using cordon::base::Fd;

constexpr std::uint32_t kLongest = 12 + 14 + 65535;
constexpr int kTunUso4 = 0x20, kTunUso6 = 0x40;

struct Options {
  std::string socket, tap;
  int fd = -1;
  unsigned queues = 1;
  std::uint16_t ring = 256;
  std::uint32_t buffer = 4096;
  bool reconnect = false;
  std::uint64_t features = ~std::uint64_t{0} & ~bit(feature::kLogAll);
};

[[noreturn]] void fail_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::uint64_t features_named(std::string_view name) {
  using namespace feature;
  if (name == "mrg") return bit(kMergeBuffers);
  if (name == "event-idx") return bit(kEventIndex);
  if (name == "indirect") return bit(feature::kIndirect);
  if (name == "tso") return bit(kHostTso4) | bit(kHostTso6) | bit(kGuestTso4) | bit(kGuestTso6);
  if (name == "uso") return bit(kHostUso) | bit(kGuestUso4) | bit(kGuestUso6);
  // Super-frames need partial checksums (virtio 1.2, 5.1.3.1).
  if (name == "csum")
    return bit(kChecksum) | bit(kGuestChecksum) | features_named("tso") | features_named("uso");
  throw std::runtime_error("unknown feature " + std::string(name));
}

Options parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw std::runtime_error(std::string(word) + " needs a value");
      return argv[i];
    };
    if (word == "--queues")
      options.queues = static_cast<unsigned>(std::stoul(value()));
    else if (word == "--ring")
      options.ring = static_cast<std::uint16_t>(std::stoul(value()));
    else if (word == "--buffer")
      options.buffer = static_cast<std::uint32_t>(std::stoul(value()));
    else if (word == "--fd")
      options.fd = std::stoi(value());
    else if (word == "--reconnect")
      options.reconnect = true;
    else if (word == "--without") {
      const std::string list = value();
      for (std::string_view rest = list; !rest.empty();) {
        const std::size_t comma = rest.find(',');
        options.features &= ~features_named(rest.substr(0, comma));
        rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
      }
    } else {
      names.emplace_back(word);
    }
  }
  if (names.size() != (options.fd < 0 ? 2 : 1) || (options.fd >= 0 && options.reconnect))
    throw std::runtime_error("usage: vhost_bridge SOCKET|--fd N TAP [options]");
  if (options.fd < 0) options.socket = names.front();
  options.tap = names.back();
  return options;
}

// A queue of the tap, with the twelve-byte header of a virtqueue.
Fd open_tap(const Options& options) {
  Fd fd{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) fail_errno("/dev/net/tun");
  ifreq request{};
  options.tap.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (options.queues > 1 ? IFF_MULTI_QUEUE : 0));
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) fail_errno("TUNSETIFF");
  int size = static_cast<int>(sizeof(std::uint16_t) * 6);
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &size) != 0) fail_errno("TUNSETVNETHDRSZ");
  return fd;
}

// What the guest's kernel may send is what the back-end takes.
void set_offloads(int tap, std::uint64_t features) {
  unsigned long flags = 0;
  if (has(features, feature::kChecksum)) flags |= TUN_F_CSUM;
  if (has(features, feature::kHostTso4)) flags |= TUN_F_TSO4;
  if (has(features, feature::kHostTso6)) flags |= TUN_F_TSO6;
  if (has(features, feature::kHostUso)) flags |= kTunUso4 | kTunUso6;
  if (::ioctl(tap, TUNSETOFFLOAD, flags) == 0) return;
  flags &= ~static_cast<unsigned long>(kTunUso4 | kTunUso6);  // before Linux 6.2
  if (::ioctl(tap, TUNSETOFFLOAD, flags) != 0) fail_errno("TUNSETOFFLOAD");
}

// A back-end that vouches for a checksum (VIRTIO_NET_HDR_F_DATA_VALID) need not have computed it. A guest's
// driver believes it; a tap knows only checksums that are yet to be completed.
void vouch(std::byte* buffer, std::size_t size) {
  constexpr std::size_t kFrame = 12, kIp = kFrame + 14;
  constexpr std::byte kPartial{1}, kValid{2}, kTcp{6}, kUdp{17};
  if (size < kIp + 40 || (buffer[0] & kPartial) != std::byte{0} || (buffer[0] & kValid) == std::byte{0})
    return;
  const bool v6 = buffer[kFrame + 12] == std::byte{0x86};
  const std::byte protocol = buffer[kIp + (v6 ? 6U : 9U)];
  if (protocol != kTcp && protocol != kUdp) return;
  const auto header = v6 ? 40U : 4U * (std::to_integer<unsigned>(buffer[kIp]) & 15U);
  const auto start = static_cast<std::uint16_t>(14 + header);
  const auto offset = static_cast<std::uint16_t>(protocol == kTcp ? 16 : 6);
  buffer[0] |= kPartial;
  std::memcpy(buffer + 6, &start, sizeof start);
  std::memcpy(buffer + 8, &offset, sizeof offset);
}

// A queue pair and its thread.
class Lane {
 public:
  Lane(const Options& options, GuestMemory& memory, std::uint64_t features, unsigned number, int tap)
      : tap_(tap),
        number_(number),
        merge_(has(features, feature::kMergeBuffers)),
        scatters_(has(features, feature::kChecksum)),
        receive_(memory, ring_options(options, features)),
        transmit_(memory, ring_options(options, features)),
        memory_(memory),
        buffer_size_(merge_ ? options.buffer : kLongest),
        stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    for (unsigned i = 0; i < options.ring; ++i) receive_buffers_.push_back(memory.allocate(buffer_size_));
    for (unsigned i = 0; i < options.ring; ++i) transmit_buffers_.push_back(memory.allocate(kLongest));
    by_head_.resize(options.ring);
  }

  void start(FrontEnd& front_end) {
    front_end_ = &front_end;
    receive_.reset();
    transmit_.reset();
    free_transmit_ = transmit_buffers_;
    for (const std::uint64_t at : receive_buffers_)
      if (!post(at)) break;
    receive_.publish();
    transmit_.suppress_calls();
    front_end.start(2 * number_, receive_);
    front_end.start(2 * number_ + 1, transmit_);
  }
  void enable(FrontEnd& front_end) {
    front_end.enable(2 * number_, true);
    front_end.enable(2 * number_ + 1, true);
  }
  void run() {
    stopping_ = false;
    thread_ = std::thread{[this] { live(); }};
  }
  void end() {
    stopping_ = true;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));
    if (thread_.joinable()) thread_.join();
  }
  // Between end() and run().
  void go_mad(FrontEnd& front_end) {
    transmit_.descriptor(0) = {transmit_buffers_[0], 1, kNext, 0};
    transmit_.available_entry(transmit_.available_index()) = 0;
    ++transmit_.available_index();
    front_end.kick(2 * number_ + 1);
  }
  // Rings are given back, what is in them is lost.
  void stop(FrontEnd& front_end) {
    static_cast<void>(front_end.stop(2 * number_));
    static_cast<void>(front_end.stop(2 * number_ + 1));
  }

 private:
  static RingOptions ring_options(const Options& options, std::uint64_t features) {
    return {options.ring, has(features, feature::kEventIndex), has(features, feature::kIndirect)};
  }
  bool post(std::uint64_t at) {
    const Buffer buffer{at, buffer_size_};
    const auto head = receive_.add(std::span(&buffer, 1), true);
    if (head) by_head_[*head].receive = at;
    return head.has_value();
  }

  void live() {
    while (!stopping_) {
      bool worked = to_tap();
      worked = from_tap() || worked;
      if (worked) continue;
      const bool full = !can_send();
      if (receive_.arm_calls()) continue;
      if (full && transmit_.arm_calls()) continue;
      std::array<pollfd, 4> fds{{{stop_.get(), POLLIN, 0},
                                 {front_end_->call_fd(2 * number_), POLLIN, 0},
                                 {full ? front_end_->call_fd(2 * number_ + 1) : -1, POLLIN, 0},
                                 {full ? -1 : tap_, POLLIN, 0}}};
      ::poll(fds.data(), fds.size(), -1);
      static_cast<void>(front_end_->take_calls(2 * number_));
      static_cast<void>(front_end_->take_calls(2 * number_ + 1));
      receive_.suppress_calls();
      transmit_.suppress_calls();
    }
    std::uint64_t count = 0;
    static_cast<void>(!::read(stop_.get(), &count, sizeof count));
  }

  // The device publishes a frame's buffers together.
  bool to_tap() {
    bool any = false;
    for (int i = 0; i < 64; ++i) {
      std::array<iovec, 1024> parts;
      std::array<std::uint64_t, 1024> taken;
      std::uint16_t wanted = 1;
      std::size_t n = 0;
      for (; n < wanted && n < parts.size(); ++n) {
        const auto used = receive_.take_used();
        if (!used) break;
        taken[n] = by_head_[used->head].receive;
        parts[n] = {memory_.at(taken[n]), used->length};
        if (n == 0 && used->length >= 12) std::memcpy(&wanted, memory_.at(taken[0]) + 10, sizeof wanted);
      }
      if (n == 0) break;
      any = true;
      if (n != wanted)
        std::fprintf(stderr, "vhost_bridge: %zu of %u buffers\n", n, static_cast<unsigned>(wanted));
      else {
        vouch(memory_.at(taken[0]), parts[0].iov_len);
        static_cast<void>(!::writev(tap_, parts.data(), static_cast<int>(n)));
      }
      for (std::size_t k = 0; k < n; ++k)
        if (!post(taken[k])) std::abort();
    }
    if (any) {
      receive_.publish();
      if (receive_.wants_kick()) front_end_->kick(2 * number_);
    }
    return any;
  }

  bool from_tap() {
    bool any = false;
    while (const auto used = transmit_.take_used()) free_transmit_.push_back(by_head_[used->head].transmit);
    for (int i = 0; i < 64 && can_send(); ++i) {
      const std::uint64_t at = free_transmit_.back();
      const ssize_t got = ::read(tap_, memory_.at(at), kLongest);
      if (got <= 0) break;
      any = true;
      // As a driver with a linear part and pages behind it; without checksum offload it has no pages.
      constexpr std::uint32_t kPage = 32768;
      const std::uint32_t linear = scatters_ ? 256 : kLongest;
      std::array<Buffer, kPieces> pieces;
      std::size_t n = 0;
      const auto size = static_cast<std::uint32_t>(got);
      for (std::uint32_t done = 0; done < size; ++n) {
        pieces[n] = {at + done, std::min(n == 0 ? linear : kPage, size - done)};
        done += pieces[n].length;
      }
      const auto head = transmit_.add(std::span(pieces).first(n), false);
      if (!head) std::abort();
      free_transmit_.pop_back();
      by_head_[*head].transmit = at;
    }
    if (any) {
      transmit_.publish();
      if (transmit_.wants_kick()) front_end_->kick(2 * number_ + 1);
    }
    return any;
  }

  static constexpr std::size_t kPieces = 4;
  [[nodiscard]] bool can_send() const { return !free_transmit_.empty() && transmit_.free() >= kPieces; }
  struct Posted {
    std::uint64_t receive = 0, transmit = 0;
  };
  int tap_;
  unsigned number_;
  bool merge_, scatters_;
  DriverRing receive_, transmit_;
  GuestMemory& memory_;
  std::uint32_t buffer_size_;
  std::vector<std::uint64_t> receive_buffers_, transmit_buffers_, free_transmit_;
  std::vector<Posted> by_head_;
  FrontEnd* front_end_ = nullptr;
  Fd stop_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

int signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) ::sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return ::signalfd(-1, &set, SFD_CLOEXEC);
}

enum class End { kAsked, kAgain, kGone };

// One connection, from the first message to the last.
End serve(const Options& options, std::vector<Fd>& taps, int signal_fd) {
  const std::size_t lane_bytes = options.ring * (2 * kLongest + 2 * kIndirectEntries * 16 + 512);
  GuestMemory memory(options.queues * lane_bytes + (std::size_t{1} << 20U));
  FrontEnd front_end = options.fd < 0 ? FrontEnd{options.socket, memory} : FrontEnd{Fd{options.fd}, memory};
  front_end.negotiate(options.features);
  if (front_end.queue_pairs() < options.queues) throw std::runtime_error("too few queue pairs are offered");
  for (const Fd& tap : taps) set_offloads(tap.get(), front_end.features());
  std::vector<std::unique_ptr<Lane>> lanes;
  for (unsigned i = 0; i < options.queues; ++i)
    lanes.push_back(std::make_unique<Lane>(options, memory, front_end.features(), i, taps[i].get()));
  const auto start = [&] {
    front_end.set_features();
    front_end.set_memory();
    for (auto& lane : lanes) lane->start(front_end);
    for (auto& lane : lanes) lane->enable(front_end);
    for (auto& lane : lanes) lane->run();
    std::puts("ready");
    std::fflush(stdout);
  };
  start();
  for (;;) {
    std::array<pollfd, 2> fds{{{signal_fd, POLLIN, 0}, {front_end.socket(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), -1);
    End end = End::kGone;
    if (fds[0].revents != 0) {
      signalfd_siginfo info{};
      static_cast<void>(!::read(signal_fd, &info, sizeof info));
      const auto number = static_cast<int>(info.ssi_signo);
      if (number == SIGUSR2) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{1};
        while (std::chrono::steady_clock::now() < until)
          for (unsigned queue = 0; queue < 2 * options.queues; ++queue) front_end.kick(queue);
        continue;
      }
      if (number == SIGQUIT) {
        for (auto& lane : lanes) lane->end();
        lanes.back()->go_mad(front_end);
        continue;
      }
      if (number == SIGUSR1) {
        for (auto& lane : lanes) lane->end();
        for (auto& lane : lanes) lane->stop(front_end);
        start();
        continue;
      }
      end = number == SIGHUP ? End::kAgain : End::kAsked;
    }
    for (auto& lane : lanes) lane->end();
    return end;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  const Fd signal_fd{signals()};
  std::vector<Fd> taps;
  for (unsigned i = 0; i < options.queues; ++i) taps.push_back(open_tap(options));
  for (std::string told;;) {
    try {
      switch (serve(options, taps, signal_fd.get())) {
        case End::kAsked: return 0;
        case End::kAgain: continue;
        case End::kGone: break;
      }
      std::fprintf(stderr, "vhost_bridge: the back-end is gone\n");
    } catch (const std::exception& error) {
      if (std::exchange(told, error.what()) != error.what())
        std::fprintf(stderr, "vhost_bridge: %s\n", error.what());
    }
    if (!options.reconnect) return 1;
    pollfd p{signal_fd.get(), POLLIN, 0};
    if (::poll(&p, 1, 50) > 0) return 0;
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "vhost_bridge: %s\n", error.what());
  return 1;
}
