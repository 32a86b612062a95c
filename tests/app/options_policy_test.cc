#include "app/options_policy.h"

#include <doctest/doctest.h>

#include "app/option_values.h"

namespace cordon::app {
namespace {

using Words = std::vector<std::string>;

Invocation parsed(const Words& words) {
  const auto invocation = parse_policy(words);
  if (!invocation) FAIL(invocation.error().message);
  return *invocation;
}
PolicyExplainOptions explain(Words words) {
  words.insert(words.begin(), "explain");
  return std::get<PolicyExplainOptions>(parsed(words));
}

TEST_CASE("options: policy check and show take files, or a start's, never both") {
  const auto named =
      std::get<PolicyCheckOptions>(parsed({"check", "a.yaml", "--strict", "b.yaml", "--json"}));
  CHECK(named.policy.files == Words{"a.yaml", "b.yaml"});
  CHECK(named.policy.exactly);
  CHECK(named.strict);
  CHECK(named.json);
  const auto start = std::get<PolicyCheckOptions>(parsed({"check", "--policy", "b", "--policy=a"}));
  CHECK(start.policy.files == Words{"b", "a"});
  CHECK_FALSE(start.policy.exactly);
  CHECK_FALSE(start.strict);
  CHECK(std::get<PolicyCheckOptions>(parsed({"check"})).policy.files.empty());
  CHECK(std::get<PolicyCheckOptions>(parsed({"check", "--", "--strict"})).policy.files == Words{"--strict"});
  const auto show = std::get<PolicyShowOptions>(parsed({"show", "/dev/fd/63"}));
  CHECK(show.policy.files == Words{"/dev/fd/63"});
  CHECK(std::holds_alternative<PolicySnapshotOptions>(parsed({"snapshot"})));
}

TEST_CASE("options: policy explain makes a flow of an address and a port") {
  struct Case {
    std::string_view name;
    Words words;
    flow::Protocol protocol;
    std::string_view guest, remote;
    std::uint16_t port;
  };
  using flow::Protocol;
  const Case cases[] = {
      {"tcp", {"192.0.2.1", "tcp/443"}, Protocol::kTcp, "10.0.2.15", "192.0.2.1", 443},
      {"a number alone is tcp", {"192.0.2.1", "443"}, Protocol::kTcp, "10.0.2.15", "192.0.2.1", 443},
      {"udp", {"192.0.2.1", "udp/65535"}, Protocol::kUdp, "10.0.2.15", "192.0.2.1", 65535},
      {"echo", {"2001:db8::1", "icmp/echo"}, Protocol::kIcmpEcho, "fd00:c0:2d::15", "2001:db8::1", 0},
      {"mapped is IPv6 to the guest",
       {"::ffff:192.0.2.1", "80"},
       Protocol::kTcp,
       "fd00:c0:2d::15",
       "::ffff:192.0.2.1",
       80},
      {"the name server", {"dns"}, Protocol::kUdp, "10.0.2.15", "10.0.2.3", 53},
      {"the name server by TCP", {"dns", "tcp/53"}, Protocol::kTcp, "10.0.2.15", "10.0.2.3", 53},
      {"the name server without IPv4",
       {"--no-ipv4", "dns"},
       Protocol::kUdp,
       "fd00:c0:2d::15",
       "fd00:c0:2d::3",
       53},
      {"another guest network",
       {"--address", "172.16.0.9/24", "--dns", "172.16.0.5", "dns"},
       Protocol::kUdp,
       "172.16.0.9",
       "172.16.0.5",
       53},
      {"another source",
       {"--from", "10.0.2.99", "192.0.2.1", "22"},
       Protocol::kTcp,
       "10.0.2.99",
       "192.0.2.1",
       22},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto options = explain(c.words);
    CHECK(options.direction == policy::Direction::kEgress);
    CHECK(options.tuple.protocol == c.protocol);
    CHECK(net::to_string(options.tuple.guest.address) == c.guest);
    CHECK(net::to_string(options.tuple.remote.address) == c.remote);
    CHECK(options.tuple.remote.port.number() == c.port);
  }
  const auto in =
      explain({"--in", "198.51.100.7", "tcp/22", "--snapshot", "s", "--at", "2026-10-01T12:00:00Z"});
  CHECK(in.direction == policy::Direction::kIngress);
  CHECK(net::to_string(in.tuple.remote.address) == "198.51.100.7");
  CHECK(in.tuple.guest.port.number() == 22);
  CHECK(in.tuple.remote.port.number() != 22);
  CHECK(in.snapshot == "s");
  REQUIRE(in.at);
  CHECK(in.at->time_since_epoch() == std::chrono::seconds{1790856000});
}

TEST_CASE("options: what is wrong with a policy command is said in one line") {
  struct Case {
    std::string_view name;
    Words words;
    std::vector<std::string_view> says;
  };
  const Case cases[] = {
      {"no action", {}, {"check, show, explain or snapshot"}},
      {"an unknown action", {"expalin"}, {"did you mean explain?"}},
      {"an action like none", {"xyzzy"}, {"xyzzy", "use check"}},
      {"an unknown option", {"check", "--stirct"}, {"--stirct", "did you mean --strict?"}},
      {"an option of another action", {"show", "--strict"}, {"--strict", "cordon policy show --help"}},
      {"an option without value", {"check", "--policy"}, {"--policy", "needs a value"}},
      {"both ways to name files", {"check", "--policy", "a", "b"}, {"b contradicts --policy a"}},
      {"an empty file name", {"check", ""}, {"empty file name"}},
      {"an empty --policy", {"check", "--policy", ""}, {"empty file name"}},
      {"no destination", {"explain"}, {"needs an address and a port"}},
      {"no port", {"explain", "192.0.2.1"}, {"needs an address and a port"}},
      {"too many words", {"explain", "192.0.2.1", "443", "444"}, {"'444'"}},
      {"a name", {"explain", "example.org", "443"}, {"example.org is a name", "one of its addresses"}},
      {"a network", {"explain", "10.0.0.0/8", "443"}, {"one address of it"}},
      {"a word", {"explain", "host", "443"}, {"host", "word for many places"}},
      {"neither", {"explain", "1.2.3", "443"}, {"1.2.3", "give an address"}},
      {"a port that is none", {"explain", "192.0.2.1", "http"}, {"PORT http"}},
      {"port 0", {"explain", "192.0.2.1", "tcp/0"}, {"PORT tcp/0"}},
      {"a range", {"explain", "192.0.2.1", "tcp/1-9"}, {"give one port"}},
      {"a protocol alone", {"explain", "192.0.2.1", "tcp"}, {"give one port"}},
      {"a port too large", {"explain", "192.0.2.1", "65536"}, {"PORT 65536"}},
      {"families", {"explain", "--from", "10.0.2.15", "2001:db8::1", "443"}, {"different families"}},
      {"a source that is none", {"explain", "--from", "x", "192.0.2.1", "443"}, {"--from x"}},
      {"no such family", {"explain", "--no-ipv6", "2001:db8::1", "443"}, {"no IPv6 address"}},
      {"a published ping", {"explain", "--in", "192.0.2.1", "icmp/echo"}, {"nothing to publish"}},
      {"dns as a peer", {"explain", "--in", "dns", "53"}, {"drop --in"}},
      {"a time that is none",
       {"explain", "--at", "tomorrow", "192.0.2.1", "1"},
       {"--at", "2026-10-01T12:00:00Z"}},
      {"snapshot with a file", {"snapshot", "x"}, {"'x'", "prints to its output"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto invocation = parse_policy(c.words);
    REQUIRE_FALSE(invocation);
    CAPTURE(invocation.error().message);
    CHECK(invocation.error().message.find('\n') == std::string::npos);
    for (const auto text : c.says) CHECK(invocation.error().message.find(text) != std::string::npos);
  }
}

TEST_CASE("options: each policy action has a help of its own") {
  for (const char* const action : {"check", "show", "explain", "snapshot"}) {
    CAPTURE(action);
    const auto help = std::get<ShowText>(parsed({action, "--help"})).text;
    CHECK(help.starts_with("Usage: cordon policy " + std::string{action}));
  }
  CHECK(std::get<ShowText>(parsed({"--help"})).text.find("cordon policy explain") != std::string::npos);
}

}  // namespace
}  // namespace cordon::app
