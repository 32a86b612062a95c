// Each thing the loader can say, once, in full: users and editors rely on these texts.
#include "policy/print.h"
#include "tests/policy/testing.h"

using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

struct Case {
  std::string_view name;
  std::string text;
  std::string want;
};

void check(const std::vector<Case>& cases) {
  for (const auto& c : cases) {
    CAPTURE(c.name);
    CHECK(messages({c.text}) == c.want);
  }
}

const std::string kHead = "version: 1\nname: x\n";

}  // namespace

TEST_CASE("policy: errors of the YAML subset") {
  check({
      {"not YAML", kHead + "egress: [\n",
       "a.yaml:4:1: error P101: not valid YAML: end of sequence flow not found\n"},
      {"a tab", kHead + "egress:\n\t- a\n",
       "a.yaml:4:2: error P101: not valid YAML: illegal block entry\n"
       "    4 |  - a\n      |  ^\n"},
      {"an empty file", "",
       "a.yaml:1:1: error P105: the file is empty; a policy needs at least `version` and `name`\n"},
      {"bytes that are no text", kHead + "description: \xff\n",
       "a.yaml:1:1: error P100: the file is not UTF-8 text\n"
       "    1 | version: 1\n      | ^\n"},
      {"a NUL", kHead + std::string("# \0\n", 4),
       "a.yaml:1:1: error P100: the file is not UTF-8 text\n"
       "    1 | version: 1\n      | ^\n"},
      {"an anchor", "version: 1\nname: &a x\n",
       "a.yaml:2:7: error P102: YAML anchors are not supported; repeat the value\n"
       "    2 | name: &a x\n      |       ^\n"},
      {"an alias", "version: 1\nname: &a x\ndescription: *a\n",
       "a.yaml:2:7: error P102: YAML anchors are not supported; repeat the value\n"
       "    2 | name: &a x\n      |       ^\n"
       "a.yaml:3:14: error P102: YAML aliases are not supported; repeat the value\n"
       "    3 | description: *a\n      |              ^\n"},
      {"a tag", "version: 1\nname: !!str x\n",
       "a.yaml:2:7: error P102: YAML tags are not supported; remove \"tag:yaml.org,2002:str\"\n"
       "    2 | name: !!str x\n      |       ^\n"},
      {"a merge key", kHead + "<<: {mode: audit}\n",
       "a.yaml:3:1: error P102: YAML merge keys are not supported; repeat the values\n"
       "    3 | <<: {mode: audit}\n      | ^~\n"},
      {"a directive", "%YAML 1.2\n---\n" + kHead,
       "a.yaml:1:1: error P102: YAML directives are not supported; remove the line\n"
       "    1 | %YAML 1.2\n      | ^\n"},
      {"a second document", kHead + "---\nname: y\n",
       "a.yaml:4:1: error P102: a second YAML document begins here; a file holds one policy\n"
       "    4 | name: y\n      | ^\n"},
      {"too deep", kHead + "egress: [[[[[[[[[]]]]]]]]]\n",
       "a.yaml:3:16: error P102: nested deeper than 8 levels; no policy needs that\n"
       "    3 | egress: [[[[[[[[[]]]]]]]]]\n      |                ^\n"},
      {"an unquoted star", kHead + "egress:\n  - {name: a, allow: *.example.com}\n",
       "a.yaml:4:22: error P102: an unquoted * starts a YAML alias; quote names that start with *\n"
       "    4 |   - {name: a, allow: *.example.com}\n      |                      ^\n"},
      {"a key twice", kHead + "name: y\n",
       "a.yaml:3:1: error P104: key \"name\" is already given in line 2\n    3 | name: y\n      | ^~~~\n"},
      {"a key that is a list", kHead + "? [a]\n: b\n",
       "a.yaml:3:3: error P106: a key must be a plain word\n    3 | ? [a]\n      |   ^\n"},
  });
}

TEST_CASE("policy: errors of the file's own keys") {
  check({
      {"a scalar instead of a mapping", "hello\n",
       "a.yaml:1:1: error P106: a policy file must be a mapping, not a single value\n    1 | hello\n      | "
       "^~~~~\n"},
      {"nothing required is there", "mode: audit\n",
       "a.yaml:1:1: error P105: the file has no key \"version\"; write `version: 1`\n"
       "    1 | mode: audit\n      | ^\n"
       "a.yaml:1:1: error P105: the file has no key \"name\"; every record carries it\n"
       "    1 | mode: audit\n      | ^\n"},
      {"unknown version", "version: 2\nname: x\n",
       "a.yaml:1:10: error P201: version \"2\" is not known; this program reads `version: 1`\n"
       "    1 | version: 2\n      |          ^\n"},
      {"version as text", "version: \"1\"\nname: x\n",
       "a.yaml:1:10: error P201: version \"1\" is not known; this program reads `version: 1`\n"
       "    1 | version: \"1\"\n      |          ^~~\n"},
      {"version with a leading zero", "version: 01\nname: x\n",
       "a.yaml:1:10: error P201: version \"01\" is not known; this program reads `version: 1`\n"
       "    1 | version: 01\n      |          ^~\n"},
      {"bad name", "version: 1\nname: Web Only\n",
       "a.yaml:2:7: error P202: name \"Web Only\" must be 1 to 63 of a-z, 0-9 and -\n"
       "    2 | name: Web Only\n      |       ^~~~~~~~\n"},
      {"unknown key with a near one", kHead + "egres: []\n",
       "a.yaml:3:1: error P103: unknown key \"egres\"; did you mean \"egress\"?\n    3 | egres: []\n      | "
       "^~~~~\n"},
      {"unknown key", kHead + "sandbox: 1\n",
       "a.yaml:3:1: error P103: unknown key \"sandbox\"\n    3 | sandbox: 1\n      | ^~~~~~~\n"},
      {"bad mode", kHead + "mode: audt\n",
       "a.yaml:3:7: error P204: mode must be enforce or audit, not \"audt\"; did you mean \"audit\"?\n"
       "    3 | mode: audt\n      |       ^~~~\n"},
      {"bad refuse", kHead + "refuse: silently\n",
       "a.yaml:3:9: error P204: refuse must be reject or drop, not \"silently\"\n"
       "    3 | refuse: silently\n      |         ^~~~~~~~\n"},
      {"a list where a value belongs", kHead + "mode: [audit]\n",
       "a.yaml:3:7: error P106: \"mode\" must be a single value, not a list\n    3 | mode: [audit]\n      |  "
       "     ^\n"},
      {"a key without a value", kHead + "egress:\n",
       "a.yaml:3:1: error P106: \"egress\" must be a list, not empty\n    3 | egress:\n      | ^~~~~~\n"},
      {"a long description", kHead + "description: " + std::string(1025, 'd') + "\n",
       "a.yaml:3:14: error P214: the description must be UTF-8 text of at most 1024 bytes\n    3 | "
       "description: " +
           std::string(147, 'd') + "\n      |              ^" + std::string(146, '~') + "\n"},
  });
}

TEST_CASE("policy: keys that come with rules by name are refused as such") {
  CHECK(messages({kHead + "dns: x\n"}) ==
        "a.yaml:3:1: error P107: key \"dns\" comes with rules by name, which this version does not have\n"
        "    3 | dns: x\n      | ^~~\n");
  for (const std::string_view key : {"tls", "resolves_to", "named"}) {
    CAPTURE(key);
    const std::string k{key};
    CHECK(messages({kHead + "egress:\n  - name: web\n    allow: internet\n    " + k + ": x\n"}) ==
          "a.yaml:6:5: error P107: key \"" + k +
              "\" in rule \"web\" comes with rules by name, which this version does not have\n    6 |     " +
              k + ": x\n      |     ^" + std::string(k.size() - 1, '~') + "\n");
  }
}

TEST_CASE("policy: errors of rules and their values") {
  const auto rule = [](std::string_view keys) {
    return kHead + "egress:\n  - {" + std::string{keys} + "}\n";
  };
  const auto at = [](unsigned column, std::string_view message, std::string_view keys, unsigned length) {
    return "a.yaml:4:" + std::to_string(column) + ": error " + std::string{message} + "\n    4 |   - {" +
           std::string{keys} + "}\n      | " + std::string(column - 1, ' ') + "^" +
           std::string(length - 1, '~') + "\n";
  };
  struct RuleCase {
    std::string_view keys;
    unsigned column;
    unsigned length;
    std::string_view message;
  };
  for (const RuleCase& c : {
           RuleCase{"allow: any", 5, 1, "P105: the rule has no key \"name\"; every record carries it"},
           RuleCase{"name: a", 5, 1, "P205: neither \"allow\" nor \"deny\" in rule \"a\"; write exactly one"},
           RuleCase{"name: a, allow: any, deny: any", 5, 1,
                    "P205: both \"allow\" and \"deny\" in rule \"a\"; write exactly one"},
           RuleCase{"name: a, allow: any, port: tcp", 27, 4,
                    "P103: unknown key \"port\" in rule \"a\"; did you mean \"ports\"?"},
           RuleCase{"name: A, allow: any", 12, 1, "P202: name \"A\" must be 1 to 63 of a-z, 0-9 and -"},
           RuleCase{"name: a, allow: []", 22, 1,
                    "P213: \"allow\" in rule \"a\" is an empty list; name something or remove the key"},
           RuleCase{"name: a, allow: {x: y}", 22, 1,
                    "P106: \"allow\" in rule \"a\" must be a list, not a mapping"},
           RuleCase{"name: a, allow: [[any]]", 23, 1,
                    "P106: an item of \"allow\" in rule \"a\" must be a single value, not a list"},
           RuleCase{"name: a, allow: intrnet", 22, 7,
                    "P206: \"intrnet\" is neither a word, an address nor a CIDR; did you mean \"internet\"?"},
           RuleCase{"name: a, allow: everything", 22, 10,
                    "P206: \"everything\" is neither a word, an address nor a CIDR"},
           RuleCase{"name: a, allow: 10.0.0.07", 22, 9,
                    "P206: \"10.0.0.07\" is not an address; write it in full, without leading zeros"},
           RuleCase{"name: a, allow: 10.1", 22, 4,
                    "P206: \"10.1\" is not an address; write it in full, without leading zeros"},
           RuleCase{"name: a, allow: 0x7f.1", 22, 6,
                    "P206: \"0x7f.1\" is not an address; write it in full, without leading zeros"},
           RuleCase{"name: a, allow: \"fe80::1%eth0\"", 22, 14,
                    "P206: \"fe80::1%eth0\" is not an address; write it in full, without leading zeros"},
           RuleCase{"name: a, allow: \"::ffff:10.0.0.1\"", 22, 17,
                    "P206: ::ffff:10.0.0.1 is an IPv4 address in IPv6 form; write the IPv4 address"},
           RuleCase{
               "name: a, allow: 10.0.0.5/8", 22, 10,
               "P207: 10.0.0.5/8 has host bits set; did you mean 10.0.0.0/8 or the single address 10.0.0.5?"},
           RuleCase{"name: a, allow: 10.0.0.0/33", 22, 11,
                    "P208: prefix length \"33\" is not a number from 0 to 32"},
           RuleCase{"name: a, allow: \"2001:db8::/129\"", 22, 16,
                    "P208: prefix length \"129\" is not a number from 0 to 128"},
           RuleCase{"name: a, allow: 10.0.0.0/", 22, 9,
                    "P208: prefix length \"\" is not a number from 0 to 32"},
           RuleCase{"name: a, allow: 10.0.0.0/08", 22, 11,
                    "P208: prefix length \"08\" is not a number from 0 to 32"},
           RuleCase{"name: a, allow: example.com", 22, 11,
                    "P209: names such as \"example.com\" are not supported yet in this version; write "
                    "addresses or CIDRs"},
           RuleCase{"name: a, allow: \"**.example.com\"", 22, 16,
                    "P209: names such as \"**.example.com\" are not supported yet in this version; write "
                    "addresses or "
                    "CIDRs"},
           RuleCase{"name: a, allow: any, ports: []", 34, 1,
                    "P213: \"ports\" in rule \"a\" is an empty list; name something or remove the key"},
           RuleCase{"name: a, allow: any, ports: 443", 34, 3,
                    "P211: \"443\" is not a protocol with ports; write tcp, udp, icmp/echo, tcp/443 or "
                    "udp/8000-8100; did you mean \"tcp/443\"?"},
           RuleCase{"name: a, allow: any, ports: sctp/1", 34, 6,
                    "P211: \"sctp/1\" is not a protocol with ports; write tcp, udp, icmp/echo, tcp/443 or "
                    "udp/8000-8100"},
           RuleCase{"name: a, allow: any, ports: tcp/0", 34, 5,
                    "P211: \"tcp/0\" is not a port from 1 to 65535 or a range; write tcp, udp, icmp/echo, "
                    "tcp/443 or "
                    "udp/8000-8100"},
           RuleCase{"name: a, allow: any, ports: tcp/0443", 34, 8,
                    "P211: \"tcp/0443\" is not a port from 1 to 65535 or a range; write tcp, udp, icmp/echo, "
                    "tcp/443 or "
                    "udp/8000-8100"},
           RuleCase{"name: a, allow: any, ports: tcp/65536", 34, 9,
                    "P211: \"tcp/65536\" is not a port from 1 to 65535 or a range; write tcp, udp, "
                    "icmp/echo, tcp/443 "
                    "or udp/8000-8100"},
           RuleCase{"name: a, allow: any, ports: tcp/443-80", 34, 10,
                    "P212: port range 443-80 is reversed; write 80-443"},
       }) {
    CAPTURE(c.keys);
    CHECK(messages({rule(c.keys)}) == at(c.column, c.message, c.keys, c.length));
  }
  CHECK(messages({kHead + "egress:\n  - {name: a, deny: any}\n  - {name: a, deny: host}\n"}) ==
        "a.yaml:5:12: error P203: rule name \"a\" is already used in line 4\n    5 |   - {name: a, deny: "
        "host}\n"
        "      |            ^\n");
  CHECK(messages({kHead + "egress:\n  - internet\n"}) ==
        "a.yaml:4:5: error P106: a rule must be a mapping, not a single value\n    4 |   - internet\n"
        "      |     ^~~~~~~~\n");
}

TEST_CASE("policy: limits of size are errors, not truncation") {
  std::string rules = kHead + "egress:\n";
  for (int i = 0; i <= 4096; ++i) rules += "  - {name: r" + std::to_string(i) + ", deny: any}\n";
  CHECK(messages({rules}) ==
        "a.yaml:4:3: error P108: more than 4096 rules in the file\n    4 |   - {name: r0, deny: any}\n      "
        "|   ^\n");
  std::string both = kHead + "egress:\n";
  for (int i = 0; i < 4000; ++i)
    both +=
        "  - {name: r" + std::to_string(i) + ", deny: 10.0.0.1, ports: tcp/" + std::to_string(i + 1) + "}\n";
  CHECK(messages({both}).empty());
  both += "ingress:\n";
  for (int i = 0; i < 97; ++i) both += "  - {name: s" + std::to_string(i) + ", deny: any}\n";
  CHECK(messages({both}).starts_with("a.yaml:4005:3: error P108: more than 4096 rules in the file\n"));
  std::string items = kHead + "egress:\n  - name: a\n    deny:\n";
  for (int i = 0; i <= 256; ++i)
    items += "    - 10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + "\n";
  CHECK(messages({items}) ==
        "a.yaml:6:5: error P108: \"deny\" in rule \"a\" has more than 256 items; split the rule\n"
        "    6 |     - 10.0.0.0\n      |     ^\n");
  std::vector<Source> files(9, Source{"f.yaml", kHead});
  CHECK(render(load(files).diagnostics) == "--policy:1:1: error P108: given 9 times; 8 is the most\n");
}

TEST_CASE("policy: a file that is wrong everywhere gets a hundred messages and a count") {
  std::string text = kHead;
  for (int i = 0; i < 40000; ++i) text += "k" + std::to_string(i % 1000) + ":\n";
  const std::array sources{Source{"a.yaml", text}};
  const auto loaded = load(sources);
  CHECK_FALSE(loaded.policy.has_value());
  REQUIRE(loaded.diagnostics.size() == Report::kMaxErrors + 1);
  CHECK(render(std::span{loaded.diagnostics}.last(1)) ==
        "a.yaml:1:1: error P108: and 38900 more errors that are not shown\n");
}

TEST_CASE("policy: guarded words belong to the first file only") {
  const std::string first = kHead + "egress:\n  - {name: a, allow: host}\n";
  CHECK(messages({first}).empty());
  for (const std::string_view word : {"host", "guests", "metadata"}) {
    CAPTURE(word);
    const std::string w{word};
    for (const std::string_view key : {"allow", "deny"}) {
      const std::string line = "  - {name: a, " + std::string{key} + ": " + w + "}";
      const auto column = line.find(w) + 1;
      CHECK(messages({first, kHead + "egress:\n" + line + "\n"}) ==
            "b.yaml:4:" + std::to_string(column) +
                ": error P210: only the first (the operator's) file may name \"" + w + "\"\n    4 | " + line +
                "\n      | " + std::string(column - 1, ' ') + "^" + std::string(w.size() - 1, '~') + "\n");
    }
  }
}

TEST_CASE("policy: all errors of all files are reported at once, by position") {
  CHECK(
      messages({"version: 2\nname: x\nmod: audit\negress:\n  - {name: a, alow: any, ports: tcp/0}\n",
                "version: 1\nname: y\nmode: off\n"}) ==
      "a.yaml:1:10: error P201: version \"2\" is not known; this program reads `version: 1`\n"
      "    1 | version: 2\n      |          ^\n"
      "a.yaml:3:1: error P103: unknown key \"mod\"; did you mean \"mode\"?\n    3 | mod: audit\n      | ^~~\n"
      "a.yaml:5:5: error P205: neither \"allow\" nor \"deny\" in rule \"a\"; write exactly one\n"
      "    5 |   - {name: a, alow: any, ports: tcp/0}\n      |     ^\n"
      "a.yaml:5:15: error P103: unknown key \"alow\" in rule \"a\"; did you mean \"allow\"?\n"
      "    5 |   - {name: a, alow: any, ports: tcp/0}\n      |               ^~~~\n"
      "a.yaml:5:33: error P211: \"tcp/0\" is not a port from 1 to 65535 or a range; write tcp, udp, "
      "icmp/echo, tcp/443 "
      "or udp/8000-8100\n"
      "    5 |   - {name: a, alow: any, ports: tcp/0}\n      |                                 ^~~~~\n"
      "b.yaml:3:7: error P204: mode must be enforce or audit, not \"off\"\n    3 | mode: off\n      |       "
      "^~~\n");
}

TEST_CASE("policy: a message never passes control bytes of the file to the terminal") {
  const auto text = messages({kHead + "\"a\\e[31mb\\x7f\\x9b\": 1\n"});
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\x7f') == std::string::npos);
  CHECK(text.find("\xc2\x9b") == std::string::npos);
  CHECK(text.starts_with("a.yaml:3:1: error P103: unknown key \"a?[31mb???\"\n"));
}

TEST_CASE("policy: rules that can do nothing are warned about") {
  check({
      {"shadowed by a wider deny",
       kHead + "egress:\n  - {name: all, deny: any}\n  - {name: web, allow: internet, ports: tcp/443}\n",
       "a.yaml:5:5: warning P301: rule \"web\" can never match: all of it is decided by \"all\" in line 4, "
       "which denies; the first match decides\n"
       "    5 |   - {name: web, allow: internet, ports: tcp/443}\n      |     ^\n"},
      {"shadowed CIDR",
       kHead + "egress:\n  - {name: net, allow: 10.0.0.0/8}\n  - {name: db, allow: 10.20.5.0/24, ports: "
               "tcp/5432}\n",
       "a.yaml:5:5: warning P301: rule \"db\" can never match: all of it is decided by \"net\" in line 4\n"
       "    5 |   - {name: db, allow: 10.20.5.0/24, ports: tcp/5432}\n      |     ^\n"},
      {"an except keeps the later rule alive",
       kHead + "egress:\n  - {name: net, allow: 10.0.0.0/8, except: 10.1.0.0/16}\n  - {name: db, deny: "
               "10.0.0.0/9}\n",
       ""},
      {"other ports",
       kHead + "egress:\n  - {name: a, deny: any, ports: tcp}\n  - {name: b, allow: any, ports: udp}\n", ""},
      {"a deny after an allow by internet still covers DNS ports",
       kHead + "egress:\n  - {name: a, allow: internet}\n  - {name: b, deny: internet}\n", ""},
      {"loopback", kHead + "egress:\n  - {name: a, allow: 127.0.0.1}\n",
       "a.yaml:4:22: warning P302: 127.0.0.1/32 is loopback (RFC 1122), which no rule opens\n"
       "    4 |   - {name: a, allow: 127.0.0.1}\n      |                      ^~~~~~~~~\n"},
      {"metadata", kHead + "egress:\n  - {name: a, allow: 169.254.169.254}\n",
       "a.yaml:4:22: warning P302: 169.254.169.254/32 is a metadata endpoint (most clouds), which only the "
       "word `metadata` "
       "opens\n    4 |   - {name: a, allow: 169.254.169.254}\n      |                      "
       "^~~~~~~~~~~~~~~\n"},
      {"NAT64", kHead + "egress:\n  - {name: a, allow: \"64:ff9b::/96\"}\n",
       "a.yaml:4:22: warning P302: 64:ff9b::/96 is an IPv4 address in IPv6 form; the IPv4 address decides, "
       "so write that\n"
       "    4 |   - {name: a, allow: \"64:ff9b::/96\"}\n      |                      ^~~~~~~~~~~~~~\n"},
      {"everything is fine",
       kHead + "egress:\n  - {name: a, allow: [192.0.2.1, 198.18.0.0/15, 0.0.0.0/0, \"::/0\"]}\n", ""},
  });
}
