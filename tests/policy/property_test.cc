// decide() of loaded files against a second evaluator (reference.h), and properties of loading. Seeded, so
// that a failure repeats.
#include "policy/destination.h"
#include "policy/print.h"
#include "tests/policy/dice.h"
#include "tests/policy/reference.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using flow::Protocol;

namespace {

// Few places, so that rules and queries meet.
constexpr std::array<std::string_view, 26> kAddresses{
    "93.184.216.34",   "93.184.216.35", "8.8.8.8",   "10.0.0.1",   "10.1.0.1",         "10.1.2.3",
    "192.168.1.1",     "100.64.0.1",    "192.0.2.1", "198.18.0.1", "169.254.169.254",  "168.63.129.16",
    "127.0.0.1",       "224.0.0.1",     "240.0.0.1", "2606::1",    "2606::2",          "fd12::1",
    "2001:db8::1",     "fd00:ec2::254", "::1",       "fe80::1",    "64:ff9b::a01:203", "64:ff9b::7f00:1",
    "2002:808:808::1", "::ffff:0:a00:1"};
constexpr std::array<std::string_view, 16> kCidrs{
    "0.0.0.0/0",         "10.0.0.0/8",   "10.1.0.0/16",   "10.1.2.3",     "93.184.216.0/24", "93.184.216.34",
    "8.8.8.8",           "192.0.2.0/24", "198.18.0.0/15", "\"::/0\"",     "\"2606::/32\"",   "\"2606::2\"",
    "\"2001:db8::/32\"", "\"fc00::/7\"", "\"2002::/16\"", "100.64.0.0/10"};
constexpr std::array<std::string_view, 5> kPlainWords{"internet", "private", "onlink", "any", "dns"};
constexpr std::array<std::string_view, 3> kGuardedWords{"host", "metadata", "guests"};
constexpr std::array<std::string_view, 7> kPorts{"tcp",    "udp",       "icmp/echo", "tcp/443",
                                                 "udp/53", "tcp/50-60", "tcp/853"};
constexpr std::array<std::uint16_t, 5> kPortNumbers{443, 53, 55, 853, 80};

std::string random_list(Dice& dice, bool guarded) {
  std::string out;
  const unsigned count = 1 + dice.below(3);
  for (unsigned i = 0; i < count; ++i) {
    out += i == 0 ? "" : ", ";
    out += guarded && dice.one_in(4) ? dice.pick(kGuardedWords)
           : dice.one_in(2)          ? dice.pick(kPlainWords)
                                     : dice.pick(kCidrs);
  }
  return "[" + out + "]";
}

std::string random_file(Dice& dice, bool guarded) {
  std::string out = "version: 1\nname: f\n";
  if (dice.one_in(5)) out += "mode: audit\n";
  if (dice.one_in(5)) out += "refuse: drop\n";
  const unsigned rules = dice.below(6);
  out += rules == 0 ? "egress: []\n" : "egress:\n";
  for (unsigned i = 0; i < rules; ++i) {
    out += "  - {name: r" + std::to_string(i) + ", " + (dice.one_in(3) ? "deny: " : "allow: ") +
           random_list(dice, guarded);
    if (dice.one_in(3)) out += ", except: " + random_list(dice, guarded);
    if (dice.one_in(2)) {
      out += ", ports: [" + std::string{dice.pick(kPorts)};
      if (dice.one_in(2)) out += ", " + std::string{dice.pick(kPorts)};
      out += "]";
    }
    out += "}\n";
  }
  return out;
}

AddressFacts random_facts(Dice& dice) {
  if (dice.one_in(8)) return local();
  AddressFacts f = dice.one_in(3) ? on_link() : routed();
  if (dice.one_in(10)) f.is_host = true;
  if (dice.one_in(10)) f.guest = dice.one_in(2) ? GuestRelation::kSameTenant : GuestRelation::kOtherTenant;
  if (dice.one_in(10)) f.oif_is_uplink = false;
  if (dice.one_in(10)) f.fib = static_cast<FibType>(dice.below(10));
  return f;
}

Question random_query(Dice& dice) {
  const auto protocol = std::array{Protocol::kTcp, Protocol::kUdp, Protocol::kIcmpEcho}[dice.below(3)];
  const auto port = protocol == Protocol::kIcmpEcho ? std::uint16_t{0} : kPortNumbers[dice.below(5)];
  Question q{flow_to(dice.pick(kAddresses), port, protocol), facts(random_facts(dice), random_facts(dice))};
  q.facts.source_assigned = !dice.one_in(20);
  q.facts.dns_forwarder = dice.one_in(12);
  q.facts.sandbox_address = dice.one_in(20);
  return q;
}

}  // namespace

TEST_CASE("policy: decide agrees with the plain reading of the reference on 100,000 seeded queries") {
  Dice dice{20261121};
  std::size_t allowed = 0;
  std::array<std::size_t, kReasonCount> seen{};
  for (int p = 0; p < 1000; ++p) {
    std::vector<Source> sources;
    for (unsigned i = 0, n = dice.below(4); i < n; ++i)
      sources.push_back({"f" + std::to_string(i), random_file(dice, i == 0)});
    const auto loaded = load(sources);
    REQUIRE_MESSAGE(loaded.policy.has_value(), render(loaded.diagnostics));
    for (int i = 0; i < 100; ++i) {
      const auto q = random_query(dice);
      const auto got = decide(*loaded.policy, q.tuple, q.facts);
      const auto want = Reference{*loaded.policy, q}.reason();
      if (got.reason != want || got.allow != (want == Reason::kNone)) {
        for (const auto& s : sources) MESSAGE(s.text);
        CAPTURE(net::to_string(q.tuple.remote));
        REQUIRE(to_string(got.reason) == to_string(want));
        REQUIRE(got.allow == (want == Reason::kNone));
      }
      allowed += got.allow ? 1 : 0;
      ++seen[static_cast<std::size_t>(got.reason)];
    }
  }
  // The dice must have reached every branch this version has, or the agreement says little.
  CHECK(allowed > 2000);
  for (const auto reason : {Reason::kNoRule, Reason::kRuleDeny, Reason::kSourceSpoof, Reason::kSpecialAddress,
                            Reason::kEmbeddedIpv4, Reason::kRouteBlocked, Reason::kHostAddress,
                            Reason::kMetadata, Reason::kTenantIsolation}) {
    CAPTURE(to_string(reason));
    CHECK(seen[static_cast<std::size_t>(reason)] > 500);
  }
}

TEST_CASE("policy: adding a file never adds an allowed flow") {
  Dice dice{4711};
  std::size_t narrowed = 0;
  for (int p = 0; p < 200; ++p) {
    std::vector<Source> sources{{"a", random_file(dice, true)}};
    if (dice.one_in(2)) sources.push_back({"b", random_file(dice, false)});
    const auto before = *load(sources).policy;
    sources.push_back({"c", random_file(dice, false)});
    const auto after = *load(sources).policy;
    for (int i = 0; i < 100; ++i) {
      const auto q = random_query(dice);
      const bool was = decide(before, q.tuple, q.facts).allow;
      const bool is = decide(after, q.tuple, q.facts).allow;
      REQUIRE((was || !is));
      narrowed += was && !is ? 1 : 0;
    }
  }
  CHECK(narrowed > 50);
}

TEST_CASE("policy: no file without their own words admits host, guests or metadata") {
  Dice dice{31337};
  std::size_t tried = 0;
  for (int p = 0; p < 200; ++p) {
    const std::array sources{Source{"a", random_file(dice, false)}};
    const auto policy = *load(sources).policy;
    for (int i = 0; i < 100; ++i) {
      const auto q = random_query(dice);
      const auto d = decide(policy, q.tuple, q.facts);
      if (d.dst_class != DstClass::kHost && d.dst_class != DstClass::kGuests &&
          d.dst_class != DstClass::kMetadata)
        continue;
      ++tried;
      REQUIRE_FALSE(d.allow);
    }
  }
  CHECK(tried > 500);
}

TEST_CASE("policy: an IPv4 destination and its v4-mapped form get the same decision") {
  Dice dice{64};
  for (int p = 0; p < 200; ++p) {
    const std::array sources{Source{"a", random_file(dice, true)}};
    const auto policy = *load(sources).policy;
    for (int i = 0; i < 100; ++i) {
      const auto q = random_query(dice);
      if (!q.tuple.remote.address.is_v4()) continue;
      auto mapped = q.tuple;
      mapped.remote.address = ip("::ffff:" + net::to_string(q.tuple.remote.address));
      REQUIRE(decide(policy, q.tuple, q.facts) == decide(policy, mapped, q.facts));
    }
  }
}

TEST_CASE("policy: the canonical text of any file loads to a policy that decides alike") {
  Dice dice{99};
  for (int p = 0; p < 200; ++p) {
    const std::array sources{Source{"a", random_file(dice, true)}};
    const auto policy = *load(sources).policy;
    const std::array printed{Source{"a", print(policy.files()[0])}};
    const auto again = load(printed);
    REQUIRE_MESSAGE(again.policy.has_value(), render(again.diagnostics));
    REQUIRE(again.policy->hash() == policy.hash());
    for (int i = 0; i < 20; ++i) {
      const auto q = random_query(dice);
      REQUIRE(decide(policy, q.tuple, q.facts) == decide(*again.policy, q.tuple, q.facts));
    }
  }
}

TEST_CASE("policy: a rule the loader calls shadowed never decides") {
  Dice dice{7};
  std::size_t shadowed = 0;
  for (int p = 0; p < 1500; ++p) {
    const std::array sources{Source{"a", random_file(dice, true)}};
    const auto loaded = load(sources);
    for (const auto& d : loaded.diagnostics) {
      if (d.code != Code::kShadowed) continue;
      ++shadowed;
      const auto& rules = loaded.policy->files()[0].egress;
      std::int16_t index = 0;
      while (rules[static_cast<std::size_t>(index)].at.line != d.at.line) ++index;
      for (int i = 0; i < 100; ++i) {
        const auto q = random_query(dice);
        REQUIRE(decide(*loaded.policy, q.tuple, q.facts).rules[0] != index);
      }
    }
  }
  CHECK(shadowed > 40);
}
