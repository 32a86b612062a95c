#include "app/options_lan.h"

#include <doctest/doctest.h>

#include <initializer_list>

#include "app/guest_sources.h"
#include "app/host_addressing.h"

namespace cordon::app {
namespace {

using namespace std::chrono_literals;
using Words = std::initializer_list<const char*>;

std::vector<std::string> line(Words words) {
  std::vector<std::string> all{"run"};
  all.insert(all.end(), words.begin(), words.end());
  all.insert(all.end(), {"--", "true"});
  return all;
}

GuestPlan plan(Words words) {
  const auto invocation = parse(line(words));
  if (!invocation) FAIL(invocation.error().message);
  return std::get<RunOptions>(*invocation).guest;
}

std::string mistake(Words words) {
  const auto invocation = parse(line(words));
  REQUIRE_FALSE(invocation);
  return invocation.error().message;
}

TEST_CASE("lan options: by default the guest is configured and every service answers, without SLAAC") {
  const auto guest = plan({});
  CHECK(guest.configure);
  CHECK(guest.services.neighbours);
  CHECK(guest.services.dhcp);
  CHECK(guest.services.dhcpv6);
  CHECK(guest.services.router);
  CHECK_FALSE(guest.services.unsolicited);
  CHECK_FALSE(guest.services.slaac);
  CHECK(guest.services.lease_seconds == 86400);
  CHECK(guest.services.search.empty());
}

TEST_CASE("lan options: which services a switch turns off") {
  struct Case {
    std::string_view name;
    Words words;
    bool neighbours, dhcp, dhcpv6, router, slaac;
  };
  for (const Case& c :
       {Case{"bare interface", {"--no-config-net"}, true, true, true, true, true},
        Case{"no DHCP", {"--no-config-net", "--no-dhcp"}, true, false, true, true, true},
        Case{"no DHCPv6", {"--no-config-net", "--no-dhcpv6"}, true, true, false, true, true},
        Case{"no RA", {"--no-config-net", "--no-ra"}, true, true, true, false, false},
        Case{"no NDP: no RA either", {"--no-config-net", "--no-ndp"}, false, true, true, false, false},
        Case{"no IPv6", {"--no-config-net", "--no-ipv6"}, true, true, false, false, false},
        Case{"no IPv4", {"--no-config-net", "--no-ipv4"}, true, false, true, true, true},
        Case{"not a /64", {"--no-config-net", "--address", "fd00::15/80"}, true, true, true, true, false}}) {
    CAPTURE(c.name);
    const auto services = plan(c.words).services;
    CHECK(services.neighbours == c.neighbours);
    CHECK(services.dhcp == c.dhcp);
    CHECK(services.dhcpv6 == c.dhcpv6);
    CHECK(services.router == c.router);
    CHECK(services.slaac == c.slaac);
  }
}

TEST_CASE("lan options: several addresses, the first of each family leads") {
  const auto guest = plan({"--address", "10.1.0.5/16", "--address", "fd00::5/64", "--address", "192.0.2.9/32",
                           "--address=10.1.0.6/16"});
  REQUIRE(guest.ipv4);
  CHECK(net::to_string(guest.ipv4->address) == "10.1.0.5");
  CHECK(net::to_string(guest.ipv4->gateway) == "10.1.0.2");
  REQUIRE(guest.ipv4->more.size() == 2);
  CHECK(net::to_string(guest.ipv4->more[0].address) == "192.0.2.9");
  CHECK(guest.ipv4->more[0].length == 32);
  CHECK(guest.ipv4->is_guest(*net::parse_ip("10.1.0.6")));
  CHECK_FALSE(guest.ipv4->is_guest(*net::parse_ip("10.1.0.7")));
  CHECK(guest.ipv6->more.empty());
  // Gateway and name server keep clear of all of them.
  const auto crowded =
      plan({"--address", "10.1.0.5/16", "--address", "10.1.0.2/16", "--address", "10.1.0.3/16"});
  CHECK(net::to_string(crowded.ipv4->gateway) == "10.1.0.4");
  CHECK(net::to_string(crowded.ipv4->dns) == "10.1.0.6");
}

TEST_CASE("lan options: a gateway outside of the subnet, where that makes sense") {
  const auto cloud = plan({"--address", "10.1.0.5/32", "--gateway", "192.0.2.1"});
  CHECK(net::to_string(cloud.ipv4->gateway) == "192.0.2.1");
  CHECK(net::to_string(cloud.ipv4->dns) == "192.0.2.1");
  const auto router = plan({"--address", "2001:db8::5/64", "--gateway", "fe80::1"});
  CHECK(net::to_string(router.ipv6->gateway) == "fe80::1");
  CHECK(net::to_string(router.ipv6->dns) == "fd00:c0:2d::3");
}

TEST_CASE("lan options: names, and lists of them as QEMU joins them") {
  const auto guest = plan({"--search", "corp.example lab.example.", "--search=c.example", "--hostname", "web",
                           "--fqdn", "web.corp.example"});
  REQUIRE(guest.services.search.size() == 3);
  CHECK(guest.services.search[1].text() == "lab.example");
  CHECK(guest.services.search[2].text() == "c.example");
  CHECK(guest.services.hostname->text() == "web");
  CHECK(guest.services.fqdn->text() == "web.corp.example");
  CHECK_FALSE(guest.search_none);
  CHECK(plan({"--search", "none"}).search_none);
}

TEST_CASE("lan options: mistakes and contradictions name each other") {
  struct Case {
    std::string_view name;
    Words words;
    std::initializer_list<std::string_view> says;
  };
  for (const Case& c : {
           Case{"host's and own",
                {"--host-addressing", "--address", "10.1.0.5/16"},
                {"--address", "--host-addressing"}},
           Case{"host's and a gateway",
                {"--host-addressing", "--gateway", "10.0.2.9"},
                {"--gateway", "--host-addressing"}},
           Case{"nothing left to ask",
                {"--no-config-net", "--no-dhcp", "--no-dhcpv6", "--no-ra"},
                {"--no-config-net", "--no-dhcp", "--no-dhcpv6", "--no-ra"}},
           Case{"the same address again",
                {"--address", "10.1.0.5/16", "--address", "10.1.0.5/24"},
                {"10.1.0.5/24", "twice"}},
           Case{"a search name", {"--search", "a..b"}, {"--search a..b"}},
           Case{
               "none and some", {"--search", "none", "--search", "a.example"}, {"--search none", "drop one"}},
           Case{"a host name", {"--hostname", "we b"}, {"--hostname we b"}},
           Case{"an FQDN", {"--fqdn", "x-.example"}, {"--fqdn x-.example"}},
           Case{"a lease too short", {"--lease-time", "9"}, {"--lease-time 9", "10 to 31536000"}},
           Case{"a second address that is the gateway",
                {"--gateway", "10.0.2.9", "--address", "10.0.2.15/24", "--address", "10.0.2.9/24"},
                {"--gateway 10.0.2.9", "own --address"}},
       }) {
    CAPTURE(c.name);
    const auto message = mistake(c.words);
    for (const auto part : c.says) {
      CAPTURE(part);
      CHECK(message.find(part) != std::string::npos);
    }
    CHECK(message.find('\n') == std::string::npos);
  }
  std::vector<std::string> many{"run"};
  for (int i = 1; i <= 17; ++i) many.push_back("--address=10.1.1." + std::to_string(i) + "/24");
  many.insert(many.end(), {"--", "true"});
  const auto too_many = parse(many);
  REQUIRE_FALSE(too_many);
  CHECK(too_many.error().message.find("at most 16") != std::string::npos);
}

netlink::DefaultInterface uplink(std::string_view address, unsigned length, std::string_view gateway) {
  netlink::DefaultInterface found{2, *net::parse_ip(address), length, std::nullopt};
  if (!gateway.empty()) found.gateway = net::parse_ip(gateway);
  return found;
}

TEST_CASE("host addressing: the option becomes the addresses it stands for, and nothing else changes") {
  using Host = HostAddresses;
  struct Case {
    std::string_view name;
    Words words;
    Host host;
    std::vector<std::string> expected;
  };
  const auto four = uplink("192.168.7.9", 24, "192.168.7.1");
  const auto six = uplink("2001:db8::9", 64, "fe80::1");
  for (const Case& c : {
           Case{"both families",
                {"--mtu", "1500", "--host-addressing"},
                Host{four, six},
                {"--mtu", "1500", "--address=192.168.7.9/24", "--gateway=192.168.7.1", "--dns=192.168.7.1",
                 "--address=2001:db8::9/64", "--gateway=fe80::1"}},
           Case{"a name server of the user's",
                {"--host-addressing", "--dns", "10.9.9.9"},
                Host{four, std::nullopt},
                {"--dns", "10.9.9.9", "--address=192.168.7.9/24", "--gateway=192.168.7.1", "--no-ipv6"}},
           Case{"a family left out",
                {"--no-ipv6", "--host-addressing"},
                Host{four, six},
                {"--no-ipv6", "--address=192.168.7.9/24", "--gateway=192.168.7.1", "--dns=192.168.7.1"}},
           Case{"a gateway outside of the subnet",
                {"--host-addressing", "--no-ipv6"},
                Host{uplink("192.168.7.9", 24, "10.0.0.1"), std::nullopt},
                {"--no-ipv6", "--address=192.168.7.9/32", "--gateway=10.0.0.1", "--dns=10.0.0.1"}},
           Case{"point to point",
                {"--host-addressing", "--no-ipv6"},
                Host{uplink("192.168.7.9", 32, ""), std::nullopt},
                {"--no-ipv6", "--address=192.168.7.9/30"}},
       }) {
    CAPTURE(c.name);
    const auto made = with_host_addresses(line(c.words), c.host);
    REQUIRE(made);
    std::vector<std::string> expected{"run"};
    expected.insert(expected.end(), c.expected.begin(), c.expected.end());
    expected.insert(expected.end(), {"--", "true"});
    CHECK(*made == expected);
    const auto parsed = parse(*made);
    if (!parsed) FAIL(parsed.error().message);
    CHECK_FALSE(std::get<RunOptions>(*parsed).host_addressing);
  }
  CHECK(std::get<RunOptions>(*parse(line({"--host-addressing"}))).host_addressing);
}

TEST_CASE("host addressing: a machine without default route is told so") {
  const auto none = with_host_addresses(line({"--host-addressing"}), {});
  REQUIRE_FALSE(none);
  CHECK(none.error().message.find("no default route") != std::string::npos);
  const auto only_six = with_host_addresses(line({"--host-addressing", "--no-ipv6"}),
                                            {std::nullopt, uplink("2001:db8::9", 64, "fe80::1")});
  REQUIRE_FALSE(only_six);
  CHECK(only_six.error().message.find("IPv4") != std::string::npos);
}

TEST_CASE("guest sources: the broker admits the plan's, and few self-made ones where SLAAC is offered") {
  const base::Instant now;
  GuestSources strict{plan({"--address", "fd00:c0:2d::15/64", "--address", "fd00:c0:2d::16/64"})};
  CHECK(strict.admit(*net::parse_ip("10.0.2.15"), now));
  CHECK(strict.admit(*net::parse_ip("fd00:c0:2d::15"), now));
  CHECK(strict.admit(*net::parse_ip("fd00:c0:2d::16"), now));
  CHECK_FALSE(strict.admit(*net::parse_ip("fd00:c0:2d::17"), now));
  CHECK_FALSE(strict.admit(*net::parse_ip("10.0.2.16"), now));

  GuestSources slaac{plan({"--no-config-net"})};
  CHECK(slaac.admit(*net::parse_ip("fd00:c0:2d::15"), now));
  for (const char* ours : {"fd00:c0:2d::2", "fd00:c0:2d::3", "fd00:c0:2d::", "fd00:c0:2d:1::1", "fe80::5",
                           "10.0.2.16", "::ffff:10.0.2.15"}) {
    CAPTURE(ours);
    CHECK_FALSE(slaac.admit(*net::parse_ip(ours), now));
  }
  unsigned admitted = 0;
  for (int i = 0; i < 1000; ++i)
    admitted += slaac.admit(*net::parse_ip("fd00:c0:2d::1:" + std::to_string(i + 1)), now) ? 1U : 0U;
  CHECK(admitted == 16);
  CHECK(slaac.admit(*net::parse_ip("fd00:c0:2d::15"), now));
}

}  // namespace
}  // namespace cordon::app
