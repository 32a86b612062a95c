// Destinations that the command line maps, and built-in layers below files.
#include "policy/builtin.h"
#include "policy/parsed_source.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

HostFacts mapped(HostFacts facts) {
  facts.mapped = true;
  return facts;
}

}  // namespace

TEST_CASE("decide: loopback is the host where an address is mapped to it, and nowhere else") {
  const auto open = load_ok({file({"allow: host, ports: [tcp/22]"})});
  const auto closed = load_ok({file({"allow: [any, 0.0.0.0/0, \"::/0\"], ports: [tcp]"})});
  for (const char* const loopback : {"127.0.0.1", "::1"}) {
    CAPTURE(loopback);
    const auto tuple = flow_to(loopback, 22);
    const auto allowed = decide(open, tuple, mapped(facts(local())));
    CHECK(allowed.allow);
    CHECK(allowed.dst_class == DstClass::kHost);
    const auto denied = decide(closed, tuple, mapped(facts(local())));
    CHECK(!denied.allow);
    CHECK(denied.reason == Reason::kHostAddress);
    CHECK(decide(open, tuple, facts(local())).reason == Reason::kSpecialAddress);
  }
  // Nothing else of the floor opens by it, nor loopback in a wrapping.
  for (const char* const address :
       {"224.0.0.1", "0.0.0.0", "255.255.255.255", "64:ff9b::7f00:1", "::7f00:1"}) {
    CAPTURE(address);
    CHECK(!decide(open, flow_to(address, 22), mapped(facts(local(), local()))).allow);
  }
}

TEST_CASE("assemble: a built-in layer narrows whatever files allow, and says so as itself") {
  struct Row {
    std::string_view name;
    Carried carried;
    flow::Protocol protocol;
    AddressFacts where;
    bool allow;
  };
  using enum flow::Protocol;
  const Row rows[] = {
      {"elsewhere", {.host = false}, kTcp, routed(), true},
      {"the host", {.host = false}, kTcp, local(), false},
      {"the host, by UDP", {.host = false}, kUdp, local(), false},
      {"the host, by echo", {.host = false}, kIcmpEcho, local(), false},
      {"TCP is off", {.tcp = false}, kTcp, routed(), false},
      {"UDP is not", {.tcp = false}, kUdp, routed(), true},
      {"UDP is off", {.udp = false}, kUdp, routed(), false},
      {"echo is off", {.icmp = false}, kIcmpEcho, routed(), false},
      {"echo is not", {.udp = false}, kIcmpEcho, routed(), true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    std::vector<ParsedSource> files;
    files.push_back(
        parse({"operator.yaml", file({"allow: [any, host, metadata], ports: [tcp, udp, icmp/echo]"})}));
    files.push_back(parse({std::string{kBuiltInPath}, everything_text(row.carried)}));
    files.back().built_in = true;
    const auto loaded = assemble(std::move(files), 1);
    REQUIRE(loaded.policy.has_value());
    CHECK(loaded.diagnostics.empty());
    const auto decision =
        decide(*loaded.policy, flow_to("93.184.216.34", 443, row.protocol), facts(row.where));
    CHECK(decision.allow == row.allow);
    if (!decision.allow) CHECK(decision.layer == 1);
  }
}

TEST_CASE("assemble: a tenant's file may not say what a built-in layer says") {
  std::vector<ParsedSource> files;
  files.push_back(parse({"operator.yaml", file({"allow: any"})}));
  files.push_back(parse({std::string{kBuiltInPath}, everything_text({})}));  // by its name alone
  CHECK(!assemble(std::move(files), 1).policy.has_value());
}
