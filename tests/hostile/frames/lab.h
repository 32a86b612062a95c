// A worker behind one of the benches, a gate that is a list, and an honest TCP and UDP flow of the same guest
// whose bytes have to arrive whatever else the guest does.
#pragma once

#include <dirent.h>

#include "tests/hostile/frames/bench.h"
#include "tests/hostile/frames/well_formed.h"
#include "tests/plane/outside.h"

namespace cordon::hostile {

using namespace std::chrono_literals;
using Totals = std::array<std::uint64_t, plane::kCounters>;

inline plane::WorkerConfig lab_config() {
  plane::WorkerConfig config = plane::test::config();
  config.limits.flows = 2048;
  config.limits.udp_flows = 1024;
  config.limits.icmp_flows = 256;
  return config;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const folder = ::opendir("/proc/self/fd");
  REQUIRE(folder != nullptr);
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

class Lab {
 public:
  explicit Lab(std::unique_ptr<Bench> bench, const plane::WorkerConfig& config = lab_config())
      : bench_(std::move(bench)), worker(config, bench_->link(), gate, clock) {}

  [[nodiscard]] Bench& bench() { return *bench_; }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) {
      worker.run_once(0ns);
      collect();
    }
  }
  // Sends them a few at a time; what is asked meanwhile is refused, without a word to the guest.
  void send(const Frames& frames) {
    std::size_t n = 0;
    for (const Frame& frame : frames) {
      bench_->put(frame);
      if (++n % 8 == 0) settle();
    }
    settle();
  }
  void settle() {
    turn(2);
    answer();
    turn();
  }
  // Refuses what has been asked since the last time.
  void answer() {
    for (; answered_ < gate.requests.size(); ++answered_) {
      asked.push_back(gate.requests[answered_].second.remote.port.number());
      worker.on_refuse(gate.requests[answered_].first, flow::RefuseHow::kDrop);
    }
  }
  // The next request is granted this socket.
  flow::Id grant(base::Fd socket) {
    REQUIRE(answered_ < gate.requests.size());
    const flow::Id id = gate.requests[answered_++].first;
    worker.on_grant({.id = id, .socket = std::move(socket)});
    turn();
    return id;
  }
  void pass(base::Duration time) {
    clock.time = clock.time + time;
    turn(2);
  }

  // What the guest was sent since; each frame is well-formed.
  std::vector<Seen> take() { return std::exchange(said_, {}); }
  [[nodiscard]] const Totals& totals() const { return worker.counters().values(); }
  [[nodiscard]] std::uint64_t count(Counter counter) const { return worker.counters().get(counter); }
  // O4, at any moment.
  void check_conservation() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < plane::kCounters; ++i)
      if (plane::is_frame_outcome(static_cast<Counter>(i))) sum += totals()[i];
    CHECK(sum == count(Counter::kFramesFromGuest));
  }

  const Place place;
  const Maker make{place};
  plane::test::ListGate gate;
  plane::test::TestClock clock;
  std::vector<std::uint16_t> asked;

 private:
  void collect() {
    for (const Frame& frame : bench_->take()) {
      Seen seen = read_frame(place, frame.bytes, frame.offload);
      CHECK(seen.wrong == "");
      // The link's own voice, whatever the guest does.
      if (seen.kind == Kind::kAdvertisement) continue;
      said_.push_back(std::move(seen));
    }
  }
  std::unique_ptr<Bench> bench_;
  std::vector<Seen> said_;
  std::size_t answered_ = 0;

 public:
  plane::Worker worker;
};

// Two flows by the book; go_on() sends and receives on both.
class Honest {
 public:
  explicit Honest(Lab& lab) : lab_(lab), udp_(flow::Protocol::kUdp) {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
    host_ = base::Fd(fds[1]);
    lab_.bench().put(lab_.make.tcp({.from = kTcpPort, .to = 443, .seq = seq_, .options = hex("020405b4")}));
    lab_.turn(2);
    lab_.grant(base::Fd(fds[0]));
    const auto said = lab_.take();
    REQUIRE(said.size() == 1);
    REQUIRE(said[0].flags == (kSyn | kAck));
    ++seq_;
    ack_ = said[0].seq + 1;
    segment({});
    lab_.bench().put(lab_.make.udp({.from = kUdpPort, .to = 443, .payload = hex("00")}));
    lab_.turn(2);
    lab_.grant(std::move(udp_.near));
    char byte = 1;
    REQUIRE(::recv(udp_.far.get(), &byte, 1, MSG_DONTWAIT) == 1);
    REQUIRE(byte == 0);
    go_on();
  }

  void go_on() {
    lab_.take();
    tcp();
    udp();
  }

 private:
  static constexpr std::uint16_t kTcpPort = 50001, kUdpPort = 50002;
  void segment(const Buffer& payload) {
    lab_.bench().put(lab_.make.tcp(
        {.from = kTcpPort, .to = 443, .seq = seq_, .ack = ack_, .flags = kAck | kPsh, .payload = payload}));
    seq_ += static_cast<std::uint32_t>(payload.size());
    lab_.turn(2);
  }
  [[nodiscard]] Buffer text(std::size_t size) {
    Buffer out(size);
    for (std::byte& b : out) b = static_cast<std::byte>(next_ = next_ * 5 + 3);
    return out;
  }
  static Buffer received(int fd) {
    Buffer out(4096);
    const ssize_t n = ::recv(fd, out.data(), out.size(), MSG_DONTWAIT);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  // The payload that the guest got on this flow.
  Buffer delivered(Kind kind, std::uint16_t port) {
    Buffer out;
    for (const Seen& seen : lab_.take())
      if (seen.kind == kind && seen.to == port) out = out + seen.payload;
    return out;
  }
  void tcp() {
    const Buffer up = text(700), down = text(900);
    segment(up);
    CHECK(received(host_.get()) == up);
    REQUIRE(::send(host_.get(), down.data(), down.size(), 0) == static_cast<ssize_t>(down.size()));
    lab_.take();
    lab_.turn(3);
    CHECK(delivered(Kind::kTcp, kTcpPort) == down);
    ack_ += static_cast<std::uint32_t>(down.size());
    segment({});
  }
  void udp() {
    const Buffer up = text(300), down = text(400);
    lab_.bench().put(lab_.make.udp({.from = kUdpPort, .to = 443, .payload = up}));
    lab_.turn(2);
    CHECK(received(udp_.far.get()) == up);
    REQUIRE(::send(udp_.far.get(), down.data(), down.size(), 0) == static_cast<ssize_t>(down.size()));
    lab_.turn(3);
    CHECK(delivered(Kind::kUdp, kUdpPort) == down);
  }

  Lab& lab_;
  plane::test::Pair udp_;
  base::Fd host_;
  std::uint32_t seq_ = 0x7ffffff0, ack_ = 0;
  unsigned next_ = 1;
};

}  // namespace cordon::hostile
