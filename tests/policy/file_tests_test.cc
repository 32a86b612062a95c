// `tests:` in policy files: what they ask, and what is said when the answer is another one.
#include "tests/policy/testing.h"

using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

// Rules in lines 4 and following, the test in line 12.
const std::string kFile = R"(version: 1
name: x
egress:
  - {name: no-mail, deny: any, ports: tcp/25}
  - {name: dns, allow: dns}
  - {name: web, allow: internet, ports: [tcp/443, icmp/echo]}
  - {name: db, allow: [10.20.0.0/16, "fd12::/16"], ports: tcp/5432}
  - {name: near, allow: [onlink, host, metadata, guests], ports: tcp/80}
ingress:
  - {name: ssh, allow: [host, onlink, 10.0.0.0/8], ports: tcp/22}
tests:
)";

std::string said(std::string_view test) {
  const auto text = messages({kFile + "  - {" + std::string{test} + "}\n"});
  constexpr std::string_view kPlace = "a.yaml:12:";
  if (!text.starts_with(kPlace)) return text;
  return text.substr(kPlace.size(), text.find('\n') - kPlace.size());
}

}  // namespace

TEST_CASE("policy: in-file tests that hold") {
  for (const std::string_view test : {
           "to: 1.1.1.1, port: tcp/443, expect: allow",
           "to: internet, port: tcp/443, expect: allow, rule: web",
           "to: internet, port: icmp/echo, expect: allow, rule: web",
           "to: \"2606:4700::1111\", port: tcp/443, expect: allow, rule: web",
           "to: internet, port: tcp/25, expect: deny, rule: no-mail, reason: rule-deny",
           "to: internet, port: udp/443, expect: deny, reason: no-rule",
           "to: 8.8.8.8, port: udp/53, expect: deny",
           "to: dns, port: udp/53, expect: allow, rule: dns",
           "to: dns, port: tcp/53, expect: allow",
           "to: private, port: tcp/5432, expect: deny",
           "to: 10.20.255.255, port: tcp/5432, expect: allow, rule: db",
           "to: \"::ffff:10.20.0.1\", port: tcp/5432, expect: allow, rule: db",
           "to: \"64:ff9b::10.20.0.1\", port: tcp/5432, expect: allow, rule: db",
           "to: \"fd12::1\", port: tcp/5432, expect: allow, rule: db",
           "to: onlink, port: tcp/80, expect: allow, rule: near",
           "to: host, port: tcp/80, expect: allow, rule: near",
           "to: host, port: tcp/81, expect: deny, reason: host-address",
           "to: guests, port: tcp/80, expect: allow, rule: near",
           "to: guests, port: tcp/81, expect: deny, reason: tenant-isolation",
           "to: metadata, port: tcp/80, expect: allow, rule: near",
           "to: 169.254.169.254, port: tcp/443, expect: deny, reason: metadata",
           "to: 127.0.0.1, port: tcp/443, expect: deny, reason: special-address",
           "to: \"64:ff9b:1:1::1\", port: tcp/443, expect: deny, reason: embedded-ipv4",
           "from: host, port: tcp/22, expect: allow, rule: ssh",
           "from: 10.1.2.3, port: tcp/22, expect: allow, rule: ssh",
           "from: onlink, port: tcp/22, expect: allow",
           "from: internet, port: tcp/22, expect: deny, reason: no-rule",
           "from: private, port: udp/22, expect: deny",
           "from: guests, port: tcp/22, expect: deny, reason: tenant-isolation",
           "from: \"2606:4700::1111\", port: tcp/22, expect: deny",
       }) {
    CAPTURE(test);
    CHECK(said(test) == "");
  }
}

TEST_CASE("policy: an in-file test that fails refuses the file and says what was decided, and by what") {
  const auto text = messages({kFile + "  - {to: internet, port: tcp/443, expect: deny}\n"});
  CHECK(
      text ==
      "a.yaml:12:5: error P218: the test expects deny, but tcp/443 to internet is allowed by rule \"web\" in "
      "line 6\n   12 |   - {to: internet, port: tcp/443, expect: deny}\n      |     ^\n");
  struct Case {
    std::string_view test;
    std::string_view message;
  };
  for (const Case& c : {
           Case{"to: 1.1.1.1, port: tcp/80, expect: allow",
                "the test expects allow, but tcp/80 to 1.1.1.1 is denied (no-rule)"},
           Case{
               "to: internet, port: tcp/25, expect: allow, rule: web",
               "the test expects allow by rule \"web\", but tcp/25 to internet is denied (rule-deny) by rule "
               "\"no-mail\" in line 4"},
           Case{"to: host, port: tcp/22, expect: allow",
                "the test expects allow, but tcp/22 to host is denied (host-address)"},
           Case{
               "to: dns, port: udp/53, expect: allow, rule: web",
               "the test expects allow by rule \"web\", but udp/53 to dns is allowed by rule \"dns\" in line "
               "5"},
           Case{"to: 127.0.0.1, port: icmp/echo, expect: deny, reason: no-rule",
                "the test expects deny (no-rule), but icmp/echo to 127.0.0.1 is denied (special-address)"},
           Case{"from: internet, port: tcp/22, expect: allow",
                "the test expects allow, but tcp/22 from internet is denied (no-rule)"},
           Case{"from: host, port: tcp/22, expect: deny",
                "the test expects deny, but tcp/22 from host is allowed by rule \"ssh\" in line 10"},
       }) {
    CAPTURE(c.test);
    CHECK(said(c.test) == "5: error P218: " + std::string{c.message});
  }
}

TEST_CASE("policy: in-file tests that ask nothing are errors") {
  struct Case {
    std::string_view test;
    std::string_view message;
  };
  for (const Case& c : {
           Case{"port: tcp/1, expect: deny",
                "5: error P222: neither \"to\" nor \"from\" in a test; write exactly one"},
           Case{"to: dns, from: host, port: tcp/53, expect: deny",
                "5: error P222: both \"to\" and \"from\" in a test; write exactly one"},
           Case{"to: host, expect: deny", "5: error P105: the test has no key \"port\""},
           Case{"to: host, port: tcp/1", "5: error P105: the test has no key \"expect\""},
           Case{"to: host, port: tcp/1, expect: denied",
                "37: error P204: expect must be deny or allow, not \"denied\""},
           Case{"to: host, port: tcp/1, expect: deny, reson: no-rule",
                "43: error P103: unknown key \"reson\" in a test; did you mean \"reason\"?"},
           Case{"to: any, port: tcp/1, expect: deny",
                "10: error P222: \"any\" is several places; ask for internet, private or onlink"},
           Case{"to: 10.0.0.0/8, port: tcp/1, expect: deny",
                "10: error P222: a test asks about one address, not about 10.0.0.0/8"},
           Case{"to: example.com, port: tcp/1, expect: deny",
                "10: error P209: names such as \"example.com\" are not supported yet in this version; write "
                "addresses or CIDRs"},
           Case{"to: hosts, port: tcp/1, expect: deny",
                "10: error P206: \"hosts\" is neither a word, an address nor a CIDR; did you mean \"host\"?"},
           Case{"to: host, port: tcp, expect: deny",
                "22: error P222: a test asks about one port, as in tcp/443, not about \"tcp\""},
           Case{"to: host, port: tcp/1-2, expect: deny",
                "22: error P222: a test asks about one port, as in tcp/443, not about \"tcp/1-2\""},
           Case{"to: host, port: 80, expect: deny",
                "22: error P211: \"80\" is not a protocol with ports; write tcp, udp, icmp/echo, tcp/443 or "
                "udp/8000-8100; did you mean \"tcp/80\"?"},
           Case{"to: dns, port: udp/853, expect: deny",
                "21: error P216: \"dns\" answers at udp/53 and tcp/53 only"},
           Case{"from: metadata, port: tcp/1, expect: deny",
                "12: error P216: \"metadata\" starts no connections"},
           Case{"from: host, port: icmp/echo, expect: deny",
                "24: error P216: \"icmp/echo\" has no port to publish"},
           Case{"to: host, port: tcp/1, expect: deny, rule: wep",
                "49: error P223: no rule \"wep\" in \"egress\"; did you mean \"web\"?"},
           Case{"from: host, port: tcp/1, expect: deny, rule: web",
                "51: error P223: no rule \"web\" in \"ingress\""},
           Case{"to: internet, port: tcp/443, expect: allow, reason: no-rule",
                "50: error P216: \"reason\" means nothing here: what is allowed has none"},
           Case{"to: host, port: tcp/1, expect: deny, reason: host",
                "51: error P204: reason must be no-rule, rule-deny, special-address, embedded-ipv4, "
                "host-address, metadata or tenant-isolation, not \"host\""},
       }) {
    CAPTURE(c.test);
    CHECK(said(c.test) == c.message);
  }
  CHECK(messages({"version: 1\nname: x\ntests: {to: host}\n"})
            .starts_with("a.yaml:3:8: error P106: \"tests\" must be a list, not a mapping\n"));
  CHECK(messages({"version: 1\nname: x\ntests: [host]\n"})
            .starts_with("a.yaml:3:9: error P106: a test must be a mapping, not a single value\n"));
  std::string many = "version: 1\nname: x\ntests:\n";
  for (int i = 0; i <= 1024; ++i) many += "  - {to: host, port: tcp/1, expect: deny}\n";
  CHECK(messages({many}).starts_with("a.yaml:4:3: error P108: more than 1024 tests\n"));
}

TEST_CASE("policy: an in-file test asks its own file, as if nothing in it had ended yet") {
  const std::string rule = "egress:\n  - {name: a, allow: internet, until: 2020-01-01T00:00:00Z}\n";
  const std::string test = "tests: [{to: internet, port: tcp/443, expect: allow, rule: a}]\n";
  const std::string head = "version: 1\nname: x\n";
  CHECK(messages({head + rule + test}).find("error") == std::string::npos);
  CHECK(messages({head + "expires: 2020-01-01T00:00:00Z\n" + rule + test}).find("error") ==
        std::string::npos);
  // Above and below it stands what denies everything.
  CHECK(messages({head, head + "egress: [{name: a, allow: internet}]\n" + test, head}).empty());
  // An audit file refuses nothing, and yet its test says what it would.
  CHECK(messages({head + "mode: audit\ntests: [{to: internet, port: tcp/443, expect: deny}]\n"}).empty());
  CHECK(messages(
            {head + "mode: audit\negress: []\n" + "tests: [{to: internet, port: tcp/443, expect: allow}]\n"})
            .starts_with("a.yaml:5:9: error P218: "));
}
