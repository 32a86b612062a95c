#include "policy/file_tests.h"

#include "policy/decide.h"
#include "policy/destination.h"
#include "policy/print.h"

namespace cordon::policy {
namespace {

constexpr std::uint16_t kSomePort = 40000;

// A host with one uplink, a gateway behind it, and nothing else.
HostFacts empty_host(const FileTest& test, base::WallTime now) {
  const AddressFacts routed{.fib = FibType::kUnicast, .has_gateway = true, .oif_is_uplink = true, .oif = 1};
  HostFacts facts{.source_assigned = true, .now = now, .dial = routed, .embedded = routed};
  if (test.place == Word::kDns) facts.dns_forwarder = true;
  if (test.place == Word::kOnlink) facts.dial.has_gateway = false;
  if (test.place == Word::kGuests) facts.dial.guest = GuestRelation::kSameTenant;
  if (test.place == Word::kHost) facts.dial = {.is_host = true, .fib = FibType::kLocal, .oif = 1};
  return facts;
}

flow::Tuple tuple_of(const FileTest& test) {
  static const auto kGuestV4 = *net::parse_ip("10.0.2.15");
  static const auto kGuestV6 = *net::parse_ip("fd00:c0:2d::15");
  flow::Tuple tuple{test.port.protocol,
                    {test.remote.is_v6() ? kGuestV6 : kGuestV4, net::Port{kSomePort}},
                    {test.remote, net::Port{kSomePort}}};
  const bool echo = test.port.protocol == flow::Protocol::kIcmpEcho;
  auto& service = test.direction == Direction::kEgress ? tuple.remote.port : tuple.guest.port;
  service = net::Port{echo ? std::uint16_t{0} : test.port.first};
  return tuple;
}

// "allowed by rule "web" in line 9", "denied: no-rule"
std::string outcome(const Ruleset& file, const Decision& decision) {
  std::string out = decision.allow ? "allowed" : "denied";
  if (!decision.allow) out += " (" + std::string{to_string(decision.reason)} + ")";
  if (decision.rule == Decision::kNoRule) return out;
  const Rule& rule = file.rules(decision.direction)[static_cast<std::size_t>(decision.rule)];
  return out + " by rule " + quote(rule.name) + " in line " + std::to_string(rule.at.line);
}

bool is_as_expected(const Ruleset& file, const FileTest& test, const Decision& decision) {
  if (decision.allow != test.expect_allow) return false;
  if (!test.reason.empty() && test.reason != to_string(decision.reason)) return false;
  if (test.rule.empty()) return true;
  return decision.rule != Decision::kNoRule &&
         file.rules(decision.direction)[static_cast<std::size_t>(decision.rule)].name == test.rule;
}

std::string expectation(const FileTest& test) {
  std::string out = test.expect_allow ? "allow" : "deny";
  if (!test.reason.empty()) out += " (" + test.reason + ")";
  if (!test.rule.empty()) out += " by rule " + quote(test.rule);
  return out;
}

}  // namespace

void run_tests(const Ruleset& file, base::WallTime now, Report& report) {
  if (file.tests.empty()) return;
  Ruleset alone = file;
  alone.mode = Mode::kEnforce;  // an audit file's test asks what the file says
  const PolicySet policy{{std::move(alone)}, 0};
  for (const FileTest& test : file.tests) {
    const auto tuple = tuple_of(test);
    const auto facts = empty_host(test, now);
    const auto decision = test.direction == Direction::kEgress ? decide(policy, tuple, facts)
                                                               : decide_ingress(policy, tuple, facts);
    if (is_as_expected(file, test, decision)) continue;
    report.add(Code::kTestFailed, test.at,
               "the test expects " + expectation(test) + ", but " + to_string(test.port) +
                   (test.direction == Direction::kEgress ? " to " : " from ") + test.remote_text + " is " +
                   outcome(file, decision));
  }
}

}  // namespace cordon::policy
