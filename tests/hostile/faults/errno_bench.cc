#include "tests/hostile/faults/errno_bench.h"

#include <dirent.h>

#include <cstdio>
#include <cstdlib>
#include <set>

namespace cordon::faults {
namespace {

using sandbox::test::endpoint;

constexpr int kMostTurns = 4000;  // of one wait: more is a loop that spins

std::uint64_t sum_of(const std::string& text, std::string_view action) {
  std::uint64_t sum = 0;
  const std::string wanted = "\"event.action\":\"" + std::string{action} + "\"";
  const std::string_view count = "\"event.count\":";
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.find(wanted) == std::string::npos) continue;
    const auto at = line.find(count);
    sum += at == std::string::npos ? 1 : std::strtoull(line.c_str() + at + count.size(), nullptr, 10);
  }
  return sum;
}

sandbox::InboundOptions published() {
  sandbox::InboundOptions options;
  for (const auto protocol : {kTcp, kUdp}) {
    sandbox::ForwardRule rule;
    rule.protocol = protocol;
    rule.address = sandbox::test::ip("192.0.2.1");
    rule.first = rule.last = kPublished;
    rule.target = 80;
    rule.target_v4 = sandbox::test::ip("10.0.2.15");
    options.rules.push_back(rule);
  }
  options.links = sandbox::test::guest_links();
  return options;
}

int option_of(int fd, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, option, &value, &size) == 0 ? value : -1;
}

}  // namespace

FarEnd::FarEnd() {
  for (const auto address : {kFar4, kFar6}) {
    tcp_.push_back(sandbox::test::serve_far(SOCK_STREAM, address, tcp_port));
    tcp_port = sandbox::test::port_of(tcp_.back().get());
    udp_.push_back(sandbox::test::serve_far(SOCK_DGRAM, address, udp_port));
    udp_port = sandbox::test::port_of(udp_.back().get());
  }
}

void FarEnd::pump() {
  std::array<char, 2048> buffer;
  for (const base::Fd& listener : tcp_) {
    for (;;) {
      base::Fd link{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
      if (!link) break;
      links.push_back(std::move(link));
    }
  }
  for (const base::Fd& link : links) {
    const ssize_t got = ::recv(link.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) heard.append(buffer.data(), static_cast<std::size_t>(got));
  }
  for (const base::Fd& socket : udp_) {
    net::SockAddr from;
    from.length = sizeof from.storage;
    const ssize_t got =
        ::recvfrom(socket.get(), buffer.data(), buffer.size(), 0, &from.generic, &from.length);
    if (got <= 0) continue;
    heard.append(buffer.data(), static_cast<std::size_t>(got));
    ::sendto(socket.get(), buffer.data(), static_cast<std::size_t>(got), 0, &from.generic, from.length);
  }
}

int Bench::open_descriptors() {
  int count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

Bench::Bench(const BenchOptions& options) {
  World::get();
  FarEnd::get().forget();
  std::array<int, 2> fds{};
  REQUIRE(::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  audit_read_ = base::Fd{fds[0]};
  audit_write_ = base::Fd{fds[1]};
  auto monitor = netlink::Monitor::open(base::monotonic_now());
  REQUIRE(monitor);
  judge.emplace(app::dual_stack_plan(), nullptr, std::move(*monitor), audit_write_.get());
  judge->be_quiet();
  REQUIRE(load(options.policy));
  auto pair = sandbox::make_packet_pair();
  REQUIRE(pair);
  launcher.emplace(std::move(pair->first));
  broker.emplace(sandbox::BrokerOptions{.socket_memory = options.socket_memory}, *judge,
                 std::move(pair->second));
  if (options.published) {
    auto inbound = published();
    auto listeners = sandbox::open_listeners(inbound.rules, {});
    REQUIRE(listeners);
    broker->publish(std::move(inbound), std::move(*listeners));
  }
  REQUIRE(broker->start());
  new_translator();
  REQUIRE(gate);
  baseline = open_descriptors();
  injection().seen = {};
}

void Bench::new_translator() {
  inbox = {};
  asked.clear();
  seen_.clear();
  kill_told = open_revocation = false;
  auto channel = sandbox::make_channel_pair();
  REQUIRE(channel);
  gate.emplace(std::move(channel->translator));
  REQUIRE(launcher->send_new_translator(channel->broker.get()) == sandbox::SendStatus::kSent);
  channel->broker.reset();
  next_slot_ = 0;
  turn();
}

void Bench::turn(int wait_ms) {
  if (ended) return;
  ++turns;
  {
    const Armed armed;
    const auto more = broker->turn(wait_ms);
    if (!more) ending = base::describe(more.error());
    ended = !more || !*more;
  }
  listen_to_broker();
  if (gate && gate->dispatch(inbox, true) == sandbox::ChannelGate::Status::kClosed) gate.reset();
  look_at_grants();
  FarEnd::get().pump();
  std::string text(65536, '\0');
  const ssize_t got = ::read(audit_read_.get(), text.data(), text.size());
  if (got > 0) audit_.append(text, 0, static_cast<std::size_t>(got));
}

void Bench::listen_to_broker() {
  while (auto message = launcher->receive()) {
    kill_told |= std::holds_alternative<sandbox::control::KillTranslator>(*message);
    if (std::holds_alternative<sandbox::control::RevokeBegin>(*message)) open_revocation = true;
    if (std::holds_alternative<sandbox::control::RevokeEnd>(*message)) open_revocation = false;
  }
}

// No grant without the checks: whatever failed, the socket is what the broker promises (broker_socket.cc).
void Bench::look_at_grants() {
  for (const auto& [id, grant] : inbox.grants) {
    if (!seen_.insert(id).second) continue;
    ++handed_over_;
    const int fd = grant.socket.get();
    const flow::Tuple& to = asked.at(id);
    CHECK(to.remote.address.family() ==
          (option_of(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6 ? net::Family::kIpv6 : net::Family::kIpv4));
    CHECK(option_of(fd, SOL_SOCKET, 62 /* SO_BINDTOIFINDEX */) == static_cast<int>(::if_nametoindex("up0")));
    if (to.protocol != kTcp) {
      socklen_t length = 0;
      ::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &length);
      CHECK(length > 0);
    }
    // The kernel names no peer of an echo socket, and lets all of them share.
    if (to.protocol == kEcho) continue;
    CHECK(option_of(fd, SOL_SOCKET, SO_REUSEADDR) == 0);
    net::SockAddr name;
    name.length = sizeof name.storage;
    REQUIRE(::getpeername(fd, &name.generic, &name.length) == 0);
    CHECK(net::from_sockaddr(name)->address == to.remote.address);
  }
}

bool Bench::until(const std::function<bool()>& done, base::Duration limit) {
  const auto end = base::monotonic_now() + limit;
  const int most = turns + kMostTurns;
  while (!done()) {
    if (ended || !gate) return false;
    CHECK(turns < most);
    if (turns >= most || base::monotonic_now() > end) return false;
    turn();
  }
  return true;
}

flow::Id Bench::request(const flow::Tuple& to) {
  const flow::Id id{next_slot_++, 1};
  asked.emplace(id, to);
  if (gate) REQUIRE(gate->request(id, to));
  return id;
}

std::optional<flow::Id> Bench::ask(const flow::Tuple& to) {
  const flow::Id id = request(to);
  const bool answered = until([&] { return inbox.grants.contains(id) || inbox.refusals.contains(id); });
  // A flow is granted or refused, never forgotten.
  if (serving()) CHECK(answered);
  if (!inbox.grants.contains(id)) return std::nullopt;
  return id;
}

void Bench::close(flow::Id id, flow::CloseHow how) {
  inbox.grants.erase(id);
  if (gate) REQUIRE(gate->close(id, how, flow::EndReason::kFin, {1, 2}));
  turn();
}

bool Bench::load(const std::string& text) {
  const policy::Source source{"x.yaml", text};
  auto loaded = policy::load(std::span(&source, 1), judge->next_generation());
  if (!loaded.policy) FAIL("the test's policy does not load");
  const Armed armed;
  return judge->take_policy(std::move(loaded), sandbox::control::LoadCause::kSignal, base::monotonic_now()) ==
         sandbox::PolicyLoad::kInForce;
}

void Bench::settle() {
  injection().kind = Kind::kCount;
  if (ended) {
    // Its end is the guest's: the launcher kills the translator. What it held goes with it.
    broker.reset();
    return;
  }
  const auto left = [&] {
    for (const auto& [id, to] : asked) {
      if (inbox.refusals.contains(id)) continue;
      static_cast<void>(gate->close(id, flow::CloseHow::kReset, flow::EndReason::kReset, {1, 2}));
    }
    asked.clear();
    inbox.grants.clear();
    inbox.offered.clear();
  };
  if (gate && !kill_told && !open_revocation)
    left();
  else
    gate.reset();  // the launcher has killed it
  if (!gate) {
    inbox = {};
    new_translator();
  }
  const auto later = ask(tuple(kTcp, kFar6, FarEnd::get().tcp_port, 41000));
  CHECK(later.has_value());
  if (later) {
    FarEnd::get().heard.clear();
    CHECK(sandbox::test::write_some(socket_of(*later), "still here") == "sent");
    CHECK(until([] { return FarEnd::get().heard == "still here"; }));
  }
  left();
  FarEnd::get().forget();
  CHECK(until([&] { return broker->flows() == 0 && broker->offers() == 0 && broker->leaving() == 0; }));
  CHECK(broker->pending() == 0);
  CHECK(open_descriptors() == baseline);
  CHECK(turns < kMostTurns);
  check_audit();
}

// Whatever was handed over is on record, or counted as lost.
void Bench::check_audit() {
  judge->finish(base::monotonic_now());
  std::string text(1 << 20, '\0');
  const ssize_t got = ::read(audit_read_.get(), text.data(), text.size());
  if (got > 0) audit_.append(text, 0, static_cast<std::size_t>(got));
  CHECK(sum_of(audit_, "flow-allowed") + judge->audit_counters().events_lost >= handed_over_);
}

namespace {

struct Totals {
  int pairs = 0;
  int missed = 0;  // that run had no such call
  std::map<std::string, int> ended;
};

// Which failures of which calls may end the broker, and with it the guest's network: without its control
// socket nobody is left who could end it later.
bool may_end(Kind kind, int error) {
  return (kind == Kind::kSendUnix && (error == EPIPE || error == ECONNRESET || error == EPERM));
}

void run_with(Kind kind, int nth, int error, const BenchOptions& options,
              const std::function<void(Bench&)>& scenario, Totals& totals) {
  Injection& in = injection();
  in = {};
  Bench bench{options};
  in.kind = kind;
  in.nth = nth;
  in.error = error;
  scenario(bench);
  bench.settle();
  ++totals.pairs;
  if (!in.hit) ++totals.missed;
  if (!bench.ended) return;
  CHECK(may_end(kind, error));
  ++totals.ended[std::string{to_string(kind)} + " " + ::strerrorname_np(error) +
                 (bench.ending.empty() ? "" : ": ") + bench.ending];
}

}  // namespace

void each_call_fails_once(std::string_view name, const BenchOptions& options,
                          const std::function<void(Bench&)>& scenario) {
  const char* const text = std::getenv("CORDON_FAULT_EVERY");
  const int every = text != nullptr ? std::max(1, std::atoi(text)) : 1;
  std::array<int, kKinds> calls{};
  {
    injection() = {};
    Bench bench{options};
    scenario(bench);
    REQUIRE_FALSE(bench.ended);
    calls = injection().seen;
    bench.settle();
  }
  Totals totals;
  int number = 0;
  for (std::size_t k = 0; k < kKinds; ++k) {
    const auto kind = static_cast<Kind>(k);
    const auto errors = plausible_errors(kind);
    // Waits repeat the same call: the first ones stand for them.
    constexpr int kMostOfOne = 40;
    for (int nth = 0; nth < std::min(calls.at(k), kMostOfOne); ++nth) {
      for (const int error : errors) {
        if (number++ % every != 0) continue;
        const std::string pair =
            std::string{to_string(kind)} + " #" + std::to_string(nth) + " " + ::strerrorname_np(error);
        CAPTURE(pair);
        run_with(kind, nth, error, options, scenario, totals);
      }
    }
  }
  injection() = {};
  std::printf("%.*s: %d pairs of a call and an errno (%d did not come to pass)\n",
              static_cast<int>(name.size()), name.data(), totals.pairs, totals.missed);
  for (const auto& [what, count] : totals.ended)
    std::printf("  ended the broker: %s (%d)\n", what.c_str(), count);
  CHECK(totals.pairs > 0);
}

}  // namespace cordon::faults
