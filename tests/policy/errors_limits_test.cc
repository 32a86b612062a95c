// As errors_test.cc: what the loader says about limits and ingress.
#include "tests/policy/testing.h"

using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

const std::string kHead = "version: 1\nname: x\n";

}  // namespace

TEST_CASE("policy: errors of limits") {
  struct LimitCase {
    std::string_view value;
    unsigned column;
    unsigned length;
    std::string_view message;
  };
  constexpr std::string_view kNumber = "is not a whole number of flows from 1 to 1000000";
  constexpr std::string_view kNew =
      "is not a number of new flows per time; write 20/s or 60/min, from 1 to 1000000";
  constexpr std::string_view kUnits = "is no unit of bytes; write B, KB, MB, GB, TB or KiB, MiB, GiB, TiB";
  const auto say = [](std::string_view text, std::string_view what) {
    return "P215: \"" + std::string{text} + "\" " + std::string{what};
  };
  const std::vector<std::pair<LimitCase, std::string>> cases{
      {{"{connection: 5}", 10, 10, ""},
       "P103: unknown key \"connection\" in \"limits\"; did you mean \"connections\"?"},
      {{"{dns_pins: 5}", 10, 8, ""},
       "P107: key \"dns_pins\" in \"limits\" comes with rules by name, which this version does not have"},
      {{"{}", 9, 1, ""}, "P213: \"limits\" is empty; name a limit or remove the key"},
      {{"5", 9, 1, ""}, "P106: \"limits\" must be a mapping, not a single value"},
      {{"{rate: [1MB/s]}", 16, 1, ""}, "P106: \"rate\" must be a single value, not a list"},
      {{"{connections: 0}", 23, 1, ""}, say("0", kNumber)},
      {{"{connections: -1}", 23, 2, ""}, say("-1", kNumber)},
      {{"{connections: 1.5}", 23, 3, ""}, say("1.5", kNumber)},
      {{"{connections: 007}", 23, 3, ""}, say("007", kNumber)},
      {{"{connections: 1000001}", 23, 7, ""}, say("1000001", kNumber)},
      {{"{connections: 99999999999999999999999}", 23, 23, ""}, say("99999999999999999999999", kNumber)},
      {{"{new: 20}", 15, 2, ""}, say("20", kNew)},
      {{"{new: 0/s}", 15, 3, ""}, say("0/s", kNew)},
      {{"{new: 20/h}", 15, 4, ""}, say("20/h", kNew)},
      {{"{new: 20/min/s}", 15, 8, ""}, say("20/min/s", kNew)},
      {{"{rate: 10MB}", 16, 4, ""}, say("10MB", "is not a rate; write bytes per second, as in 10MB/s")},
      {{"{rate: 10/s}", 16, 4, ""}, say("10/s", "is not a whole number with a unit, as in 10MB/s")},
      {{"{rate: 1.5MB/s}", 16, 7, ""}, say(".5MB", kUnits)},
      {{"{rate: MB/s}", 16, 4, ""}, say("MB/s", "is not a whole number with a unit, as in 10MB/s")},
      {{"{rate: 10mb/s}", 16, 6, ""}, say("mb", std::string{kUnits} + "; did you mean \"MB\"?")},
      {{"{rate: 10Mbit/s}", 16, 8, ""}, say("Mbit", kUnits)},
      {{"{rate: 999B/s}", 16, 6, ""}, say("999B/s", "is too little to work with; the least is 1000B/s")},
      {{"{rate: 0MB/s}", 16, 5, ""}, say("0MB/s", "is too little to work with; the least is 1000B/s")},
      {{"{rate: 2TB/s}", 16, 5, ""}, say("2TB/s", "is too much; leave the limit out if there is to be none")},
      {{"{bytes: 2GB/s}", 17, 5, ""}, say("GB/s", kUnits)},
      {{"{bytes: 0B}", 17, 2, ""},
       say("0B", "is too little to work with; to allow nothing, write a rule that denies")},
      {{"{bytes: 18446744073709551616B}", 17, 21, ""},
       say("18446744073709551616B", "is too much; leave the limit out if there is to be none")},
      {{"{bytes: 99999999TiB}", 17, 11, ""},
       say("99999999TiB", "is too much; leave the limit out if there is to be none")},
  };
  for (const auto& [c, message] : cases) {
    CAPTURE(c.value);
    CHECK(messages({kHead + "limits: " + std::string{c.value} + "\n"}) ==
          "a.yaml:3:" + std::to_string(c.column) + ": error " + message +
              "\n    3 | limits: " + std::string{c.value} + "\n      | " + std::string(c.column - 1, ' ') +
              "^" + std::string(c.length - 1, '~') + "\n");
  }
  CHECK(messages({kHead + "egress:\n  - {name: a, deny: any, limits: {bytes: 1B}}\n"}) ==
        "a.yaml:4:26: error P216: \"limits\" in rule \"a\" do nothing: it denies\n"
        "    4 |   - {name: a, deny: any, limits: {bytes: 1B}}\n"
        "      |                          ^~~~~~\n");
  CHECK(messages({kHead +
                  "limits: {rate: 1KB/s}\negress:\n  - {name: a, allow: any, limits: {rate: 1KiB/s}}\n"}) ==
        "a.yaml:5:27: warning P303: \"rate\" of rule \"a\" is never reached: the file's own in line 3 is "
        "lower\n"
        "    5 |   - {name: a, allow: any, limits: {rate: 1KiB/s}}\n"
        "      |                           ^~~~~~\n");
}

TEST_CASE("policy: rates of several files must fit together") {
  const std::string with_rate = kHead + "egress:\n  - {name: a, allow: any, limits: {rate: 1MB/s}}\n";
  CHECK(messages({with_rate, kHead + "limits: {rate: 1MB/s}\negress: []\n"}).empty());
  CHECK(messages({with_rate, "version: 1\nname: x\nmode: audit\n" + with_rate.substr(kHead.size())}).empty());
  CHECK(messages({with_rate, with_rate}) ==
        "b.yaml:4:27: error P217: rule \"a\" has a rate, and so has rule \"a\" in a.yaml:4; rates in rules "
        "belong into one file, others may limit the rate at their head\n"
        "    4 |   - {name: a, allow: any, limits: {rate: 1MB/s}}\n"
        "      |                           ^~~~~~\n");
  std::string many = kHead + "limits: {rate: 9MB/s}\negress:\n";
  for (int i = 0; i < 63; ++i)
    many += "  - {name: r" + std::to_string(i) + ", allow: 10.0.0." + std::to_string(i) +
            ", limits: {rate: 1MB/s}}\n";
  CHECK(messages({many}).empty());
  many += "ingress:\n  - {name: in, allow: host, limits: {rate: 1MB/s}}\n";
  CHECK(messages({many}).starts_with("a.yaml:5:33: error P108: more than 64 rates in all files together\n"));
}

TEST_CASE("policy: errors of ingress") {
  const auto at = [](unsigned column, unsigned length, std::string_view message, std::string_view keys) {
    return "a.yaml:4:" + std::to_string(column) + ": " + std::string{message} + "\n    4 |   - {" +
           std::string{keys} + "}\n      | " + std::string(column - 1, ' ') + "^" +
           std::string(length - 1, '~') + "\n";
  };
  struct IngressCase {
    std::string_view keys;
    unsigned column;
    unsigned length;
    std::string_view message;
  };
  for (const IngressCase& c : {
           IngressCase{"name: a, allow: guests", 22, 6,
                       "error P216: \"guests\" in ingress is not supported: no other guest can reach a "
                       "published port, "
                       "whatever a file says"},
           IngressCase{"name: a, allow: dns", 22, 3,
                       "error P216: \"dns\" starts no connections; in ingress write host, onlink, private, "
                       "internet, any or addresses"},
           IngressCase{
               "name: a, deny: metadata", 21, 8,
               "error P216: \"metadata\" starts no connections; in ingress write host, onlink, private, "
               "internet, any or addresses"},
           IngressCase{"name: a, allow: host, ports: [tcp/22, icmp/echo]", 44, 9,
                       "error P216: \"icmp/echo\" has no port to publish; write tcp or udp"},
           IngressCase{
               "name: a, allow: hostt", 22, 5,
               "error P206: \"hostt\" is neither a word, an address nor a CIDR; did you mean \"host\"?"},
           IngressCase{"name: a, alow: host", 5, 1,
                       "error P205: neither \"allow\" nor \"deny\" in rule \"a\"; write exactly one"},
           IngressCase{
               "name: a, allow: 127.0.0.1", 22, 9,
               "warning P302: 127.0.0.1/32 is loopback; a connection from there is the host's own, which "
               "only the word `host` lets in"},
           IngressCase{"name: a, allow: 224.0.0.0/4", 22, 11,
                       "warning P302: 224.0.0.0/4 is multicast (RFC 5771), which no rule opens"},
       }) {
    CAPTURE(c.keys);
    CHECK(messages({kHead + "ingress:\n  - {" + std::string{c.keys} + "}\n"})
              .starts_with(at(c.column, c.length, c.message, c.keys)));
  }
  CHECK(messages({kHead + "ingress: {name: a}\n"}) ==
        "a.yaml:3:10: error P106: \"ingress\" must be a list, not a mapping\n    3 | ingress: {name: a}\n"
        "      |          ^\n");
  CHECK(messages({kHead + "egress:\n  - {name: a, allow: any}\ningress:\n  - {name: a, allow: any}\n"}) ==
        "a.yaml:6:12: error P203: rule name \"a\" is already used in line 4\n    6 |   - {name: a, allow: "
        "any}\n"
        "      |            ^\n");
  CHECK(messages({kHead + "ingress:\n  - {name: a, allow: any}\n  - {name: b, allow: onlink}\n"})
            .starts_with("a.yaml:5:5: warning P301: rule \"b\" can never match"));
  // In ingress `host` belongs to every file, and what a neighbour has is no mistake.
  CHECK(messages({kHead, kHead + "ingress:\n  - {name: a, allow: [host, \"fe80::/10\"]}\n  - {name: b, deny: "
                                 "127.0.0.1}\n"})
            .empty());
}

TEST_CASE("policy: what a rule says in vain is warned about") {
  struct VainCase {
    std::string_view keys;
    unsigned column;
    std::string_view message;  // "": nothing is said
  };
  const std::string never = "P306: rule \"a\" can never match: ";
  const auto run = [](std::string_view list, const std::vector<std::pair<VainCase, std::string>>& cases) {
    for (const auto& [c, message] : cases) {
      CAPTURE(c.keys);
      const auto text =
          messages({kHead + std::string{list} + ":\n  - {name: a, " + std::string{c.keys} + "}\n"});
      const auto want =
          message.empty() ? std::string{} : "a.yaml:4:" + std::to_string(c.column) + ": warning " + message;
      CHECK(text.substr(0, text.find('\n')) == want);
    }
  };
  const std::string nothing = " takes nothing away: it is no part of what rule \"a\" names";
  run("egress",
      {
          {{"allow: internet, except: internet", 5, ""}, never + "\"except\" takes away all that it names"},
          {{"allow: 10.1.0.0/16, except: [10.0.0.0/8]", 5, ""},
           never + "\"except\" takes away all that it names"},
          {{"allow: any, except: [private, onlink]", 5, ""}, ""},
          {{"allow: [10.1.0.0/16, internet], except: 10.0.0.0/8", 5, ""}, ""},
          {{"allow: 10.0.0.0/8, except: 10.1.0.0/16", 5, ""}, ""},
          {{"allow: 10.0.0.0/8, except: 11.0.0.0/16", 42, ""}, "P306: \"11.0.0.0/16\"" + nothing},
          {{"allow: 10.0.0.0/8, except: [10.1.0.0/16, \"fd00::/8\"]", 56, ""},
           "P306: \"fd00::/8\"" + nothing},
          {{"deny: private, except: onlink", 38, ""}, "P306: \"onlink\"" + nothing},
          {{"allow: internet, except: host", 40, ""}, "P306: \"host\"" + nothing},
          {{"allow: 10.0.0.0/8, except: onlink", 5, ""}, ""},
          {{"allow: dns, except: 10.0.2.3", 35, ""}, "P306: \"10.0.2.3\"" + nothing},
          {{"allow: dns, ports: tcp/853", 5, ""},
           never + "`dns` answers at udp/53 and tcp/53, which are not among its ports"},
          {{"deny: dns, ports: icmp/echo", 5, ""},
           never + "`dns` answers at udp/53 and tcp/53, which are not among its ports"},
          {{"allow: dns, ports: tcp/50-60", 5, ""}, ""},
          {{"allow: internet, ports: [udp/53, tcp/853]", 5, ""},
           never + "`internet` leaves ports 53 and 853 out; write `dns` for the built-in forwarder, "
                   "or the addresses of a resolver"},
          {{"deny: internet, ports: [udp/53, tcp/853]", 5, ""}, ""},
          {{"allow: internet, ports: [udp/53, tcp/443]", 5, ""}, ""},
          {{"allow: [internet, 9.9.9.9], ports: [udp/53]", 5, ""}, ""},
          {{"allow: [any, internet]", 28, ""},
           "P307: \"internet\" is part of what stands before it in the same list"},
          {{"allow: [internet, any]", 27, ""}, ""},
          {{"allow: [10.0.0.0/8, 10.1.0.0/16]", 35, ""},
           "P307: \"10.1.0.0/16\" is part of 10.0.0.0/8 in the same list"},
          {{"allow: any, ports: [tcp, tcp/443]", 40, ""},
           "P307: \"tcp/443\" is part of \"tcp\" in the same list"},
          {{"allow: any, ports: [tcp/1-9, tcp/9-10, udp/1-9]", 39, ""}, ""},
      });
  run("ingress",
      {
          {{"allow: internet, ports: udp/53", 5, ""}, ""},
          {{"allow: host, except: host", 5, ""}, never + "\"except\" takes away all that it names"},
          {{"allow: host, except: onlink", 36, ""}, "P306: \"onlink\"" + nothing},
      });
}
