// hostile_frames --count N [--seed S]: so many generated frames through a worker with a broker that grants,
// refuses, revokes and offers as it likes and far ends that talk, close and reset. Held to: every frame has
// one outcome, what is sent to the guest is well-formed, descriptors and slots come back, memory does not
// grow. Prints what became of them; the same seed sends the same frames.
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "core/net/sockaddr.h"
#include "core/plane/worker.h"
#include "tests/hostile/frames/generator.h"

namespace {

using namespace cordon;
using namespace cordon::hostile;
using namespace std::chrono_literals;

constexpr std::size_t kBatch = 64;
// KiB. AddressSanitizer keeps what was freed, up to 256 MiB.
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kGrowth = std::size_t{512} << 10U;
#else
constexpr std::size_t kGrowth = std::size_t{96} << 10U;
#endif

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}

// A full box of frames each turn.
struct BatchLink final : link::Link {
  BatchLink() : ready(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  [[nodiscard]] link::Capabilities capabilities() const override { return {true, true, true}; }
  [[nodiscard]] int poll_fd() const override { return ready.get(); }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override {
    const std::size_t n = std::min(frames.size(), input.size() - taken);
    for (std::size_t i = 0; i < n; ++i, ++taken) {
      // Of its own size, so that a sanitizer sees who reads one byte too many.
      Buffer& bytes = held[i];
      bytes = Buffer(input[taken].bytes);
      bytes.shrink_to_fit();
      frames[i] = {.bytes = bytes, .offload = input[taken].offload, .tail = {}};
    }
    return n;
  }
  [[nodiscard]] link::SendStatus send(const link::Offload& offload, std::span<const iovec> parts) override {
    if (random() % 100 == 0) return link::SendStatus::kAgain;
    Buffer all;
    for (const iovec& part : parts) {
      const auto* const at = static_cast<const std::byte*>(part.iov_base);
      all.insert(all.end(), at, at + part.iov_len);
    }
    const Seen seen = read_frame(place, all, offload);
    if (!seen.wrong.empty()) {
      for (std::size_t i = 0; i < std::min<std::size_t>(all.size(), 96); ++i)
        std::printf("%02x%s", std::to_integer<unsigned>(all[i]), i % 16 == 15 ? "\n" : " ");
      fail("\nsent to the guest: " + seen.wrong);
    }
    ++sent;
    if (listener != nullptr) listener->hear(seen);
    return link::SendStatus::kSent;
  }
  base::Fd ready;
  Place place;
  std::vector<Frame> input;
  std::size_t taken = 0;
  std::array<Buffer, kBatch> held;
  std::mt19937 random{1};
  Generator* listener = nullptr;
  std::uint64_t sent = 0;
};

std::array<base::Fd, 2> ends(flow::Protocol protocol) {
  std::array<int, 2> fds{};
  if (protocol != flow::Protocol::kUdp) {
    const int type = protocol == flow::Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
    if (::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) != 0) fail("socketpair");
    return {base::Fd(fds[0]), base::Fd(fds[1])};
  }
  std::array<base::Fd, 2> out;
  std::array<net::SockAddr, 2> at;
  for (std::size_t i = 0; i < 2; ++i) {
    out[i] = base::Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    at[i] = net::to_sockaddr({*net::parse_ip("127.0.0.1"), net::Port{0}});
    if (::bind(out[i].get(), &at[i].generic, at[i].length) != 0) fail("bind");
    ::getsockname(out[i].get(), &at[i].generic, &at[i].length);
  }
  for (std::size_t i = 0; i < 2; ++i) ::connect(out[i].get(), &at[1 - i].generic, at[1 - i].length);
  return out;
}

// A broker of moods.
struct Gate final : flow::Gate {
  [[nodiscard]] bool request(flow::Id id, const flow::Tuple& tuple) override {
    if (full()) return false;
    pending.emplace_back(id, tuple);
    return true;
  }
  [[nodiscard]] bool close(flow::Id id, flow::CloseHow, flow::EndReason, const flow::Volumes&) override {
    if (full()) return false;
    far.erase(id);
    std::erase_if(pending, [&](const auto& asked) { return asked.first == id; });
    return true;
  }
  [[nodiscard]] bool claim(flow::Id id, std::uint32_t offer) override {
    if (full()) return false;
    far[id] = std::move(offers[offer]);
    offers.erase(offer);
    return true;
  }
  [[nodiscard]] bool decline(std::uint32_t offer) override {
    if (full()) return false;
    offers.erase(offer);
    return true;
  }
  [[nodiscard]] bool report_volumes(flow::Id, const flow::Volumes&) override { return !full(); }
  void report_packet(const flow::PacketReport&) override { ++reports; }
  bool full() { return moody && random() % 200 == 0; }

  bool moody = true;
  std::mt19937 random{2};
  std::vector<std::pair<flow::Id, flow::Tuple>> pending;
  std::map<flow::Id, base::Fd> far;
  std::map<std::uint32_t, base::Fd> offers;
  std::uint64_t reports = 0;
};

struct FreeClock final : plane::Clock {
  base::Instant time = base::Instant::from_nanos(1'000'000'000'000);
  [[nodiscard]] base::Instant now() const override { return time; }
};

plane::WorkerConfig config_for(const Place& place) {
  plane::WorkerConfig c;
  c.lan.guest_mac = *net::parse_mac("02:00:00:00:00:15");
  c.lan.our_mac = *net::parse_mac("02:00:00:00:00:02");
  c.lan.v4 = lan::LanAddresses{*net::parse_ip(place.guest4), *net::parse_prefix("10.0.2.0/24"),
                               *net::parse_ip(place.gateway4), net::parse_ip(place.dns4)};
  c.lan.v6 = lan::LanAddresses{*net::parse_ip(place.guest6), *net::parse_prefix("fd00::/64"),
                               *net::parse_ip(place.gateway6), net::parse_ip(place.dns6)};
  c.lan.our_link_local = *net::parse_ipv6(place.our_link_local);
  c.lan.mtu = 1500;
  c.lan.services = {.dhcp = true, .dhcpv6 = true, .slaac = true};
  c.key = {1, 2};
  c.limits.flows = 64;
  c.limits.udp_flows = 24;
  c.limits.icmp_flows = 6;
  c.limits.ring_bytes = std::size_t{8} << 20U;
  c.limits.stash_bytes = std::size_t{4} << 20U;
  c.busy_poll.longest = 0ns;
  return c;
}

std::size_t descriptors() {
  std::size_t count = 0;
  DIR* const folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}
std::size_t resident_kib() {
  std::size_t pages = 0, skipped = 0;
  if (FILE* const file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%zu %zu", &skipped, &pages) != 2) pages = 0;
    std::fclose(file);
  }
  return pages * 4;
}

class Run {
 public:
  explicit Run(std::uint64_t seed)
      : random_(seed), generator_(link_.place, seed), worker_(config_for(link_.place), link_, gate_, clock_) {
    link_.listener = &generator_;
  }

  void go(std::uint64_t count) {
    const std::size_t before = descriptors();
    const auto start = std::chrono::steady_clock::now();
    std::size_t early = 0;
    for (std::uint64_t done = 0; done < count;) {
      const std::size_t n = std::min<std::uint64_t>(1 + random_() % kBatch, count - done);
      send(n);
      done += n;
      if (++turns_ % 64 == 0) check(done);
      if (early == 0 && done >= count / 4) early = resident_kib();
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    end(count);
    report(count, seconds);
    if (descriptors() > before) fail("descriptors are left over");
    const std::size_t late = resident_kib();
    std::printf("resident: %zu KiB after a quarter, %zu KiB at the end\n", early, late);
    if (late > early + kGrowth) fail("memory grows");
  }

 private:
  [[nodiscard]] bool chance(std::uint32_t in_1000) { return random_() % 1000 < in_1000; }

  void send(std::size_t n) {
    link_.input.clear();
    link_.taken = 0;
    for (std::size_t i = 0; i < n; ++i) link_.input.push_back(generator_.next());
    worker_.run_once(0ns);
    while (link_.taken < n) worker_.run_once(0ns);
    answer();
    if (turns_ % 8 == 0) far_ends();
    if (chance(2)) offer();
    if (chance(5) && !gate_.far.empty()) revoke();
    worker_.on_gate_writable();
    std::uint64_t step = random_() % 2000;  // microseconds
    if (chance(10)) step = random_() % 3'000'000;
    if (chance(1)) step = random_() % 200'000'000;
    clock_.time = clock_.time + std::chrono::microseconds{step};
  }

  void answer() {
    auto asked = std::exchange(gate_.pending, {});
    for (auto& [id, tuple] : asked) {
      const std::uint32_t mood = static_cast<std::uint32_t>(random_() % 100);
      if (mood < 10) {  // later
        gate_.pending.emplace_back(id, tuple);
      } else if (mood < 70) {
        auto pair = ends(tuple.protocol);
        gate_.far[id] = std::move(pair[1]);
        worker_.on_grant({.id = id, .socket = std::move(pair[0]), .path_mtu = chance(500) ? 1400U : 0U});
      } else {
        worker_.on_refuse(id, static_cast<flow::RefuseHow>(random_() % 5));
      }
    }
  }

  // Far ends read, talk, stop and go away.
  void far_ends() {
    std::array<char, 65536> buffer;
    for (auto& [id, fd] : gate_.far) {
      if (!fd.valid()) continue;
      if (chance(800)) static_cast<void>(::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT));
      if (chance(300))
        static_cast<void>(::send(fd.get(), buffer.data(), random_() % (chance(100) ? 60000 : 1200),
                                 MSG_DONTWAIT | MSG_NOSIGNAL));
      if (chance(10)) ::shutdown(fd.get(), SHUT_WR);
      if (chance(5)) fd.reset();
    }
  }

  void offer() {
    const auto protocol = chance(500) ? flow::Protocol::kTcp : flow::Protocol::kUdp;
    auto pair = ends(protocol);
    const std::uint32_t number = ++offers_;
    gate_.offers[number] = std::move(pair[1]);
    flow::Inbound inbound;
    inbound.offer = number;
    inbound.tuple = {
        protocol,
        {*net::parse_ip(link_.place.guest4), net::Port{static_cast<std::uint16_t>(41000 + random_() % 8)}},
        {*net::parse_ip(link_.place.remote4), net::Port{static_cast<std::uint16_t>(79 + random_() % 3)}}};
    inbound.socket = std::move(pair[0]);
    static const std::array<std::byte, 5> kHello{};
    if (protocol == flow::Protocol::kUdp) inbound.first = kHello;
    worker_.on_inbound(std::move(inbound));
  }

  void revoke() {
    auto at = gate_.far.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_() % gate_.far.size()));
    const flow::Id id = at->first;
    worker_.on_revoke(id, flow::RefuseHow::kReject);
  }

  void check(std::uint64_t done) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < plane::kCounters; ++i)
      if (plane::is_frame_outcome(static_cast<Counter>(i))) sum += worker_.counters().values()[i];
    if (worker_.counters().get(Counter::kFramesFromGuest) != done) fail("frames are missing");
    if (sum != done) fail("outcomes do not add up: " + std::to_string(sum) + " of " + std::to_string(done));
    if (gate_.far.size() > 64) fail("more sockets than slots");
  }

  // Everything that lives is revoked or refused; nothing may be left.
  void end(std::uint64_t count) {
    gate_.moody = false;
    link_.input.clear();
    link_.taken = 0;
    for (int i = 0; i < 8; ++i) {
      for (const auto& [id, tuple] : std::exchange(gate_.pending, {}))
        worker_.on_refuse(id, flow::RefuseHow::kDrop);
      std::vector<flow::Id> live;
      for (const auto& [id, fd] : gate_.far) live.push_back(id);
      for (const flow::Id& id : live) worker_.on_revoke(id, flow::RefuseHow::kReject);
      worker_.on_gate_writable();
      clock_.time = clock_.time + 100s;
      for (int k = 0; k < 4; ++k) worker_.run_once(0ns);
    }
    check(count);
    if (worker_.live_flows() != 0) fail(std::to_string(worker_.live_flows()) + " flows are left");
    if (!gate_.far.empty() || !gate_.offers.empty()) fail("sockets are left with the broker");
  }

  void report(std::uint64_t count, double seconds) const {
    for (std::size_t i = 0; i < plane::kCounters; ++i)
      if (const std::uint64_t n = worker_.counters().values()[i]; n != 0)
        std::printf("%-22s %llu\n", std::string(plane::name(static_cast<Counter>(i))).c_str(),
                    static_cast<unsigned long long>(n));
    std::printf(
        "%llu frames in %.1f s: %.0f a second; conservation holds, %llu well-formed frames to the guest\n",
        static_cast<unsigned long long>(count), seconds, static_cast<double>(count) / seconds,
        static_cast<unsigned long long>(link_.sent));
  }

  std::mt19937_64 random_;
  BatchLink link_;
  Gate gate_;
  FreeClock clock_;
  Generator generator_;
  plane::Worker worker_;
  std::uint64_t turns_ = 0;
  std::uint32_t offers_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t count = 300'000, seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--count") == 0) count = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::strtoull(argv[i + 1], nullptr, 10);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Run(seed).go(count);
}
