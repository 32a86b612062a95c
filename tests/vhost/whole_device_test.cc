// A front end against the whole device, protocol and rings: a device that sends back what it gets, with a
// thread for each queue pair.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "core/vhost/backend.h"
#include "core/vhost/vhost_link.h"
#include "tests/vhost/front_end.h"

using namespace cordon;
using namespace cordon::vhost_client;

namespace {

constexpr std::uint64_t kAllFeatures = ~std::uint64_t{0} & ~bit(feature::kLogAll);

std::array<base::Fd, 2> socket_pair() {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  return {base::Fd{fds[0]}, base::Fd{fds[1]}};
}

class EchoDevice {
 public:
  EchoDevice(base::Fd socket, unsigned pairs) : pause_(pairs - 1), stop_(::eventfd(0, EFD_CLOEXEC)) {
    for (unsigned i = 0; i < pairs; ++i)
      links_.push_back(std::make_unique<vhost::VhostLink>(i == 0 ? nullptr : &pause_.seat(i - 1)));
    for (const auto& link : links_) paths_.push_back(link.get());
    backend_ = std::make_unique<vhost::Backend>(std::move(socket), vhost::DeviceOptions{.pairs = pairs},
                                                paths_, pause_);
    for (unsigned i = 0; i < pairs; ++i) threads_.emplace_back([this, i] { live(i); });
  }
  ~EchoDevice() {
    stopping_ = true;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));
    for (auto& thread : threads_) thread.join();
    backend_.reset();
  }
  [[nodiscard]] bool broken() const { return broken_; }
  std::atomic<std::uint64_t> turns{0};

 private:
  void live(unsigned number) {
    vhost::VhostLink& link = *links_[number];
    const base::Fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
    const auto add = [&epoll](int fd) {
      epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
      ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
    };
    add(link.poll_fd());
    add(stop_.get());
    if (number == 0) add(backend_->poll_fd());
    std::array<link::Frame, 64> frames;
    while (!stopping_) {
      ++turns;
      bool input = link.before_wait(true) || link.pending();
      if (!input) input = link.before_sleep();
      epoll_event event{};
      const int n = ::epoll_wait(epoll.get(), &event, 1, input ? 0 : 10000);
      link.after_wait();
      if (number == 0 && n == 1 && event.data.fd == backend_->poll_fd() &&
          backend_->serve() != vhost::Backend::Status::kOpen) {
        broken_ = true;
        return;
      }
      const std::size_t count = link.receive(frames);
      for (std::size_t i = 0; i < count; ++i) {
        std::vector<iovec> parts{{const_cast<std::byte*>(frames[i].bytes.data()), frames[i].bytes.size()}};
        parts.insert(parts.end(), frames[i].tail.pieces.begin(), frames[i].tail.pieces.end());
        static_cast<void>(link.send(frames[i].offload, parts));
      }
      link.flush();
    }
  }

  vhost::Pause pause_;
  std::vector<std::unique_ptr<vhost::VhostLink>> links_;
  std::vector<vhost::DataPath*> paths_;
  std::unique_ptr<vhost::Backend> backend_;
  base::Fd stop_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> broken_{false};
  std::vector<std::thread> threads_;
};

// A guest with one queue pair that wants back what it sends.
class Guest {
 public:
  Guest(GuestMemory& memory, FrontEnd& front_end, unsigned number)
      : memory_(memory),
        front_end_(front_end),
        number_(number),
        options_{.size = 128,
                 .event_index = has(front_end.features(), feature::kEventIndex),
                 .indirect = has(front_end.features(), feature::kIndirect)},
        receive_(memory, options_),
        transmit_(memory, options_),
        frame_(memory.allocate(70000)) {
    for (int i = 0; i < 128; ++i) buffers_.push_back(memory.allocate(kBuffer));
    by_head_.resize(128);
  }
  void start() {
    receive_.reset();
    transmit_.reset();
    for (const auto at : buffers_) post(at);
    receive_.publish();
    front_end_.start(2 * number_, receive_);
    front_end_.start(2 * number_ + 1, transmit_);
    front_end_.enable(2 * number_, true);
    front_end_.enable(2 * number_ + 1, true);
  }
  std::array<std::uint16_t, 2> stop() {
    return {front_end_.stop(2 * number_), front_end_.stop(2 * number_ + 1)};
  }
  // Frames of every length, each waited for.
  void echo(std::size_t size) {
    std::byte* const bytes = memory_.at(frame_);
    // A partial checksum: large ones have a tail (link.h).
    std::memset(bytes, 0, 12);
    bytes[0] = std::byte{1};
    bytes[6] = std::byte{34};
    bytes[8] = std::byte{16};
    for (std::size_t i = 12; i < 12 + size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + size);
    const std::array<Buffer, 3> pieces{
        {{frame_, 7}, {frame_ + 7, 20}, {frame_ + 27, static_cast<std::uint32_t>(size + 12 - 27)}}};
    REQUIRE(transmit_.add(pieces, false));
    transmit_.publish();
    if (transmit_.wants_kick()) front_end_.kick(2 * number_ + 1);
    std::vector<std::byte> got;
    std::uint16_t wanted = 1;
    for (std::uint16_t i = 0; i < wanted; ++i) {
      const auto used = next();
      const std::byte* const at = memory_.at(by_head_[used.head]);
      if (i == 0) std::memcpy(&wanted, at + 10, sizeof wanted);
      got.insert(got.end(), at, at + used.length);
      post(by_head_[used.head]);
    }
    receive_.publish();
    if (receive_.wants_kick()) front_end_.kick(2 * number_);
    REQUIRE(got.size() == 12 + size);
    REQUIRE(std::equal(got.begin() + 12, got.end(), bytes + 12));
    while (transmit_.take_used()) {
    }
  }

 private:
  static constexpr std::uint32_t kBuffer = 1600;
  void post(std::uint64_t at) {
    const Buffer buffer{at, kBuffer};
    const auto head = receive_.add(std::span(&buffer, 1), true);
    REQUIRE(head);
    by_head_[*head] = at;
  }
  DriverRing::Used next() {
    for (;;) {
      if (const auto used = receive_.take_used()) return *used;
      if (receive_.arm_calls()) continue;
      pollfd p{front_end_.call_fd(2 * number_), POLLIN, 0};
      REQUIRE(::poll(&p, 1, 10000) == 1);
      front_end_.take_calls(2 * number_);
    }
  }
  GuestMemory& memory_;
  FrontEnd& front_end_;
  unsigned number_;
  RingOptions options_;
  DriverRing receive_, transmit_;
  std::uint64_t frame_;
  std::vector<std::uint64_t> buffers_;
  std::vector<std::uint64_t> by_head_;
};

constexpr std::array<std::size_t, 8> kSizes{60, 14 + 1500, 9000, 65535 + 14, 61, 1588, 1589, 30000};

}  // namespace

TEST_CASE("vhost device: what a guest sends comes back, with any features and two queue pairs") {
  const std::uint64_t cases[] = {kAllFeatures, kAllFeatures & ~bit(feature::kEventIndex),
                                 kAllFeatures & ~bit(feature::kIndirect)};
  for (const std::uint64_t features : cases) {
    CAPTURE(features);
    auto sockets = socket_pair();
    GuestMemory memory(std::size_t{8} << 20U);
    EchoDevice device{std::move(sockets[1]), 2};
    FrontEnd front_end{std::move(sockets[0]), memory};
    front_end.negotiate(features);
    CHECK(front_end.queue_pairs() == 2);
    Guest one{memory, front_end, 0};
    Guest two{memory, front_end, 1};
    front_end.set_features();
    front_end.set_memory();
    one.start();
    two.start();
    for (int round = 0; round < 15; ++round) {
      for (const std::size_t size : kSizes) {
        one.echo(size);
        two.echo(size);
      }
    }
    // The guest reboots: rings are emptied and begin again; another pair goes on.
    const auto positions = one.stop();
    CHECK(positions[1] == 15 * kSizes.size());
    two.echo(60);
    one.start();
    one.echo(65000);
    two.echo(60);
    // Memory is replaced while both run.
    for (int i = 0; i < 20; ++i) {
      front_end.set_memory();
      one.echo(3000);
      two.echo(3000);
    }
    CHECK_FALSE(device.broken());
  }
}

TEST_CASE("vhost device: rings stopped and started many times lose nothing") {
  auto sockets = socket_pair();
  GuestMemory memory(std::size_t{8} << 20U);
  EchoDevice device{std::move(sockets[1]), 2};
  FrontEnd front_end{std::move(sockets[0]), memory};
  front_end.negotiate(kAllFeatures);
  Guest one{memory, front_end, 0};
  Guest two{memory, front_end, 1};
  front_end.set_features();
  front_end.set_memory();
  two.start();
  for (int i = 0; i < 100; ++i) {
    one.start();
    if (i % 3 == 0) one.echo(2000);
    two.echo(60);
    CHECK(one.stop()[1] == (i % 3 == 0 ? 1 : 0));
  }
  CHECK_FALSE(device.broken());
}

TEST_CASE("vhost device: an idle guest costs no turn") {
  auto sockets = socket_pair();
  GuestMemory memory(std::size_t{8} << 20U);
  EchoDevice device{std::move(sockets[1]), 1};
  FrontEnd front_end{std::move(sockets[0]), memory};
  front_end.negotiate(kAllFeatures);
  Guest guest{memory, front_end, 0};
  front_end.set_features();
  front_end.set_memory();
  guest.start();
  guest.echo(60);
  static_cast<void>(front_end.ask_number(Request::kGetFeatures));
  // Whatever the last events still cause comes to an end; from then on nothing moves.
  std::uint64_t before = 0;
  for (int quiet = 0; quiet < 5; ++quiet) {
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    if (const std::uint64_t now = device.turns; now != before) {
      before = now;
      quiet = -1;
    }
    REQUIRE(before < 1000);
  }
  CHECK(device.turns == before);
}
