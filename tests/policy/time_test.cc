// `until` and `expires`: the decision changes at the very moment, whoever keeps the clock.
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using namespace std::chrono_literals;

namespace {

constexpr WallTime kEnd{1'800'000'000s};

HostFacts at(WallTime now, AddressFacts dial = routed()) {
  auto out = facts(dial);
  out.now = now;
  return out;
}

template <class Change>
PolicySet changed(const PolicySet& policy, Change&& change) {
  std::vector<Ruleset> files(policy.files().begin(), policy.files().end());
  change(files);
  return PolicySet{std::move(files)};
}

}  // namespace

TEST_CASE("policy: a rule past its until matches nothing, and the next one decides") {
  const auto policy = changed(load_ok({file({"allow: 93.184.216.34", "deny: internet"})}),
                              [](std::vector<Ruleset>& files) { files[0].egress[0].until = kEnd; });
  const auto web = flow_to("93.184.216.34", 443);
  CHECK(decide(policy, web, at(WallTime{})).allow);
  CHECK(decide(policy, web, at(kEnd - 1us)).allow);
  for (const auto now : {kEnd, kEnd + 1us, WallTime::max()}) {
    const auto d = decide(policy, web, at(now));
    CHECK(d.reason == Reason::kRuleDeny);
    CHECK(d.rule == 1);
  }
  const auto denies = changed(load_ok({file({"deny: 93.184.216.34", "allow: internet"})}),
                              [](std::vector<Ruleset>& files) { files[0].egress[0].until = kEnd; });
  CHECK(decide(denies, web, at(kEnd - 1us)).reason == Reason::kRuleDeny);
  CHECK(decide(denies, web, at(kEnd)).rule == 1);
}

TEST_CASE("policy: a rule without until has no end, even at a time that nobody filled in") {
  const auto policy = load_ok({file({"allow: internet"})});
  CHECK(decide(policy, flow_to("93.184.216.34", 443), at(WallTime::max())).allow);
}

TEST_CASE("policy: a file past its expires denies everything, an audit file only notes it") {
  const auto both = load_ok({file({"allow: [any, dns]"}), file({"allow: [any, dns]"})});
  const auto web = flow_to("93.184.216.34", 443);
  for (const std::size_t which : {0U, 1U}) {
    CAPTURE(which);
    const auto policy = changed(both, [&](std::vector<Ruleset>& files) { files[which].expires = kEnd; });
    CHECK(decide(policy, web, at(kEnd - 1us)).allow);
    const auto d = decide(policy, web, at(kEnd));
    CHECK(d.reason == Reason::kExpired);
    CHECK(d.layer == static_cast<std::int16_t>(which));
    CHECK(d.rule == Decision::kNoRule);
    CHECK(d.rules[which] == Decision::kNoRule);
    auto names = forwarder();
    names.now = kEnd;
    CHECK(decide(policy, flow_to("10.0.2.3", 53, flow::Protocol::kUdp), names).reason == Reason::kExpired);
    const auto audit =
        changed(policy, [&](std::vector<Ruleset>& files) { files[which].mode = Mode::kAudit; });
    const auto noted = decide(audit, web, at(kEnd));
    CHECK(noted.allow);
    CHECK(noted.would_deny == 1U << which);
  }
}

TEST_CASE("policy: the floor comes before an expired file, guarded places fall with the operator's") {
  const auto policy = changed(load_ok({file({"allow: [host, metadata, guests, any]"})}),
                              [](std::vector<Ruleset>& files) { files[0].expires = kEnd; });
  auto neighbour = routed();
  neighbour.guest = GuestRelation::kSameTenant;
  struct Guarded {
    std::string_view name, address;
    AddressFacts facts;
  };
  for (const auto& c :
       {Guarded{"host", "192.168.1.5", local()}, Guarded{"metadata", "169.254.169.254", routed()},
        Guarded{"guests", "10.9.0.7", neighbour}}) {
    CAPTURE(c.name);
    CHECK(decide(policy, flow_to(c.address, 80), at(kEnd - 1us, c.facts)).allow);
    const auto d = decide(policy, flow_to(c.address, 80), at(kEnd, c.facts));
    CHECK(d.reason == Reason::kExpired);
    CHECK(d.layer == 0);
  }
  CHECK(decide(policy, flow_to("127.0.0.1", 80), at(kEnd)).reason == Reason::kSpecialAddress);
  auto other = routed();
  other.guest = GuestRelation::kOtherTenant;
  CHECK(decide(policy, flow_to("10.9.0.7", 80), at(kEnd, other)).reason == Reason::kTenantIsolation);
}

TEST_CASE("policy: until and expires hold for connections from outside too") {
  const auto plain = load_ok({"version: 1\nname: t\ningress: [{name: in, allow: any, ports: tcp}]\n"});
  flow::Tuple tuple{
      flow::Protocol::kTcp, {ip("10.0.2.15"), net::Port{22}}, {ip("93.184.216.34"), net::Port{40000}}};
  CHECK(decide_ingress(plain, tuple, at(kEnd)).allow);
  const auto rule = changed(plain, [](std::vector<Ruleset>& files) { files[0].ingress[0].until = kEnd; });
  CHECK(decide_ingress(rule, tuple, at(kEnd - 1us)).allow);
  CHECK(decide_ingress(rule, tuple, at(kEnd)).reason == Reason::kNoRule);
  const auto whole = changed(plain, [](std::vector<Ruleset>& files) { files[0].expires = kEnd; });
  CHECK(decide_ingress(whole, tuple, at(kEnd - 1us)).allow);
  CHECK(decide_ingress(whole, tuple, at(kEnd)).reason == Reason::kExpired);
}
