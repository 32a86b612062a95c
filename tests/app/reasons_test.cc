// The closed list of reasons, walked: each is produced here by the real judge over a real host state, with
// its record, or is reserved and what would produce it is refused. A reason that somebody adds and that is in
// neither table fails.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>

#include "app/broker_judge.h"
#include "app/broker_token.h"
#include "core/plane/counters.h"
#include "policy/load.h"
#include "tests/app/guest_plan.h"
#include "tests/support/world.h"

namespace cordon::app {
namespace {

using policy::Reason;
using sandbox::control::LoadCause;
using namespace std::chrono_literals;

constexpr const char* kOpen =
    "version: 1\nname: open\negress:\n"
    "  - {name: not-web, deny: [198.51.100.0/24], ports: [tcp/80]}\n"
    "  - {name: some, allow: [198.51.100.0/24, \"2000::/3\", \"::/96\", \"::ffff:0:0:0/96\", dns], ports: "
    "[tcp, udp]}\n";

struct Rig {
  explicit Rig(const std::string& text = kOpen) {
    test::World::get();
    REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    auto monitor = netlink::Monitor::open(now);
    REQUIRE(monitor);
    judge.emplace(dual_stack_plan(), nullptr, std::move(*monitor), pipe[1]);
    judge->drain(now);
    if (!text.empty()) load(text);
  }
  ~Rig() {
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  void load(const std::string& text) {
    const policy::Source source{"x.yaml", text};
    static_cast<void>(judge->take_policy(policy::load(std::span(&source, 1), judge->next_generation()),
                                         LoadCause::kSignal, now));
  }
  // As the broker does it: judge, limits, and the record of a refusal.
  void ask(std::string_view remote, std::uint16_t port = 443,
           flow::Protocol protocol = flow::Protocol::kTcp) {
    const auto address = *net::parse_ip(remote);
    const flow::Tuple tuple{
        protocol,
        {*net::parse_ip(address.is_v4() ? "10.0.2.15" : "fd00:c0:2d::15"), net::Port{40000}},
        {address, net::Port{port}}};
    ask(tuple);
  }
  void ask(const flow::Tuple& tuple) {
    verdict = judge->judge(tuple, now);
    if (verdict.allow) judge->admit(tuple, verdict, now);
    if (!verdict.allow) judge->on_denied(tuple, verdict, now);
    last = tuple;
  }
  void packet(flow::PacketDenial why) { judge->on_packet({.why = why, .tuple = far()}, now); }
  static flow::Tuple far() {
    return {flow::Protocol::kTcp,
            {*net::parse_ip("10.0.2.15"), net::Port{40000}},
            {*net::parse_ip("198.51.100.1"), net::Port{443}}};
  }
  std::string audit() const {
    std::string text(65536, '\0');
    const ssize_t n = ::read(pipe[0], text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }

  base::Instant now = base::monotonic_now();
  int pipe[2] = {-1, -1};
  std::optional<BrokerJudge> judge;
  sandbox::Verdict verdict;
  flow::Tuple last;
};

using Producer = std::function<void()>;

// What produced the record is the last rig's.
struct Bench {
  std::string text;
  void with(const std::string& policy, const std::function<void(Rig&)>& act) {
    Rig rig{policy};
    act(rig);
    text = rig.audit();
  }
  void with(const std::function<void(Rig&)>& act) { with(kOpen, act); }
};

std::map<Reason, Producer> producers(Bench& bench) {
  const auto asked = [&bench](std::string_view remote, std::uint16_t port = 443) {
    return [&bench, remote, port] { bench.with([&](Rig& rig) { rig.ask(remote, port); }); };
  };
  const auto packet = [&bench](flow::PacketDenial why) {
    return [&bench, why] { bench.with([&](Rig& rig) { rig.packet(why); }); };
  };
  const auto limited = [&bench](sandbox::Limit limit) {
    return
        [&bench, limit] { bench.with([&](Rig& rig) { rig.judge->on_limit(Rig::far(), limit, rig.now); }); };
  };
  std::map<Reason, Producer> all;
  all[Reason::kNoRule] = asked("203.0.113.7");
  all[Reason::kRuleDeny] = asked("198.51.100.1", 80);
  all[Reason::kSourceSpoof] = packet(flow::PacketDenial::kSource);
  all[Reason::kSpecialAddress] = asked("127.0.0.1");
  all[Reason::kEmbeddedIpv4] = asked("::ffff:0:93.184.216.34");
  all[Reason::kRouteBlocked] = [&bench] {
    bench.with([](Rig& rig) {
      test::run("ip route add prohibit 198.51.100.77/32");
      rig.judge->drain(rig.now);
      rig.ask("198.51.100.77");
      test::run("ip route del prohibit 198.51.100.77/32");
    });
  };
  all[Reason::kHostAddress] = asked("192.0.2.1");
  all[Reason::kMetadata] = asked("169.254.169.254");
  all[Reason::kTenantIsolation] = [&bench] {
    // No host state knows of other guests in this version: the facts are invented, the decision is not.
    bench.with([](Rig& rig) {
      const policy::PolicySet policy = policy::load({{policy::Source{"x.yaml", kOpen}}}).policy.value();
      policy::HostFacts facts{.source_assigned = true,
                              .now = base::wall_now(),
                              .dial = {.guest = policy::GuestRelation::kOtherTenant,
                                       .fib = policy::FibType::kUnicast,
                                       .oif_is_uplink = true}};
      const auto decision = policy::decide(policy, Rig::far(), facts);
      REQUIRE_FALSE(decision.allow);
      rig.judge->on_denied(Rig::far(), {.token = pack(decision)}, rig.now);
    });
  };
  all[Reason::kLimitConnections] = [&bench] {
    bench.with(
        "version: 1\nname: x\nlimits: {connections: 1}\negress:\n  - {name: a, allow: [198.51.100.0/24]}\n",
        [](Rig& rig) {
          rig.ask("198.51.100.1");
          REQUIRE(rig.verdict.allow);
          rig.ask("198.51.100.2");
        });
  };
  all[Reason::kLimitNew] = limited(sandbox::Limit::kNewFlows);
  all[Reason::kLimitBytes] = [&bench] {
    bench.with(
        "version: 1\nname: x\nlimits: {bytes: 1KB}\negress:\n  - {name: a, allow: [198.51.100.0/24]}\n",
        [](Rig& rig) {
          rig.ask("198.51.100.1");
          REQUIRE(rig.verdict.metered);
          rig.judge->on_volume(rig.verdict.account, 5000);
          const sandbox::FlowView flow{rig.last, rig.last.remote, rig.verdict.token, rig.now};
          const auto over = rig.judge->over_budget(flow, rig.verdict.account);
          REQUIRE(over.has_value());
          rig.judge->on_cut(flow, *over, sandbox::Cut::kLimit, true, false, rig.now);
        });
  };
  all[Reason::kLimitMemory] = limited(sandbox::Limit::kMemory);
  all[Reason::kExpired] = [&bench] {
    bench.with("", [](Rig& rig) {
      const policy::Source source{"x.yaml", kOpen};
      auto loaded = policy::load(std::span(&source, 1));
      REQUIRE(loaded.policy);
      std::vector<policy::Ruleset> files(loaded.policy->files().begin(), loaded.policy->files().end());
      files[0].expires = base::wall_now() - 1s;
      loaded.policy.emplace(std::move(files), rig.judge->next_generation());
      static_cast<void>(rig.judge->take_policy(std::move(loaded), LoadCause::kSignal, rig.now));
      rig.ask("198.51.100.1");
    });
  };
  all[Reason::kPolicyChanged] = [&bench] {
    bench.with(std::string{kOpen} + "on_reload_error: deny\n", [](Rig& rig) {
      rig.load("version: 2\n");
      rig.ask("198.51.100.1");
    });
  };
  all[Reason::kHostChanged] = [&bench] {
    bench.with([](Rig& rig) {
      rig.ask("198.51.100.1");
      const sandbox::FlowView flow{rig.last, rig.last.remote, rig.verdict.token, rig.now};
      rig.judge->on_cut(flow, rig.verdict, sandbox::Cut::kBecameLocal, true, false, rig.now);
    });
  };
  all[Reason::kMalformed] = packet(flow::PacketDenial::kMalformed);
  all[Reason::kUnsupportedProtocol] = packet(flow::PacketDenial::kProtocol);
  all[Reason::kNoResolver] = [&bench] {
    bench.with([](Rig& rig) { rig.ask("10.0.2.3", 53, flow::Protocol::kUdp); });
  };
  all[Reason::kEngineError] = [&bench] { bench.with("", [](Rig& rig) { rig.ask("198.51.100.1"); }); };
  return all;
}

// Names come in a later version: what could give these reasons is refused. Rates slow down and refuse
// nothing.
const std::map<Reason, std::string_view> kReserved{
    {Reason::kDnsName, "egress:\n  - {name: a, allow: www.example.com}\n"},
    {Reason::kDnsType, "dns: {types: [A]}\n"},
    {Reason::kDnsAnswerFiltered, "egress:\n  - {name: a, allow: internet, resolves_to: [10.0.0.0/8]}\n"},
    {Reason::kDnsLimit, "dns: {limits: {queries: 1/s}}\n"},
    {Reason::kNotNamed, "egress:\n  - {name: a, allow: internet, named: true}\n"},
    {Reason::kSniMismatch, "egress:\n  - {name: a, allow: internet, tls: auto}\n"},
    {Reason::kSniMissing, "egress:\n  - {name: a, allow: internet, tls: require}\n"},
    {Reason::kEch, "dns: {ech: deny}\n"},
    {Reason::kLimitRate, ""}};

TEST_CASE("reasons: each one has a record here, or is reserved and refused") {
  Bench bench;
  const auto all = producers(bench);
  static_assert(policy::kReasonCount == static_cast<std::size_t>(Reason::kEngineError) + 1);
  for (std::size_t i = 1; i < policy::kReasonCount; ++i) {
    const auto reason = static_cast<Reason>(i);
    const std::string name{policy::to_string(reason)};
    CAPTURE(name);
    const bool reserved = kReserved.contains(reason);
    REQUIRE(all.contains(reason) != reserved);
    if (!reserved) {
      all.at(reason)();
      CHECK(bench.text.find("\"event.reason\":\"" + name + "\"") != std::string::npos);
      continue;
    }
    const std::string_view use = kReserved.at(reason);
    if (use.empty()) continue;
    const std::string text = "version: 1\nname: x\n" + std::string{use};
    const policy::Source source{"x.yaml", text};
    const auto loaded = policy::load(std::span(&source, 1));
    CHECK_FALSE(loaded.policy.has_value());
    const auto why = policy::render(loaded.diagnostics);
    CAPTURE(why);
    CHECK((why.find("P107") != std::string::npos || why.find("P209") != std::string::npos));
  }
}

std::uint64_t sum_of(const std::string& text, std::string_view reason) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0;
       (at = text.find("\"event.reason\":\"" + std::string{reason} + "\"", at)) != std::string::npos;) {
    at = text.find("\"event.count\":", at) + 14;
    sum += std::stoull(text.substr(at, 20));
  }
  return sum;
}

TEST_CASE("judge: of packets that were denied the records tell as many as the counters") {
  Rig rig;
  static_cast<void>(rig.audit());
  std::string text;
  sandbox::CounterValues counters{};
  const auto at = [&](plane::Counter counter) -> std::uint64_t& {
    return counters.at(static_cast<std::size_t>(counter));
  };
  for (int i = 0; i < 3; ++i) rig.packet(flow::PacketDenial::kMalformed);
  at(plane::Counter::kDropMalformed) = 40;
  at(plane::Counter::kDropFragment) = 2;
  at(plane::Counter::kDropMulticast) = 7;
  at(plane::Counter::kToTcpFlow) = 1000;
  rig.judge->on_counters(counters, rig.now);
  rig.judge->on_counters(counters, rig.now);  // totals: nothing new
  rig.packet(flow::PacketDenial::kGroup);     // its counter comes later
  at(plane::Counter::kDropMulticast) = 9;
  rig.judge->on_counters(counters, rig.now);
  rig.judge->finish(rig.now);
  text = rig.audit();
  CHECK(sum_of(text, "malformed") == 42);
  CHECK(sum_of(text, "special-address") == 9);
  const auto& told = rig.judge->audit_counters();
  CHECK(told.packets_by_reason.at(static_cast<std::size_t>(Reason::kMalformed)) == 42);
  CHECK(told.packets_by_reason.at(static_cast<std::size_t>(Reason::kSpecialAddress)) == 9);
  CHECK(told.flows.totals().empty());
}

}  // namespace
}  // namespace cordon::app
