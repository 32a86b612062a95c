#include "app/policy_tools.h"

#include <doctest/doctest.h>

#include "app/host_snapshot.h"
#include "app/options_policy.h"

namespace cordon::app {
namespace {

net::IpAddress ip(std::string_view text) { return net::parse_ip(text).value(); }

// eth0 with 192.0.2.5/24 and the default route, a bridge br-0 with 172.17.0.1/16.
netlink::Network network() {
  netlink::Network n;
  n.links = {{.index = 1, .name = "lo", .mtu = 65536, .up = true, .loopback = true},
             {.index = 2, .name = "eth0", .mtu = 1500, .up = true},
             {.index = 3, .name = "br-0", .mtu = 1500, .up = true}};
  n.addresses = {{.interface = 2, .address = ip("192.0.2.5"), .prefix_length = 24, .broadcast = {}},
                 {.interface = 3, .address = ip("172.17.0.1"), .prefix_length = 16, .broadcast = {}}};
  const auto route = [](std::string_view to, std::uint32_t interface, std::optional<net::IpAddress> gateway) {
    return netlink::Route{.destination = net::parse_prefix(to).value(),
                          .table = 254,
                          .interface = interface,
                          .gateway = gateway};
  };
  n.routes = {route("0.0.0.0/0", 2, ip("192.0.2.1")), route("::/0", 2, ip("fe80::1")),
              route("192.0.2.0/24", 2, {}), route("10.5.0.0/16", 2, {}), route("172.17.0.0/16", 3, {})};
  return n;
}

policy::PolicySet policy_of(std::string text) {
  const std::vector<policy::Source> sources{{"p.yaml", "version: 1\nname: p\n" + std::move(text)}};
  auto loaded = policy::load(sources);
  if (!loaded.policy) FAIL(policy::render(loaded.diagnostics));
  return std::move(*loaded.policy);
}

Explained explain(const policy::PolicySet& policy, std::vector<std::string> words) {
  words.insert(words.begin(), "explain");
  const auto invocation = parse_policy(words);
  if (!invocation) FAIL(invocation.error().message);
  const auto& options = std::get<PolicyExplainOptions>(*invocation);
  SnapshotHost host{network()};
  return explain_on(policy, options, host, options.at.value_or(base::WallTime{std::chrono::days{20000}}));
}

TEST_CASE("explain: the facts are the host's, the operator's settings and the guest's own network") {
  const auto policy = policy_of(
      "host: {aliases: [203.0.113.7]}\n"
      "egress:\n"
      "  - {name: all, allow: [any, 203.0.113.0/24]}\n"
      "  - {name: names, allow: dns}\n");
  struct Case {
    std::string_view name;
    std::vector<std::string> words;
    policy::Reason reason;
  };
  using policy::Reason;
  const Case cases[] = {
      {"by the default route", {"8.8.8.8", "443"}, Reason::kNone},
      {"documentation space, in no word", {"192.0.2.77", "443"}, Reason::kNoRule},
      {"on the link", {"10.5.0.1", "443"}, Reason::kNone},
      {"this host", {"192.0.2.5", "443"}, Reason::kHostAddress},
      {"this host, mapped", {"::ffff:192.0.2.5", "443"}, Reason::kHostAddress},
      {"its bridge", {"172.17.0.1", "443"}, Reason::kHostAddress},
      {"a container behind it", {"172.17.0.2", "443"}, Reason::kRouteBlocked},
      {"an alias", {"203.0.113.7", "443"}, Reason::kHostAddress},
      {"beside the alias", {"203.0.113.8", "443"}, Reason::kNone},
      {"the guest's gateway", {"10.0.2.2", "443"}, Reason::kSpecialAddress},
      {"another network's gateway", {"--address", "10.1.0.5/24", "10.0.2.2", "443"}, Reason::kNone},
      {"mapped to loopback", {"--map", "8.8.4.4=127.0.0.1", "8.8.4.4", "443"}, Reason::kHostAddress},
      {"mapped to this host", {"--map", "8.8.4.4=192.0.2.5", "8.8.4.4", "443"}, Reason::kHostAddress},
      {"mapped from the gateway", {"--map", "10.0.2.2=8.8.8.8", "10.0.2.2", "443"}, Reason::kNone},
      {"beside what is mapped", {"--map", "8.8.4.4=127.0.0.1", "8.8.8.8", "443"}, Reason::kNone},
      {"from outside, mapped or not",
       {"--map", "8.8.4.4=127.0.0.1", "--in", "8.8.4.4", "443"},
       Reason::kNoRule},
      {"the name server", {"dns"}, Reason::kNone},
      {"the name server at another port", {"dns", "tcp/80"}, Reason::kSpecialAddress},
      {"somebody else's source", {"--from", "10.0.2.77", "8.8.8.8", "443"}, Reason::kSourceSpoof},
      {"from outside", {"--in", "8.8.8.8", "443"}, Reason::kNoRule},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Explained explained = explain(policy, c.words);
    CHECK(explained.walk.decision.reason == c.reason);
    CHECK(explained.walk.decision.allow == (c.reason == Reason::kNone));
    CHECK(explained.uplinks == std::vector<std::string>{"eth0"});
  }
  const auto named = explain(policy_of("host: {uplinks: [br-0]}\negress:\n  - {name: all, allow: any}\n"),
                             {"172.17.0.2", "443"});
  CHECK(named.walk.decision.allow);
  CHECK(named.uplinks == std::vector<std::string>{"br-0"});
}

TEST_CASE("explain: the kernel is asked about the destination and what it embeds") {
  const auto explained = explain(policy_of("egress: []\n"), {"64:ff9b::192.0.2.5", "443"});
  REQUIRE(explained.kernel.size() == 2);
  CHECK(explained.kernel[0].interface == "eth0");
  CHECK(explained.kernel[0].route.gateway == ip("fe80::1"));
  CHECK_FALSE(explained.kernel[0].facts.is_host);
  CHECK(explained.kernel[1].embedded);
  CHECK(explained.kernel[1].address == ip("192.0.2.5"));
  CHECK(explained.kernel[1].facts.is_host);
  CHECK(explain(policy_of("egress: []\n"), {"dns"}).kernel.empty());
}

TEST_CASE("check: a finding is placed by a JSON pointer") {
  constexpr std::string_view kText =
      "version: 1\n"
      "name: p\n"
      "egress:\n"
      "  - {name: a, allow: internet}\n"
      "  - name: b\n"
      "    deny: [private, onlink]\n"
      "a/b~c: 1\n";
  const auto source = policy::parse({"p.yaml", std::string{kText}});
  REQUIRE(source.document);
  struct Case {
    std::uint32_t line, column;
    std::string_view pointer;
  };
  const Case cases[] = {{1, 1, "/version"},          {2, 7, "/name"},
                        {4, 5, "/egress/0"},         {4, 6, "/egress/0/name"},
                        {4, 15, "/egress/0/allow"},  {5, 11, "/egress/1/name"},
                        {6, 12, "/egress/1/deny/0"}, {6, 21, "/egress/1/deny/1"},
                        {7, 1, "/a~1b~0c"}};
  for (const Case& c : cases) {
    CAPTURE(c.pointer);
    CHECK(pointer_at(*source.document, {.line = c.line, .column = c.column, .length = 1}) == c.pointer);
  }
}

}  // namespace
}  // namespace cordon::app
