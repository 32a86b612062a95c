// Whole workers in threads of their own, with everything that they share: rings, doorbells, shapers. What it
// proves it proves under ThreadSanitizer (preset tsan).
#include <atomic>
#include <random>
#include <thread>

#include "core/plane/shapers.h"
#include "core/plane/shared_link.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

constexpr std::uint32_t kWorkers = 3;
constexpr int kRounds = 1500;

struct Common {
  explicit Common(const WorkerConfig& c) : config(c), group(c.key, kWorkers, 1U << 16U) {}
  WorkerConfig config;
  WorkerGroup group;
  std::atomic<std::uint64_t> injected{0};
  std::atomic<std::uint64_t> handled{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> passed_on{0};
  std::atomic<std::uint32_t> done{0};
};

// The guest's queue, the host's sockets and the gate are the thread's own.
void work(Common& common, std::uint32_t self) {
  ListLink queue;
  queue.keep = false;
  ListGate gate;
  SharedLink link(queue, common.group, self);
  Worker worker(common.config, link, gate);
  InboundSorter sorter(link, worker, gate);
  std::vector<base::Fd> peers;
  std::mt19937 random(self);
  const auto answer_requests = [&] {
    for (const auto& [id, tuple] : gate.requests) {
      std::array<int, 2> fds{};
      const int type = tuple.protocol == flow::Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
      if (::socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds.data()) != 0) continue;
      peers.emplace_back(fds[1]);
      static_cast<void>(!::write(fds[1], "answer", 6));
      flow::Grant grant;
      grant.id = id;
      grant.socket = base::Fd{fds[0]};
      grant.shaping.shaper = 1;
      grant.shaping.rate = 100'000'000;
      worker.on_grant(std::move(grant));
    }
    gate.requests.clear();
  };
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < 4; ++i) {
      const auto port = static_cast<std::uint16_t>(40000 + random() % 64);
      if (random() % 8 == 0) {
        wire::TcpFields f;
        f.flags.syn = true;
        f.window = 65535;
        queue.from_guest(tcp_frame(tuple(flow::Protocol::kTcp, port, random() % 2 == 0), f));
      } else {
        queue.from_guest(udp_frame(tuple(flow::Protocol::kUdp, port, random() % 2 == 0), bytes_of("ball")));
      }
      ++common.injected;
    }
    worker.run_once(round % 4 == 0 ? base::Duration{200us} : base::Duration{});
    answer_requests();
  }
  while (!queue.input.empty()) worker.run_once({});
  ++common.done;  // hands nothing over any more
  while (common.done < kWorkers || link.before_wait(false)) {
    worker.run_once(100us);
    answer_requests();
  }
  common.handled += worker.counters().get(Counter::kFramesFromGuest);
  common.passed_on += link.counters().get(Counter::kHandedOver);
  common.lost +=
      link.counters().get(Counter::kHandOverLostTcp) + link.counters().get(Counter::kHandOverLostOther);
}

}  // namespace

TEST_CASE("plane workers: three threads, one guest, every frame is somebody's") {
  ShaperBank shapers;
  WorkerConfig c = config();
  c.limits.flows = 512;
  c.limits.udp_flows = 256;
  c.shapers = &shapers;
  Common common(c);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < kWorkers; ++i) threads.emplace_back([&common, i] { work(common, i); });
  }
  CHECK(common.injected == 4 * kRounds * kWorkers);
  CHECK(common.handled + common.lost == common.injected);
  CHECK(common.passed_on > common.injected / 2);  // two of three frames are a stranger's
}
