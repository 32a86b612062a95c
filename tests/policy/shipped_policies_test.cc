// Runs policies/*.cases; the format is described in policies/README.md.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "policy/builtin.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

const std::filesystem::path kFolder = std::filesystem::path{CORDON_SOURCE_DIR} / "policies";

std::optional<HostFacts> parse_fact(std::string_view word) {
  auto f = facts(routed());
  if (word == "onlink")
    f.dial = on_link();
  else if (word == "host")
    f.dial = local();
  else if (word == "bridge")
    f.dial = {.fib = FibType::kUnicast, .has_gateway = false, .oif_is_uplink = false};
  else if (word == "noroute")
    f.dial = {};
  else if (word == "guest")
    f.dial.guest = GuestRelation::kSameTenant;
  else if (word == "other-tenant")
    f.dial.guest = GuestRelation::kOtherTenant;
  else if (word == "sandbox")
    f.sandbox_address = true;
  else if (word == "forwarder")
    f = forwarder();
  else
    return std::nullopt;
  return f;
}

flow::Tuple parse_flow(std::string_view protocol, std::string text) {
  if (protocol == "icmp") {
    std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
    return flow_to(text, 0, flow::Protocol::kIcmpEcho);
  }
  REQUIRE((protocol == "tcp" || protocol == "udp"));
  const auto colon = text.rfind(':');
  REQUIRE(colon != std::string::npos);
  auto address = text.substr(0, colon);
  if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
  const auto port = static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)));
  return flow_to(address, port, protocol == "tcp" ? flow::Protocol::kTcp : flow::Protocol::kUdp);
}

flow::Tuple parse_inbound(std::string_view protocol, const std::string& peer, const std::string& target) {
  REQUIRE(target.starts_with("guest:"));
  auto tuple = flow_to(peer, 40000, protocol == "tcp" ? flow::Protocol::kTcp : flow::Protocol::kUdp);
  tuple.guest.port = net::Port{static_cast<std::uint16_t>(std::stoul(target.substr(6)))};
  return tuple;
}

Loaded load_shipped(const std::vector<std::string>& names) {
  std::vector<std::string> paths;
  for (const auto& name : names) paths.push_back(kFolder / name);
  return load_files(paths);
}

// "allow RULE" or "deny REASON [RULE]"
std::string verdict(const PolicySet& policy, const Decision& d, bool with_rule) {
  const auto rule = [&] {
    const Ruleset& file = policy.files()[static_cast<std::size_t>(d.layer)];
    return file.rules(d.direction)[static_cast<std::size_t>(d.rule)].name;
  };
  if (d.allow) return "allow " + rule();
  return "deny " + std::string{to_string(d.reason)} +
         (with_rule && d.rule != Decision::kNoRule ? " " + rule() : "");
}

std::size_t run_cases(const std::filesystem::path& cases) {
  std::vector<std::string> names{cases.stem().string() + ".yaml"};
  std::ifstream stream{cases};
  std::size_t count = 0;
  std::optional<PolicySet> policy;
  for (std::string line; std::getline(stream, line);) {
    CAPTURE(line);
    std::istringstream words{line};
    std::string first;
    if (!(words >> first) || first.starts_with('#')) continue;
    if (first == "files:") {
      names.clear();
      for (std::string name; words >> name;) names.push_back(name);
      continue;
    }
    if (!policy) {
      auto loaded = load_shipped(names);
      REQUIRE_MESSAGE(loaded.diagnostics.empty(), render(loaded.diagnostics));
      policy = std::move(loaded.policy);
    }
    std::string guest, arrow, destination, word, want;
    REQUIRE((words >> guest >> arrow >> destination >> word));
    REQUIRE(arrow == "->");
    const bool inbound = guest != "guest";
    auto given = facts(routed(), routed());
    if (const auto fact = parse_fact(word)) {
      given = *fact;
      REQUIRE((words >> word));
    }
    want = word;
    std::size_t length = 1;
    for (; words >> word; ++length) want += " " + word;
    const auto d = inbound ? decide_ingress(*policy, parse_inbound(first, guest, destination), given)
                           : decide(*policy, parse_flow(first, destination), given);
    CHECK(verdict(*policy, d, length > 2) == want);
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("policy: every shipped policy answers its cases") {
  std::size_t policies = 0;
  for (const auto& entry : std::filesystem::directory_iterator{kFolder}) {
    if (entry.path().extension() != ".yaml") continue;
    CAPTURE(entry.path().filename().string());
    auto cases = entry.path();
    cases.replace_extension(".cases");
    REQUIRE(std::filesystem::exists(cases));
    CHECK(run_cases(cases) >= 5);
    const auto alone = load_shipped({entry.path().filename().string()});
    REQUIRE(alone.policy.has_value());
    CHECK(alone.policy->files()[0].tests.size() >= 5);
    ++policies;
  }
  CHECK(policies == 9);
}

TEST_CASE("policy: policies/internet-only.yaml is the built-in") {
  const auto loaded = load_shipped({"internet-only.yaml"});
  REQUIRE(loaded.policy.has_value());
  CHECK(loaded.policy->hash() == builtin_internet_only().hash());
}

TEST_CASE("policy: what other programs allow is built in, and shipped as a file") {
  const std::pair<const char*, Carried> rows[] = {{"everything.yaml", {}},
                                                  {"no-map-host.yaml", {.host = false}}};
  for (const auto& [file, carried] : rows) {
    CAPTURE(file);
    const auto shipped = load_shipped({file});
    const std::array sources{Source{"built-in", everything_text(carried)}};
    const auto built_in = load(sources);
    REQUIRE(shipped.policy.has_value());
    REQUIRE(built_in.policy.has_value());
    CHECK(built_in.diagnostics.empty());
    CHECK(shipped.policy->hash() == built_in.policy->hash());
  }
}

TEST_CASE("policy: every choice of what is carried compiles") {
  for (unsigned bits = 0; bits < 16; ++bits) {
    CAPTURE(bits);
    const Carried carried{
        .host = (bits & 1U) != 0, .tcp = (bits & 2U) != 0, .udp = (bits & 4U) != 0, .icmp = (bits & 8U) != 0};
    const std::array sources{Source{"built-in", everything_text(carried)}};
    const auto loaded = load(sources);
    CHECK(loaded.policy.has_value());
    CHECK(loaded.diagnostics.empty());
  }
}
