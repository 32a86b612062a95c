#include "app/options.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string_view>

#include "app/option_values.h"
#include "app/options_threads.h"

namespace cordon::app {
namespace {

std::expected<Invocation, UsageError> parse_line(std::initializer_list<const char*> words) {
  const std::vector<std::string> arguments(words.begin(), words.end());
  return parse(arguments);
}

RunOptions run_options(std::initializer_list<const char*> words) {
  const auto invocation = parse_line(words);
  if (!invocation) FAIL(invocation.error().message);
  return std::get<RunOptions>(*invocation);
}

TEST_CASE("options: a plain run has private addresses of both families and the largest MTU") {
  const auto options = run_options({"run", "--", "true"});
  REQUIRE(options.guest.ipv4);
  REQUIRE(options.guest.ipv6);
  CHECK(net::to_string(options.guest.ipv4->address) == "10.0.2.15");
  CHECK(options.guest.ipv4->prefix_length == 24);
  CHECK(net::to_string(options.guest.ipv4->gateway) == "10.0.2.2");
  CHECK(net::to_string(options.guest.ipv4->dns) == "10.0.2.3");
  CHECK(net::to_string(options.guest.ipv6->address) == "fd00:c0:2d::15");
  CHECK(options.guest.ipv6->prefix_length == 64);
  CHECK(net::to_string(options.guest.ipv6->gateway) == "fd00:c0:2d::2");
  CHECK(net::to_string(options.guest.ipv6->dns) == "fd00:c0:2d::3");
  CHECK(options.guest.mtu == 65520);
  CHECK(options.guest.mac != options.guest.gateway_mac);
  CHECK(options.command == std::vector<std::string>{"true"});
  CHECK(options.policy_files.empty());
  CHECK(options.audit.target == AuditTarget::kNone);
}

TEST_CASE("options: what follows -- belongs to the command, whatever it looks like") {
  const auto options = run_options({"run", "--mtu", "1500", "--", "sh", "--mtu", "9000", "--", "--help"});
  CHECK(options.guest.mtu == 1500);
  CHECK(options.command == std::vector<std::string>{"sh", "--mtu", "9000", "--", "--help"});
}

TEST_CASE("options: socket memory is a size with a unit, within reason") {
  CHECK(run_options({"run", "--", "x"}).socket_memory == 0);
  CHECK(run_options({"run", "--socket-memory", "256MB", "--", "x"}).socket_memory == 256'000'000);
  for (const char* const bad : {"0", "15MB", "x", "256", "-1MB", "2000GB"}) {
    CAPTURE(bad);
    const auto invocation = parse_line({"run", "--socket-memory", bad, "--", "x"});
    REQUIRE_FALSE(invocation);
    CHECK(invocation.error().message ==
          "--socket-memory " + std::string{bad} + ": give a size from 16MB to 1000GB, as in 256MB");
  }
}

TEST_CASE("options: threads are a number from 1 to 16, or auto") {
  CHECK(run_options({"run", "--", "x"}).threads == 1);
  CHECK(run_options({"run", "--threads", "16", "--", "x"}).threads == 16);
  CHECK(run_options({"run", "--threads=1", "--threads=3", "--", "x"}).threads == 3);
  const auto automatic = run_options({"run", "--threads", "auto", "--", "x"});
  CHECK(automatic.threads == 0);
  CHECK(queue_count(automatic) >= 1);
  CHECK(queue_count(automatic) <= most_workers(automatic));
  CHECK(queue_count(run_options({"run", "--threads", "7", "--", "x"})) == 7);
  for (const char* bad : {"0", "17", "-1", "two", "2.5", "auto2", "18446744073709551618"}) {
    CAPTURE(bad);
    const auto invocation = parse_line({"run", "--threads", bad, "--", "x"});
    REQUIRE_FALSE(invocation);
    CHECK(invocation.error().message ==
          "--threads " + std::string{bad} + ": give auto, or a number from 1 to 16");
  }
}

TEST_CASE("options: repeated policy files keep their order") {
  const auto options = run_options({"run", "--policy", "b", "--policy=a", "--", "x"});
  CHECK(options.policy_files == std::vector<std::string>{"b", "a"});
}

TEST_CASE("options: an address of ours moves gateway and name server into its prefix") {
  struct Case {
    std::string_view name;
    const char* address;
    std::string_view gateway;
    std::string_view dns;
  };
  for (const Case& c : {
           Case{"a usual prefix", "192.168.7.9/24", "192.168.7.2", "192.168.7.3"},
           Case{"the guest sits on the usual gateway", "192.168.7.2/24", "192.168.7.3", "192.168.7.4"},
           Case{"the guest sits on the usual name server", "192.168.7.3/24", "192.168.7.2", "192.168.7.4"},
           Case{"two hosts only", "192.168.7.2/30", "192.168.7.1", "192.168.7.1"},
           Case{"two hosts, the other one", "192.168.7.1/30", "192.168.7.2", "192.168.7.2"},
       }) {
    CAPTURE(c.name);
    const auto options = run_options({"run", "--address", c.address, "--", "x"});
    CHECK(net::to_string(options.guest.ipv4->gateway) == c.gateway);
    CHECK(net::to_string(options.guest.ipv4->dns) == c.dns);
  }
}

TEST_CASE("options: one family can be left out") {
  CHECK_FALSE(run_options({"run", "--no-ipv4", "--", "x"}).guest.ipv4);
  CHECK_FALSE(run_options({"run", "--no-ipv6", "--", "x"}).guest.ipv6);
}

TEST_CASE("options: features go off one by one, super-frames with the checksum they need") {
  const auto features = run_options({"run", "--features", "-uso,-udp-gso", "--", "x"}).features;
  CHECK_FALSE(features.uso);
  CHECK_FALSE(features.udp_gso);
  CHECK(features.tso);
  CHECK(features.udp_gro);
  const auto plain = run_options({"run", "--features", "-checksum", "--", "x"}).features;
  CHECK_FALSE(plain.tso);
  CHECK_FALSE(plain.uso);
}

TEST_CASE("options: a mistake is one line that names what is wrong and what to do") {
  struct Case {
    std::string_view name;
    std::initializer_list<const char*> words;
    std::initializer_list<std::string_view> says;
  };
  for (const Case& c : {
           Case{"nothing", {}, {"cordon --help"}},
           Case{"a command misspelt", {"rnu"}, {"rnu", "did you mean run?"}},
           Case{"an option misspelt",
                {"run", "--polciy", "x", "--", "t"},
                {"--polciy", "did you mean --policy?"}},
           Case{"an option nobody knows", {"run", "--frobnicate", "--", "t"}, {"--frobnicate", "--help"}},
           Case{"no command", {"run"}, {"after --"}},
           Case{"an empty command", {"run", "--"}, {"after --"}},
           Case{"a command without --", {"run", "curl"}, {"'curl'", "put -- before"}},
           Case{"a value is missing", {"run", "--policy", "--", "t"}, {"--policy", "needs a value"}},
           Case{"MTU too small for IPv6",
                {"run", "--mtu", "1279", "--", "t"},
                {"--mtu 1279", "1280 to 65520"}},
           Case{"MTU too large", {"run", "--mtu", "65521", "--", "t"}, {"--mtu 65521", "1280 to 65520"}},
           Case{"MTU not a number", {"run", "--mtu", "15k", "--", "t"}, {"--mtu 15k"}},
           Case{"prefix length forgotten", {"run", "--address", "10.1.1.5", "--", "t"}, {"10.1.1.5/24"}},
           Case{"prefix length too long", {"run", "--address", "10.1.1.5/33", "--", "t"}, {"up to 32"}},
           Case{"no room for a gateway", {"run", "--address", "10.1.1.5/32", "--", "t"}, {"/1 to /30"}},
           Case{"not an address", {"run", "--address", "example.org/8", "--", "t"}, {"not an IP address"}},
           Case{"a loopback address",
                {"run", "--address", "127.0.0.2/8", "--", "t"},
                {"127.0.0.2/8", "unicast"}},
           Case{"a family twice",
                {"run", "--dns", "10.0.2.5", "--dns", "10.0.2.6", "--", "t"},
                {"twice for IPv4", "10.0.2.6"}},
           Case{"gateway elsewhere",
                {"run", "--address", "10.1.1.5/24", "--gateway", "10.2.0.1", "--", "t"},
                {"--gateway 10.2.0.1", "--address 10.1.1.5/24", "10.1.1.0/24"}},
           Case{"gateway is the guest", {"run", "--gateway", "10.0.2.15", "--", "t"}, {"own --address"}},
           Case{"name server is the guest", {"run", "--dns", "10.0.2.15", "--", "t"}, {"--dns 10.0.2.15"}},
           Case{"a family both set and off",
                {"run", "--no-ipv6", "--dns", "2001:db8::1", "--", "t"},
                {"--dns for IPv6", "--no-ipv6"}},
           Case{
               "both families off", {"run", "--no-ipv4", "--no-ipv6", "--", "t"}, {"--no-ipv4", "--no-ipv6"}},
           Case{
               "a group MAC", {"run", "--mac", "01:00:5e:00:00:01", "--", "t"}, {"unicast hardware address"}},
           Case{"a bad name", {"run", "--name", "Web", "--", "t"}, {"--name Web", "a-z"}},
           Case{"unknown isolation", {"run", "--isolation", "full", "--", "t"}, {"best or strict"}},
           Case{"unknown feature", {"run", "--features", "-warp", "--", "t"}, {"-warp", "-udp-gso"}},
           Case{"a feature switched on", {"run", "--features", "uso", "--", "t"}, {"-uso"}},
           Case{"loud and quiet", {"run", "--verbose", "--quiet", "--", "t"}, {"--verbose", "--quiet"}},
           Case{"a policy from a descriptor",
                {"run", "--policy", "/dev/fd/63", "--", "t"},
                {"--policy /dev/fd/63", "name of a file"}},
           Case{"a policy from stdin", {"run", "--policy", "-", "--", "t"}, {"name of a file"}},
       }) {
    CAPTURE(c.name);
    const auto invocation = parse_line(c.words);
    REQUIRE_FALSE(invocation);
    const std::string& message = invocation.error().message;
    CAPTURE(message);
    CHECK(message.find('\n') == std::string::npos);
    for (const auto part : c.says) CHECK(message.find(part) != std::string::npos);
  }
}

TEST_CASE("options: help and version are texts, wherever help is asked for") {
  for (const auto words :
       {std::initializer_list<const char*>{"--help"}, {"help"}, {"run", "--help"}, {"run", "-h"}}) {
    const auto invocation = parse_line(words);
    REQUIRE(invocation);
    CHECK(std::get<ShowText>(*invocation).text.find("cordon run [options] -- COMMAND") != std::string::npos);
  }
  CHECK(std::get<ShowText>(*parse_line({"--version"})).text.starts_with("cordon "));
}

TEST_CASE("options: nearest finds small slips only") {
  CHECK(nearest("--adress", {"--address", "--dns"}) == "--address");
  CHECK(nearest("--policyy", {"--policy"}) == "--policy");
  CHECK(nearest("--xyz", {"--address", "--policy"}).empty());
}

}  // namespace
}  // namespace cordon::app
