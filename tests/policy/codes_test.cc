// Every code can be met, and stands in the reference and in the manual page. A new code does not compile here
// (-Wswitch-enum) until somebody shows how to get it.
#include <fstream>
#include <iterator>

#include "tests/policy/testing.h"

using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

std::string with(std::string_view lines) { return "version: 1\nname: x\n" + std::string{lines}; }
std::string rule(std::string_view keys) {
  return with("egress:\n  - {name: a, " + std::string{keys} + "}\n");
}
std::string asks(std::string_view keys) { return with("tests:\n  - {" + std::string{keys} + "}\n"); }

// A file that gets the code; "" for a number that is none. P210 and P217 need a second file.
std::string sample(Code code) {
  switch (code) {
    case Code::kUnreadable: return "\xff";
    case Code::kSyntax: return "a: [";
    case Code::kYamlFeature: return with("mode: !!str audit\n");
    case Code::kUnknownKey: return with("x: y\n");
    case Code::kDuplicateKey: return with("name: x\n");
    case Code::kMissingKey: return "version: 1\n";
    case Code::kWrongKind: return with("mode: [audit]\n");
    case Code::kNotSupportedYet: return with("dns: {}\n");
    case Code::kTooMany: {
      std::string items = "0.0.0.0";
      for (int i = 0; i < 256; ++i) items += ",0.0.0.0";
      return rule("deny: [" + items + "]");
    }
    case Code::kVersion: return "version: 2\nname: x\n";
    case Code::kBadName: return "version: 1\nname: X\n";
    case Code::kDuplicateRule: return with("egress: [{name: a, deny: any}, {name: a, deny: dns}]\n");
    case Code::kBadChoice: return with("mode: on\n");
    case Code::kAllowOrDeny: return rule("ports: tcp");
    case Code::kBadDestination: return rule("deny: everything");
    case Code::kHostBits: return rule("deny: 10.0.0.1/8");
    case Code::kBadPrefixLength: return rule("deny: 10.0.0.0/33");
    case Code::kNameDestination: return rule("deny: example.com");
    case Code::kOperatorOnly: return rule("deny: host");
    case Code::kBadPort: return rule("deny: any, ports: http");
    case Code::kReversedRange: return rule("deny: any, ports: tcp/2-1");
    case Code::kEmptyList: return rule("deny: []");
    case Code::kBadText: return with("description: " + std::string(2000, 'd') + "\n");
    case Code::kBadLimit: return with("limits: {connections: 0}\n");
    case Code::kNoMeaning: return rule("deny: any, log: all");
    case Code::kRatesInTwoFiles: return rule("allow: any, limits: {rate: 1MB/s}");
    case Code::kTestFailed: return asks("to: internet, port: tcp/1, expect: allow");
    case Code::kBadTime: return with("expires: never\n");
    case Code::kBadInterface: return with("host: {uplinks: a/b}\n");
    case Code::kTenantPolicyRequired: return with("require_tenant_policy: true\n");
    case Code::kBadTest: return asks("port: tcp/1, expect: allow");
    case Code::kUnknownRule: return asks("to: internet, port: tcp/1, expect: allow, rule: a");
    case Code::kShadowed: return with("egress: [{name: a, deny: any}, {name: b, allow: onlink}]\n");
    case Code::kNeverReached: return rule("allow: 127.0.0.1");
    case Code::kLooserLimit: return rule("allow: any, limits: {bytes: 2B}") + "limits: {bytes: 1B}\n";
    case Code::kPast: return with("expires: 1999-12-31T23:59:59Z\n");
    case Code::kNothingLeft: return rule("allow: dns, ports: tcp/853");
    case Code::kRepeated: return rule("allow: [any, onlink]");
  }
  return {};
}

std::string page(std::string_view path) {
  std::ifstream stream{std::string{CORDON_SOURCE_DIR} + "/" + std::string{path}};
  REQUIRE(stream.good());
  return {std::istreambuf_iterator<char>{stream}, {}};
}

}  // namespace

TEST_CASE("policy: every code can be met and is documented") {
  const auto reference = page("docs/policy-reference.md");
  const auto manual = page("man/cordon-policy.5");
  std::size_t codes = 0;
  for (std::uint16_t number = 100; number < 400; ++number) {
    const auto code = static_cast<Code>(number);
    const auto text = sample(code);
    const std::string shown = "P" + std::to_string(number);
    CAPTURE(shown);
    CHECK((reference.find("\n| " + shown + " |") != std::string::npos) == !text.empty());
    CHECK((manual.find("\n.It " + shown + "\n") != std::string::npos) == !text.empty());
    if (text.empty()) continue;
    ++codes;
    const bool second = code == Code::kOperatorOnly || code == Code::kRatesInTwoFiles;
    const auto said =
        second ? messages({code == Code::kRatesInTwoFiles ? text : with(""), text}) : messages({text});
    CHECK(said.find((is_warning(code) ? ": warning " : ": error ") + shown + ": ") != std::string::npos);
  }
  CHECK(codes >= 37);
}
