#include "app/forward_spec.h"

#include <doctest/doctest.h>

#include <initializer_list>

#include "app/options.h"

namespace cordon::app {
namespace {

std::string text_of(const ForwardSpec& spec) {
  if (spec.none) return "none";
  std::string out = spec.address ? to_string(*spec.address) : "*";
  if (!spec.interface.empty()) out += "%" + spec.interface;
  for (const PortRange& range : spec.ranges) {
    out += " " + std::to_string(range.first) + "-" + std::to_string(range.last) + ">" +
           (range.to ? to_string(*range.to) + "/" : "") + std::to_string(range.target);
    if (range.weak) out += "?";
  }
  return out;
}

TEST_CASE("forward spec: what is written becomes ranges") {
  struct Case {
    std::string_view spec;
    std::string_view ranges;  // ADDRESS%IF FIRST-LAST>TARGET...; ? = all
  };
  const Case cases[] = {
      {"none", "none"},
      {"22", "* 22-22>22"},
      {"22,80", "* 22-22>22 80-80>80"},
      {"8080:80", "* 8080-8080>80"},
      {"22-80", "* 22-80>22"},
      {"22-80:32-90", "* 22-80>32"},
      {"22-80:32", "* 22-80>32"},
      {"1-65535", "* 1-65535>1"},
      {"192.0.2.1/22", "192.0.2.1 22-22>22"},
      {"192.0.2.1%eth0/22,23:24", "192.0.2.1%eth0 22-22>22 23-23>24"},
      {"*%eth0/22", "*%eth0 22-22>22"},
      {"%eth0/22", "*%eth0 22-22>22"},
      {"*/22", "* 22-22>22"},
      {"0.0.0.0/22", "0.0.0.0 22-22>22"},
      {"::/22", ":: 22-22>22"},
      {"[::]/22", ":: 22-22>22"},
      {"2001:db8::1/22", "2001:db8::1 22-22>22"},
      {"[2001:db8::1]%eth0/22:23", "2001:db8::1%eth0 22-22>23"},
      {"fe80::1%eth0/22", "fe80::1%eth0 22-22>22"},
      {"80:10.0.2.15", "* 80-80>10.0.2.15/80"},
      {"80-81:10.0.2.15/8080-8081", "* 80-81>10.0.2.15/8080"},
      {"80:10.0.2.15/8080", "* 80-80>10.0.2.15/8080"},
      {"80:[fd00::15]/8080", "* 80-80>fd00::15/8080"},
      {"80:fd00::15", "* 80-80>fd00::15/80"},
      {"127.0.0.1/80:10.0.2.15/8080", "127.0.0.1 80-80>10.0.2.15/8080"},
      {"::1/80:fd00::15/8080", "::1 80-80>fd00::15/8080"},
      {"all", "* 1-65535>1?"},
      {"all:10.0.2.15", "* 1-65535>10.0.2.15/1?"},
      {"192.0.2.1/all,~22", "192.0.2.1 1-21>1? 23-65535>23?"},
      {"~20000-20010", "* 1-19999>1? 20011-65535>20011?"},
      {"~1,~65535", "* 2-65534>2?"},
      {"2000-5000,~3000-3010", "* 2000-2999>2000 3011-5000>3011"},
      {"22-80:32-90,~50", "* 22-49>32 51-80>61"},
      {"10-20,~15-30,~5-11", "* 12-14>12"},
      {"10-20,~12-18,~13-14", "* 10-11>10 19-20>19"},
      {"10,20,~10", "* 20-20>20"},
      {"80,all,~80", "* 1-79>1? 81-65535>81?"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.spec);
    const auto spec = parse_forward_spec(row.spec);
    if (!spec) FAIL(spec.error().message);
    CHECK(text_of(*spec) == row.ranges);
  }
}

TEST_CASE("forward spec: an error points at its character") {
  struct Case {
    std::string_view spec;
    std::size_t column;
    std::string_view message;
  };
  const Case cases[] = {
      {"", 0, "a port is missing"},
      {"x", 0, "not a digit"},
      {"80x", 2, "not a digit"},
      {"0", 0, "port 0"},
      {"65536", 0, "up to 65535"},
      {"99999999999999999999999", 0, "up to 65535"},
      {"80,", 3, "a port is missing"},
      {",80", 0, "a port is missing"},
      {"80,,81", 3, "a port is missing"},
      {"80-", 3, "a port number is missing"},
      {"-80", 0, "a port number is missing"},
      {"80-79", 3, "ends before it begins"},
      {"80-90-95", 5, "not a digit"},
      {"80:", 3, "a port or an address is missing"},
      {"80:0", 3, "port 0"},
      {"80:x", 3, "not a port and not an IP address"},
      {"80-81:90-92", 6, "differ in size"},
      {"80-90:65530", 6, "past 65535"},
      {"80:10.0.2.15/", 13, "a port number is missing"},
      {"80:10.0.2.15/x", 13, "not a digit"},
      {"80:10.0.2/80", 3, "not a port and not an IP address"},
      {"80:[10.0.2.15]", 3, "not a port and not an IP address"},
      {"10.0.2/80", 0, "not an address to listen on"},
      {"eth0/80", 0, "not an address to listen on"},
      {"/80", 0, "an address is missing"},
      {"*%/80", 2, "an interface name is missing"},
      {"%interface-too-long/80", 1, "at most 15"},
      {"224.0.0.1/80", 0, "multicast"},
      {"127.0.0.1/", 10, "a port is missing"},
      {"127.0.0.1/80,[::1]/81", 13, "one address serves the whole list"},
      {"127.0.0.1/80,127.0.0.2/81", 13, "one address serves the whole list"},
      {"auto", 0, "not supported yet"},
      {"22,auto", 3, "not supported yet"},
      {"22,none", 3, "none stands alone"},
      {"none,22", 0, "none stands alone"},
      {"~", 1, "a port number is missing"},
      {"~80:90", 3, "not a digit"},
      {"80,~80", 0, "nothing is left"},
      {"all:80", 4, "all keeps its ports"},
      {"all,~1-65535", 0, "nothing is left"},
      {"80 ", 2, "not a digit"},
      {"+80", 0, "not a digit"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.spec);
    const auto spec = parse_forward_spec(row.spec);
    REQUIRE_FALSE(spec.has_value());
    CAPTURE(spec.error().message);
    CHECK(spec.error().column == row.column);
    CHECK(spec.error().message.find(row.message) != std::string::npos);
  }
  CHECK(describe("--tcp-ports", "80-", {3, "a port number is missing"}) ==
        "--tcp-ports: a port number is missing (character 4)\n  80-\n     ^");
}

std::expected<Invocation, UsageError> parse_with(std::initializer_list<const char*> words) {
  std::vector<std::string> arguments{"run"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  arguments.insert(arguments.end(), {"--", "true"});
  return parse(arguments);
}

TEST_CASE("forward options: rules lead to the guest's address of the family that listens") {
  struct Case {
    std::string_view name;
    std::initializer_list<const char*> words;
    std::string_view address;
    bool dual;
    std::string_view v4, v6;
  };
  const Case cases[] = {
      {"both families", {"-t", "80"}, "::", true, "10.0.2.15", "fd00:c0:2d::15"},
      {"long name", {"--udp-ports=80"}, "::", true, "10.0.2.15", "fd00:c0:2d::15"},
      {"IPv4 alone", {"-t", "0.0.0.0/80"}, "0.0.0.0", false, "10.0.2.15", ""},
      {"IPv6 alone", {"-u", "[::]/80"}, "::", false, "", "fd00:c0:2d::15"},
      {"no IPv6 for the guest", {"-t", "80", "--no-ipv6"}, "0.0.0.0", false, "10.0.2.15", ""},
      {"no IPv4 for the guest", {"-t", "80", "--no-ipv4"}, "::", false, "", "fd00:c0:2d::15"},
      {"its target's family", {"-t", "80:10.0.2.15"}, "0.0.0.0", false, "10.0.2.15", ""},
      {"a further address of the guest",
       {"-t", "80:10.0.2.20", "--address", "10.0.2.15/24", "--address", "10.0.2.20/24"},
       "0.0.0.0",
       false,
       "10.0.2.20",
       ""},
      {"another address of the guest",
       {"-t", "80:10.9.0.7", "--address", "10.9.0.7/24"},
       "0.0.0.0",
       false,
       "10.9.0.7",
       ""},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    const auto parsed = parse_with(row.words);
    if (!parsed) FAIL(parsed.error().message);
    const auto& forwards = std::get<RunOptions>(*parsed).forwards;
    REQUIRE(forwards.size() == 1);
    CHECK(to_string(forwards[0].address) == row.address);
    CHECK(forwards[0].dual_stack == row.dual);
    CHECK((forwards[0].target_v4 ? to_string(*forwards[0].target_v4) : "") == row.v4);
    CHECK((forwards[0].target_v6 ? to_string(*forwards[0].target_v6) : "") == row.v6);
  }
}

TEST_CASE("forward options: what contradicts is refused, and both are named") {
  struct Case {
    std::string_view name;
    std::initializer_list<const char*> words;
    std::initializer_list<std::string_view> says;  // empty: accepted
  };
  const Case cases[] = {
      {"the same port twice", {"-t", "80", "-t", "80"}, {"80 is in it twice"}},
      {"twice in one list", {"-t", "80,80"}, {"port 80 is in it twice"}},
      {"a range over a port",
       {"-t", "8000-8100", "-t", "8080:80"},
       {"--tcp-ports 8080:80", "--tcp-ports 8000-8100", "port 8080", "~8080"}},
      {"all and one", {"-t", "all", "-t", "22"}, {"--tcp-ports all", "--tcp-ports 22"}},
      {"every address and one", {"-t", "8080", "-t", "127.0.0.1/8080"}, {"127.0.0.1/8080"}},
      {"IPv4's wildcard and an address", {"-u", "0.0.0.0/53", "-u", "127.0.0.1/53"}, {"--udp-ports"}},
      {"one interface or any", {"-t", "%eth0/80", "-t", "80"}, {"%eth0/80"}},
      {"none after a rule", {"-t", "80", "-t", "none"}, {"--tcp-ports none", "--tcp-ports 80"}},
      {"none before a rule", {"-t", "none", "-t", "80"}, {}},
      {"none for the other protocol", {"-t", "80", "-u", "none"}, {}},
      {"two protocols", {"-t", "80", "-u", "80"}, {}},
      {"two wildcards of two families", {"-t", "0.0.0.0/80", "-t", "::/80"}, {}},
      {"two addresses", {"-t", "127.0.0.1/80", "-t", "127.0.0.2/80"}, {}},
      {"two interfaces", {"-t", "%eth0/80", "-t", "%eth1/80"}, {}},
      {"excluded and given apart", {"-t", "8000-8100,~8080", "-t", "8080:80"}, {}},
      {"a target that is not the guest's", {"-t", "80:10.0.2.16"}, {"10.0.2.16", "10.0.2.15"}},
      {"a target of the other family", {"-t", "127.0.0.1/80:fd00:c0:2d::15"}, {"one family"}},
      {"a family that is left out", {"-t", "::1/80", "--no-ipv6"}, {"--no-ipv6"}},
      {"a syntax error", {"-t", "80-"}, {"--tcp-ports: ", "\n  80-\n     ^"}},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    const auto parsed = parse_with(row.words);
    CHECK(parsed.has_value() == (row.says.size() == 0));
    if (parsed) continue;
    CAPTURE(parsed.error().message);
    for (const auto part : row.says) CHECK(parsed.error().message.find(part) != std::string::npos);
  }
}

}  // namespace
}  // namespace cordon::app
