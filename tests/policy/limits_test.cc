// Which limits a flow falls under, and properties of inbound decisions and limits over random files.
#include "policy/limit_scopes.h"
#include "policy/print.h"
#include "tests/policy/dice.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using flow::Protocol;

namespace {

constexpr std::array<std::string_view, 14> kPeers{
    "93.184.216.34", "10.0.0.1",  "10.1.2.3",         "192.168.1.7",    "127.0.0.1",
    "::1",           "2606::1",   "fd12::1",          "fe80::1",        "192.0.2.1",
    "224.0.0.1",     "240.0.0.1", "64:ff9b::a01:203", "169.254.169.254"};
constexpr std::array<std::string_view, 11> kSources{
    "internet",  "private",  "onlink",          "host",         "any", "10.0.0.0/8", "10.1.2.3",
    "0.0.0.0/0", "\"::/0\"", "93.184.216.0/24", "\"fe80::/10\""};
constexpr std::array<std::string_view, 5> kPorts{"tcp", "udp", "tcp/22", "tcp/20-30", "udp/53"};
constexpr std::array<std::string_view, 4> kPlainWords{"internet", "private", "onlink", "any"};
constexpr std::array<std::string_view, 6> kLimits{"connections: 5", "connections: 70", "new: 3/s",
                                                  "new: 100/min",   "bytes: 2MB",      "bytes: 3GiB"};

std::string random_limits(Dice& dice, bool rate) {
  const auto pick = dice.below(6);
  std::string out = std::string{kLimits[pick]};
  if (dice.one_in(2)) out += ", " + std::string{kLimits[(pick / 2 * 2 + 2 + dice.below(2)) % 6]};
  if (rate && dice.one_in(2)) out += ", rate: " + std::to_string(1 + dice.below(9)) + "MB/s";
  return "limits: {" + out + "}";
}

std::string random_rules(Dice& dice, std::string_view prefix, bool ingress, bool rates) {
  std::string out;
  const unsigned rules = dice.below(5);
  for (unsigned i = 0; i < rules; ++i) {
    const bool deny = dice.one_in(3);
    out += "  - {name: " + std::string{prefix} + std::to_string(i) + (deny ? ", deny: [" : ", allow: [");
    for (unsigned n = 1 + dice.below(2); n > 0; --n)
      out += std::string{ingress ? dice.pick(kSources) : dice.pick(kPlainWords)} + (n > 1 ? ", " : "]");
    if (dice.one_in(4)) out += ", except: " + std::string{ingress ? dice.pick(kSources) : "private"};
    if (dice.one_in(2)) out += ", ports: " + std::string{dice.pick(kPorts)};
    if (!deny && dice.one_in(3)) out += ", " + random_limits(dice, rates);
    out += "}\n";
  }
  return rules == 0 ? "" : (ingress ? "ingress:\n" : "egress:\n") + out;
}

// Only one file of a set may have rates in its rules.
std::string random_file(Dice& dice, bool rates) {
  std::string out = "version: 1\nname: f\n";
  if (dice.one_in(5)) out += "mode: audit\n";
  if (dice.one_in(2)) out += random_limits(dice, true) + "\n";
  return out + random_rules(dice, "e", false, rates) + random_rules(dice, "i", true, rates);
}

AddressFacts random_facts(Dice& dice) {
  if (dice.one_in(6)) return local();
  AddressFacts f = dice.one_in(2) ? on_link() : routed();
  if (dice.one_in(10)) f.oif_is_uplink = false;
  if (dice.one_in(20)) f.guest = GuestRelation::kSameTenant;
  if (dice.one_in(10)) f.fib = static_cast<FibType>(dice.below(10));
  return f;
}

struct Inbound {
  flow::Tuple tuple;
  HostFacts facts;
};
Inbound random_inbound(Dice& dice) {
  auto tuple = flow_to(dice.pick(kPeers), 51000, dice.one_in(3) ? Protocol::kUdp : Protocol::kTcp);
  tuple.guest.port = net::Port{std::array<std::uint16_t, 4>{22, 25, 53, 8080}[dice.below(4)]};
  return {tuple, facts(random_facts(dice), random_facts(dice))};
}

PolicySet load_sources(const std::vector<Source>& sources) {
  auto loaded = load(sources);
  REQUIRE_MESSAGE(loaded.policy.has_value(), render(loaded.diagnostics));
  return std::move(*loaded.policy);
}

// Scope by scope, as text: the limits of a flow, without their numbers in this policy.
std::vector<std::string> limits_of(const LimitScopes& scopes, const Decision& d) {
  std::vector<std::string> out;
  for (const auto id : scopes.of(d))
    if (id != 0)
      out.push_back(std::to_string(scopes.scope(id).layer) + "/" + std::to_string(scopes.scope(id).rule) +
                    to_string(scopes.scope(id).limits));
  return out;
}

std::uint64_t slowest(const flow::Shaping& s) {
  std::uint64_t rate = s.shaper != 0 ? s.rate : UINT64_MAX;
  if (s.outer != 0) rate = std::min(rate, s.outer_rate);
  return rate;
}

}  // namespace

TEST_CASE("policy: values of limits") {
  struct ValueCase {
    std::string_view text;
    std::string_view canonical;
  };
  for (const auto& c : {
           ValueCase{"{connections: 1}", "{connections: 1}"},
           ValueCase{"{connections: 1000000}", "{connections: 1000000}"},
           ValueCase{"{new: 20/s}", "{new: 20/s}"},
           ValueCase{"{new: 60/min}", "{new: 60/min}"},
           ValueCase{"{rate: 10MB/s}", "{rate: 10000000B/s}"},
           ValueCase{"{rate: 10MiB/s}", "{rate: 10485760B/s}"},
           ValueCase{"{rate: 1TB/s}", "{rate: 1000000000000B/s}"},
           ValueCase{"{bytes: 1B}", "{bytes: 1B}"},
           ValueCase{"{bytes: 3KiB}", "{bytes: 3072B}"},
           ValueCase{"{bytes: 2GB}", "{bytes: 2000000000B}"},
           ValueCase{"{bytes: 1GiB}", "{bytes: 1073741824B}"},
           ValueCase{"{bytes: 1TiB}", "{bytes: 1099511627776B}"},
           ValueCase{"{bytes: 7KB, rate: 1KB/s, new: 1/s, connections: 2}",
                     "{connections: 2, new: 1/s, rate: 1000B/s, bytes: 7000B}"},
       }) {
    CAPTURE(c.text);
    const auto policy = load_ok({"version: 1\nname: x\nlimits: " + std::string{c.text} + "\n"});
    CHECK(to_string(policy.files()[0].limits) == c.canonical);
  }
}

TEST_CASE("policy: a flow falls under the head and the deciding rule of every enforcing file") {
  const auto policy = load_ok(
      {"version: 1\nname: a\nlimits: {connections: 9}\negress:\n  - {name: r, allow: private}\n"
       "  - {name: s, allow: any, limits: {bytes: 1GB}}\ningress: [{name: t, allow: host, limits: {new: "
       "1/s}}]\n",
       "version: 1\nname: b\nmode: audit\nlimits: {connections: 1}\negress: [{name: r, allow: any, limits: "
       "{new: 1/s}}]\n",
       "version: 1\nname: c\negress: [{name: r, allow: any, limits: {new: 2/s}}]\ningress: [{name: t, allow: "
       "host}]\n"});
  const LimitScopes scopes{policy};
  CHECK(scopes.size() == 4);
  using List = std::vector<std::string>;
  const auto out = [&](std::string_view address) {
    return limits_of(scopes, decide(policy, flow_to(address, 80), facts(routed())));
  };
  CHECK(out("10.1.2.3") == List{"0/-1{connections: 9}", "2/0{new: 2/s}"});
  CHECK(out("93.184.216.34") == List{"0/-1{connections: 9}", "0/1{bytes: 1000000000B}", "2/0{new: 2/s}"});
  CHECK(out("127.0.0.1").empty());
  auto tuple = flow_to("127.0.0.1", 51000);
  CHECK(limits_of(scopes, decide_ingress(policy, tuple, facts(local()))) ==
        List{"0/-1{connections: 9}", "0/0{new: 1/s}"});
}

TEST_CASE("policy: a flow draws from its rule's shaper and from the guest's") {
  const auto shaping = [](const PolicySet& policy, std::string_view address) {
    const LimitScopes scopes{policy};
    return scopes.shaping(scopes.of(decide(policy, flow_to(address, 80), facts(routed()))));
  };
  const std::string rules =
      "egress:\n  - {name: p, allow: private, limits: {rate: 3MB/s}}\n  - {name: d, allow: 192.0.2.0/24, "
      "limits: "
      "{rate: 1MB/s}}\n  - {name: i, allow: internet}\n";
  const std::string head = "version: 1\nname: x\n";
  const auto alone = load_ok({head + rules});
  CHECK(shaping(alone, "10.0.0.1") ==
        flow::Shaping{.shaper = 1, .outer = 0, .rate = 3'000'000, .outer_rate = 0});
  CHECK(shaping(alone, "192.0.2.1") ==
        flow::Shaping{.shaper = 2, .outer = 0, .rate = 1'000'000, .outer_rate = 0});
  CHECK(shaping(alone, "93.184.216.34") == flow::Shaping{});
  const auto both =
      load_ok({head + "limits: {rate: 9MB/s}\negress: [{name: a, allow: [any, 192.0.2.0/24]}]\n",
               head + "limits: {rate: 5MB/s}\n" + rules});
  CHECK(shaping(both, "10.0.0.1") ==
        flow::Shaping{.shaper = 2, .outer = 1, .rate = 3'000'000, .outer_rate = 5'000'000});
  CHECK(shaping(both, "192.0.2.1") ==
        flow::Shaping{.shaper = 3, .outer = 1, .rate = 1'000'000, .outer_rate = 5'000'000});
  CHECK(shaping(both, "93.184.216.34") ==
        flow::Shaping{.shaper = 1, .outer = 0, .rate = 5'000'000, .outer_rate = 0});
}

TEST_CASE("policy: adding a file never lets one more connection in, and never loosens a limit") {
  Dice dice{20261122};
  std::size_t narrowed = 0, allowed = 0, limited = 0, slowed = 0;
  for (int p = 0; p < 400; ++p) {
    const auto rates = dice.below(3);  // which file may have them in its rules
    std::vector<Source> sources{{"a", random_file(dice, rates == 0)}};
    if (dice.one_in(2)) sources.push_back({"b", random_file(dice, rates == 1)});
    const auto before = load_sources(sources);
    sources.push_back({"c", random_file(dice, rates == 2)});
    const auto after = load_sources(sources);
    const LimitScopes before_scopes{before}, after_scopes{after};
    for (int i = 0; i < 50; ++i) {
      const auto q = random_inbound(dice);
      const auto was = decide_ingress(before, q.tuple, q.facts);
      const auto is = decide_ingress(after, q.tuple, q.facts);
      REQUIRE((was.allow || !is.allow));
      narrowed += was.allow && !is.allow ? 1 : 0;
      if (!is.allow) continue;
      ++allowed;
      const auto old_limits = limits_of(before_scopes, was);
      const auto new_limits = limits_of(after_scopes, is);
      REQUIRE(old_limits.size() <= new_limits.size());
      REQUIRE(std::equal(old_limits.begin(), old_limits.end(), new_limits.begin()));
      limited += new_limits.empty() ? 0U : 1U;
      const auto old_rate = slowest(before_scopes.shaping(before_scopes.of(was)));
      const auto new_rate = slowest(after_scopes.shaping(after_scopes.of(is)));
      REQUIRE(new_rate <= old_rate);
      slowed += new_rate < old_rate ? 1 : 0;
    }
  }
  CHECK(narrowed > 500);
  CHECK(allowed > 500);
  CHECK(limited > 200);
  CHECK(slowed > 50);
}

TEST_CASE("policy: nothing but the word host lets the host in, and nothing lets the floor in") {
  Dice dice{8};
  std::size_t host = 0, floor = 0;
  for (int p = 0; p < 200; ++p) {
    const std::string text = random_file(dice, true);
    const auto policy = load_sources({{"a", text}});
    const bool audit = policy.files()[0].mode == Mode::kAudit;
    bool opens = false;
    for (const Rule& rule : policy.files()[0].ingress)
      opens = opens || (rule.action == Action::kAllow && rule.to.words.contains(Word::kHost));
    for (int i = 0; i < 50; ++i) {
      const auto q = random_inbound(dice);
      const auto d = decide_ingress(policy, q.tuple, q.facts);
      if (d.dst_class == DstClass::kHost && !opens && !audit) {
        ++host;
        REQUIRE_FALSE(d.allow);
      }
      if (d.layer == Decision::kFloor) {
        ++floor;
        REQUIRE_FALSE(d.allow);
        REQUIRE((d.dst_class == DstClass::kSpecial || d.dst_class == DstClass::kGuests ||
                 d.dst_class == DstClass::kMetadata || d.reason == Reason::kRouteBlocked));
      }
    }
  }
  CHECK(host > 200);
  CHECK(floor > 500);
}

TEST_CASE("policy: an IPv4 peer and its v4-mapped form get the same decision, and the canonical text too") {
  Dice dice{64};
  for (int p = 0; p < 200; ++p) {
    const auto policy = load_sources({{"a", random_file(dice, true)}});
    const auto again = load_sources({{"a", print(policy.files()[0])}});
    REQUIRE(again.hash() == policy.hash());
    for (int i = 0; i < 50; ++i) {
      const auto q = random_inbound(dice);
      const auto d = decide_ingress(policy, q.tuple, q.facts);
      REQUIRE(decide_ingress(again, q.tuple, q.facts) == d);
      if (!q.tuple.remote.address.is_v4()) continue;
      auto mapped = q.tuple;
      mapped.remote.address = ip("::ffff:" + net::to_string(q.tuple.remote.address));
      REQUIRE(decide_ingress(policy, mapped, q.facts) == d);
    }
  }
}
