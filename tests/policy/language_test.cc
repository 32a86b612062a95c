// The keys beyond rules and limits: what they load to, their canonical text, and what is wrong with them.
#include "policy/print.h"
#include "policy/times.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using namespace std::chrono_literals;

namespace {

const std::string kHead = "version: 1\nname: x\n";

WallTime at(int year, unsigned month, unsigned day, std::chrono::seconds clock = 0s) {
  return WallTime{std::chrono::sys_days{std::chrono::year{year} / static_cast<int>(month) /
                                        static_cast<int>(day)}} +
         clock;
}

struct Said {
  std::string_view name;
  std::string text;
  std::string_view place;  // "LINE:COLUMN"
  std::string_view message;
};

// The first line of the only message.
void check(const std::vector<Said>& cases) {
  for (const auto& c : cases) {
    CAPTURE(c.name);
    const auto text = messages({c.text});
    CHECK(text.substr(0, text.find('\n')) ==
          "a.yaml:" + std::string{c.place} + ": " + std::string{c.message});
    CHECK(text.find("a.yaml:", 1) == std::string::npos);
  }
}

}  // namespace

TEST_CASE("policy: every key of the operator's file loads to what it says") {
  const auto policy = load_ok({R"(version: 1
name: site
expires: 2099-12-31T23:59:59Z
host: {uplinks: [eth0, wlan-1.5], aliases: [203.0.113.7, "2001:db8:7::/64"]}
guests: {tenant: blue}
reload: drain 30s
on_reload_error: deny
require_tenant_policy: false
egress:
  - {name: a, allow: internet, until: 2098-02-28T00:00:00Z, log: new}
  - {name: b, allow: [host, guests, metadata], log: all}
  - {name: c, allow: private, log: none}
tests:
  - {to: internet, port: tcp/443, expect: allow, rule: a}
  - {from: host, port: udp/22, expect: deny, reason: no-rule}
)"});
  const Ruleset& file = policy.files()[0];
  CHECK(file.expires == at(2099, 12, 31, 86399s));
  CHECK(file.host.uplinks == std::vector<std::string>{"eth0", "wlan-1.5"});
  CHECK(file.host.aliases ==
        std::vector{*net::parse_prefix("203.0.113.7/32"), *net::parse_prefix("2001:db8:7::/64")});
  CHECK(file.tenant == "blue");
  CHECK(file.reload.drain == 30s);
  CHECK(file.reload.deny_on_error);
  CHECK_FALSE(file.require_tenant_policy);
  CHECK(file.egress[0].until == at(2098, 2, 28));
  CHECK(file.egress[0].log == LogMode::kNew);
  CHECK(file.egress[1].until == WallTime::max());
  CHECK(file.egress[1].log == LogMode::kAll);
  CHECK(file.egress[2].log == LogMode::kNone);
  REQUIRE(file.tests.size() == 2);
  CHECK(file.tests[0].remote_text == "internet");
  CHECK(file.tests[0].port == PortRange{flow::Protocol::kTcp, 443, 443});
  CHECK(file.tests[0].expect_allow);
  CHECK(file.tests[0].rule == "a");
  CHECK(file.tests[0].at.line == 14);
  CHECK(file.tests[1].direction == Direction::kIngress);
  CHECK(file.tests[1].place == Word::kHost);
  CHECK(file.tests[1].reason == "no-rule");
}

TEST_CASE("policy: the canonical text carries all that has a meaning, and the hash with it") {
  const std::string text =
      "version: 1\nname: \"x\"\nmode: enforce\nrefuse: reject\nexpires: \"2099-01-02T03:04:05Z\"\negress:\n"
      "  - {name: \"a\", allow: [internet], ports: [tcp], until: \"2098-10-01T12:00:00Z\", log: all}\n"
      "host: {uplinks: [\"eth0\"], aliases: [\"203.0.113.7/32\"]}\n"
      "guests: {tenant: \"blue\"}\nreload: drain 300s\non_reload_error: deny\n";
  CHECK(print(load_ok({text}).files()[0]) == text);
  CHECK(print(load_ok({kHead + "host: {aliases: 10.0.0.0/8}\nreload: drain 5min\n"}).files()[0]) ==
        "version: 1\nname: \"x\"\nmode: enforce\nrefuse: reject\negress: []\n"
        "host: {aliases: [\"10.0.0.0/8\"]}\nreload: drain 300s\n");
  const auto hash = [](const std::string& more) { return load_ok({kHead + more}).hash(); };
  const std::string plain = "egress: [{name: a, allow: any}]\n";
  for (const std::string_view more :
       {"expires: 2099-01-01T00:00:00Z\n", "host: {uplinks: eth0}\n", "host: {aliases: 10.0.0.1}\n",
        "guests: {tenant: blue}\n", "reload: drain 1s\n", "on_reload_error: deny\n"}) {
    CAPTURE(more);
    CHECK(hash(plain + std::string{more}) != hash(plain));
  }
  CHECK(hash("egress: [{name: a, allow: any, until: 2099-01-01T00:00:00Z}]\n") != hash(plain));
  CHECK(hash("egress: [{name: a, allow: any, log: new}]\n") != hash(plain));
  // What is the default, or decides nothing, is the same policy.
  for (const std::string_view more :
       {"reload: revoke\n", "on_reload_error: keep\n", "require_tenant_policy: false\n",
        "tests: [{to: 10.0.0.1, port: tcp/1, expect: allow}]\n"}) {
    CAPTURE(more);
    CHECK(hash(plain + std::string{more}) == hash(plain));
  }
}

TEST_CASE("policy: times are RFC 3339, UTC, whole seconds, and one spelling each") {
  CHECK(parse_time("1970-01-01T00:00:00Z") == at(1970, 1, 1));
  CHECK(parse_time("2000-02-29T23:59:59Z") == at(2000, 2, 29, 86399s));
  CHECK(parse_time("9999-12-31T00:00:01Z") == at(9999, 12, 31, 1s));
  CHECK(to_string(at(2026, 10, 1, 43200s)) == "2026-10-01T12:00:00Z");
  CHECK(to_string(at(1969, 12, 31, 86399s)) == "1969-12-31T23:59:59Z");
  CHECK(to_string(at(7, 1, 1)) == "0007-01-01T00:00:00Z");
  for (const std::string_view text : {"",
                                      "now",
                                      "2026-10-01",
                                      "2026-10-01T12:00Z",
                                      "2026-10-01 12:00:00Z",
                                      "2026-10-01t12:00:00z",
                                      "2026-10-01T12:00:00",
                                      "2026-10-01T12:00:00+00:00",
                                      "2026-10-01T12:00:00.5Z",
                                      "2026-10-01T12:00:60Z",
                                      "2026-10-01T24:00:00Z",
                                      "2026-10-01T12:60:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-10-00T00:00:00Z",
                                      "2026-10-32T00:00:00Z",
                                      "26-10-01T12:00:00Z",
                                      "2026-10-01T12:00:00Z ",
                                      " 2026-10-01T12:00:00Z",
                                      "+026-10-01T12:00:00Z",
                                      "2026-1-01T12:00:00ZZ"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text).has_value());
  }
}

TEST_CASE("policy: how long a drain may take") {
  CHECK(parse_drain("revoke") == base::Duration{0});
  CHECK(parse_drain("drain 1s") == 1s);
  CHECK(parse_drain("drain 3600s") == 1h);
  CHECK(parse_drain("drain 60min") == 1h);
  for (const std::string_view text :
       {"", "drain", "drain ", "drain s", "drain 0s", "drain 00s", "drain 3601s", "drain 61min", "drain 30",
        "drain 30m", "drain  30s", "drain -1s", "drain 1.5s", "drain 99999999999s", "revoke 30s", "keep",
        "drain 1smin", "drain min"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_drain(text).has_value());
  }
}

TEST_CASE("policy: errors of times, logs and reload") {
  const auto rule = [](std::string_view keys) {
    return kHead + "egress:\n  - {name: a, " + std::string{keys} + "}\n";
  };
  check({
      {"no time", kHead + "expires: tomorrow\n", "3:10",
       "error P219: \"tomorrow\" is not a time; write UTC to the second, as in 2026-10-01T12:00:00Z"},
      {"no day of the calendar", rule("allow: any, until: 2027-02-29T00:00:00Z"), "4:34",
       "error P219: \"2027-02-29T00:00:00Z\" is no date or time of the calendar"},
      {"a time that is a list", rule("allow: any, until: [a]"), "4:34",
       "error P106: \"until\" must be a single value, not a list"},
      {"log", rule("allow: any, log: al"), "4:32",
       "error P204: log must be none, new or all, not \"al\"; did you mean \"all\"?"},
      {"log of a deny", rule("deny: any, log: all"), "4:26",
       "error P216: \"log\" in rule \"a\" does nothing: what is denied is always recorded"},
      {"reload", kHead + "reload: drain\n", "3:9",
       "error P204: reload must be revoke, or drain with a time from 1s to 60min as in `drain 30s`, not "
       "\"drain\""},
      {"reload misspelt", kHead + "reload: revok\n", "3:9",
       "error P204: reload must be revoke, or drain with a time from 1s to 60min as in `drain 30s`, not "
       "\"revok\"; did you mean \"revoke\"?"},
      {"on_reload_error", kHead + "on_reload_error: ignore\n", "3:18",
       "error P204: on_reload_error must be keep or deny, not \"ignore\""},
      {"require_tenant_policy", kHead + "require_tenant_policy: yes\n", "3:24",
       "error P204: require_tenant_policy must be false or true, not \"yes\""},
      {"a tenant's file is required", kHead + "require_tenant_policy: true\n", "3:1",
       "error P221: this file requires another below it; give the tenant's file by a second --policy"},
  });
  CHECK(messages({kHead + "require_tenant_policy: true\n", kHead}).empty());
}

TEST_CASE("policy: errors of host and guests") {
  check({
      {"no mapping", kHead + "host: eth0\n", "3:7",
       "error P106: \"host\" must be a mapping, not a single value"},
      {"nothing in it", kHead + "host: {}\n", "3:7",
       "error P213: \"host\" is empty; name uplinks or aliases, or remove the key"},
      {"misspelt", kHead + "host: {uplink: eth0}\n", "3:8",
       "error P103: unknown key \"uplink\" in \"host\"; did you mean \"uplinks\"?"},
      {"no uplink", kHead + "host: {uplinks: []}\n", "3:17",
       "error P213: \"uplinks\" is an empty list; name something or remove the key"},
      {"a long name", kHead + "host: {uplinks: abcdefghijklmnop}\n", "3:17",
       "error P220: \"abcdefghijklmnop\" is not the name of an interface: 1 to 15 printable characters, "
       "without space, / and :"},
      {"a path", kHead + "host: {uplinks: [a/b]}\n", "3:18",
       "error P220: \"a/b\" is not the name of an interface: 1 to 15 printable characters, without space, / "
       "and :"},
      {"a label of the days of ifconfig", kHead + "host: {uplinks: [\"eth0:1\"]}\n", "3:18",
       "error P220: \"eth0:1\" is not the name of an interface: 1 to 15 printable characters, without space, "
       "/ and :"},
      {"an uplink twice", kHead + "host: {uplinks: [eth0, eth0]}\n", "3:24",
       "warning P307: \"eth0\" is in this list already"},
      {"an alias that is a word", kHead + "host: {aliases: internet}\n", "3:17",
       "error P206: \"internet\" is a word; an alias of the host is an address or CIDR"},
      {"an alias with host bits", kHead + "host: {aliases: 10.0.0.1/8}\n", "3:17",
       "error P207: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8 or the single address 10.0.0.1?"},
      {"everything an alias", kHead + "host: {aliases: 0.0.0.0/0}\n", "3:17",
       "error P216: \"0.0.0.0/0\" would make every destination the host itself"},
      {"an alias that is named by address",
       kHead + "host: {aliases: 203.0.113.0/24}\negress:\n  - {name: a, allow: [any, 203.0.113.7]}\n", "5:5",
       "warning P302: 203.0.113.0/24 is an alias of this host, which rule \"a\" names by address; only the "
       "word "
       "`host` opens it"},
      {"guests is no mapping", kHead + "guests: blue\n", "3:9",
       "error P106: \"guests\" must be a mapping, not a single value"},
      {"guests without a tenant", kHead + "guests: {}\n", "3:9",
       "error P105: \"guests\" has no key \"tenant\"; it says whose guest this is"},
      {"a tenant with a bad name", kHead + "guests: {tenant: Blue}\n", "3:18",
       "error P202: tenant \"Blue\" must be 1 to 63 of a-z, 0-9 and -"},
  });
}

TEST_CASE("policy: the operator's keys belong to the first file only") {
  for (const std::string_view line : {"host: {uplinks: eth0}", "guests: {tenant: blue}", "reload: revoke",
                                      "on_reload_error: keep", "require_tenant_policy: true"}) {
    const std::string text{line};
    const auto key = text.substr(0, text.find(':'));
    CAPTURE(key);
    CHECK(messages({kHead, kHead + text + "\n"}) ==
          "b.yaml:3:1: error P210: only the first (the operator's) file may have the key \"" + key +
              "\"\n    3 | " + text + "\n      | ^" + std::string(key.size() - 1, '~') + "\n");
  }
}

TEST_CASE("policy: what has ended is warned about, and loads") {
  check({
      {"a file", kHead + "expires: 2020-01-01T00:00:00Z\n", "3:10",
       "warning P304: 2020-01-01T00:00:00Z has passed: the file denies everything"},
      {"a rule", kHead + "egress:\n  - {name: a, allow: any, until: 2020-01-01T00:00:00Z}\n", "4:34",
       "warning P304: 2020-01-01T00:00:00Z has passed: the rule matches nothing"},
  });
}

TEST_CASE("policy: all that is wrong is said at once, failing tests included") {
  const std::string wrong = "tests: [{to: internet, port: tcp/1, expect: allow}]\n";
  const auto text = messages({kHead + wrong, "version: 1\n", kHead + wrong});
  CHECK(text.starts_with("a.yaml:3:9: error P218: "));
  CHECK(text.find("b.yaml:1:1: error P105: ") != std::string::npos);
  CHECK(text.find("c.yaml:3:9: error P218: ") != std::string::npos);
}

TEST_CASE("policy: the caret stands under the character, whatever stands before it") {
  CHECK(messages({kHead + "egress: [{name: \"\u00e9\u4e2d\", alow: x}]\n"})
            .find("    3 | egress: [{name: \"\u00e9\u4e2d\", alow: x}]\n      |                 ^~~~\n") !=
        std::string::npos);
  CHECK(messages({kHead + "egress: [{name: \"\u00e9\u4e2d\", alow: x}]\n"})
            .find("      |                       ^~~~\n") != std::string::npos);
}

TEST_CASE("policy: common slips get a hint") {
  const auto rule = [](std::string_view keys) {
    return kHead + "egress:\n  - {name: a, " + std::string{keys} + "}\n";
  };
  const std::string forms = "write tcp, udp, icmp/echo, tcp/443 or udp/8000-8100";
  const auto no_port = [&](std::string_view text, std::string_view meant) {
    return "error P211: \"" + std::string{text} + "\" is not a protocol with ports; " + forms +
           (meant.empty() ? "" : "; did you mean \"" + std::string{meant} + "\"?");
  };
  const auto no_word = [](std::string_view text, std::string_view meant) {
    return "error P206: \"" + std::string{text} +
           "\" is neither a word, an address nor a CIDR; did you mean \"" + std::string{meant} + "\"?";
  };
  struct Slip {
    std::string keys;
    std::string_view place;
    std::string message;
  };
  for (const Slip& c : {
           Slip{"deny: localhost", "4:21", no_word("localhost", "host")},
           Slip{"deny: lan", "4:21", no_word("lan", "onlink")},
           Slip{"deny: all", "4:21", no_word("all", "any")},
           Slip{"deny: any, ports: 443", "4:33", no_port("443", "tcp/443")},
           Slip{"deny: any, ports: 53/udp", "4:33", no_port("53/udp", "udp/53")},
           Slip{"deny: any, ports: https", "4:33", no_port("https", "tcp/443")},
           Slip{"deny: any, ports: icmp", "4:33", no_port("icmp", "icmp/echo")},
           Slip{"deny: any, ports: \"tcp:443\"", "4:33", no_port("tcp:443", "tcp/443")},
           Slip{"deny: any, ports: sctp/9", "4:33", no_port("sctp/9", "")},
           Slip{"deny: 10.0.0.1:443", "4:21",
                "error P206: \"10.0.0.1:443\" is more than an address; what follows it belongs into "
                "\"ports\""},
           Slip{"deny: \"[::1]:443\"", "4:21",
                "error P206: \"[::1]:443\" is more than an address; what follows it belongs into \"ports\""},
           Slip{"deny: any, to: any", "4:26",
                "error P103: unknown key \"to\" in rule \"a\"; it belongs into an item of \"tests\""},
           Slip{"deny: any, mode: audit", "4:26",
                "error P103: unknown key \"mode\" in rule \"a\"; it belongs into the file's own keys"},
           Slip{"deny: any, rate: 1MB/s", "4:26",
                "error P103: unknown key \"rate\" in rule \"a\"; it belongs into \"limits\""},
       })
    check({{c.keys, rule(c.keys), c.place, c.message}});
  check({{"a rule's key at the top", kHead + "allow: any\n", "3:1",
          "error P103: unknown key \"allow\"; it belongs into a rule of \"egress\" or \"ingress\""}});
}
