#include "app/passt_translate.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace cordon;

namespace {

using Words = std::vector<std::string>;

net::IpAddress ip(const char* text) { return *net::parse_ip(text); }

app::PasstHost usual_host() {
  app::PasstHost host;
  host.addresses.ipv4 = {
      .index = 2, .address = ip("192.0.2.10"), .prefix_length = 24, .gateway = ip("192.0.2.1")};
  host.addresses.ipv6 = {
      .index = 2, .address = ip("2001:db8::10"), .prefix_length = 64, .gateway = ip("fe80::1")};
  host.name_servers = {ip("192.0.2.53"), ip("2001:db8::53")};
  host.search = {"corp.example"};
  return host;
}

Words translated(Words words, const app::PasstHost& host) {
  words.insert(words.end(), {"--fd", "3"});
  const auto command = app::parse_passt(words);
  REQUIRE(command);
  const auto out = app::translate_passt(*command, host);
  REQUIRE_MESSAGE(out, (out ? "" : out.error().message));
  return *out;
}
app::RunOptions options(Words words, const app::PasstHost& host = usual_host()) {
  const auto invocation = app::parse(translated(std::move(words), host));
  REQUIRE_MESSAGE(invocation, (invocation ? "" : invocation.error().message));
  return std::get<app::RunOptions>(*invocation);
}
const net::IpAddress* leads_to(const app::RunOptions& options, const char* seen) {
  return options.guest.map.real_of(ip(seen));
}

}  // namespace

TEST_CASE("passt: the guest gets this host's addresses, gateways and name servers") {
  const auto run = options({});
  const auto& guest = run.guest;
  REQUIRE(guest.ipv4);
  REQUIRE(guest.ipv6);
  CHECK(guest.ipv4->address == ip("192.0.2.10"));
  CHECK(guest.ipv4->prefix_length == 24);
  CHECK(guest.ipv4->gateway == ip("192.0.2.1"));
  CHECK(guest.ipv6->address == ip("2001:db8::10"));
  CHECK(guest.ipv6->gateway == ip("fe80::1"));
  CHECK(guest.name_servers == std::vector{ip("192.0.2.53"), ip("2001:db8::53")});
  CHECK(!guest.ipv4->forwards_dns);  // the guest asks them itself
  CHECK(guest.map.real_gateway);
  CHECK(guest.gateway_mac == *net::parse_mac("9a:55:9a:55:9a:55"));
  CHECK(guest.services.dhcp);
  CHECK(guest.services.dhcpv6);
  CHECK(guest.services.slaac);
  REQUIRE(guest.services.search.size() == 1);
  CHECK(guest.announce_mtu);
  CHECK(run.policy.base == app::PolicyChoice::Base::kEverything);
  CHECK(!run.policy.restricts());
  CHECK(run.control == app::ControlSocket::kNone);
}

TEST_CASE("passt: the gateway leads to loopback, unless the command line says no") {
  const auto run = options({});
  REQUIRE(leads_to(run, "192.0.2.1"));
  CHECK(*leads_to(run, "192.0.2.1") == ip("127.0.0.1"));
  REQUIRE(leads_to(run, "fe80::1"));
  CHECK(*leads_to(run, "fe80::1") == ip("::1"));
  for (const Words& none : {Words{"--no-map-gw"}, Words{"--map-host-loopback", "none"}})
    CHECK(options(none).guest.map.pairs.empty());
  const auto other = options({"--map-host-loopback", "192.0.2.77", "--no-map-gw"});
  CHECK(!leads_to(other, "192.0.2.1"));
  REQUIRE(leads_to(other, "192.0.2.77"));
  CHECK(*leads_to(other, "192.0.2.77") == ip("127.0.0.1"));
  const auto guest = options({"--map-guest-addr", "169.254.1.2", "--no-map-gw"});
  REQUIRE(leads_to(guest, "169.254.1.2"));
  CHECK(*leads_to(guest, "169.254.1.2") == ip("192.0.2.10"));
}

TEST_CASE("passt: --no-map-host binds the guest by policy and leaves the rest as it is") {
  const auto run = options({"--no-map-host"});
  CHECK(run.policy.no_host);
  CHECK(run.policy.restricts());
  CHECK(run.guest.ipv4->address == ip("192.0.2.10"));
  CHECK(leads_to(run, "192.0.2.1"));  // so that what is refused there is refused as the host
}

TEST_CASE("passt: a resolver on loopback is asked at the address that leads there") {
  auto host = usual_host();
  host.name_servers = {ip("127.0.0.53")};
  const auto run = options({}, host);
  CHECK(run.guest.name_servers == std::vector{ip("192.0.2.1")});
  CHECK(run.guest.ipv4->dns == ip("192.0.2.1"));
  CHECK(run.guest.ipv4->forwards_dns);
  CHECK(!run.guest.ipv6->forwards_dns);
  const auto unmapped = options({"--no-map-gw"}, host);
  CHECK(unmapped.guest.name_servers == std::vector<net::IpAddress>{});
  CHECK(!unmapped.guest.ipv4->forwards_dns);
}

TEST_CASE("passt: names and name servers of the command line") {
  CHECK(options({"-D", "9.9.9.9"}).guest.name_servers == std::vector{ip("9.9.9.9")});
  CHECK(options({"-D", "none"}).guest.name_servers == std::vector<net::IpAddress>{});
  CHECK(options({"--no-dhcp-dns"}).guest.name_servers == std::vector<net::IpAddress>{});
  const auto forward = options({"--dns-forward", "169.254.1.1", "--dns-host", "127.0.0.53"});
  CHECK(forward.guest.ipv4->dns == ip("169.254.1.1"));
  CHECK(forward.guest.ipv4->forwards_dns);
  CHECK(forward.guest.ipv4->forwards_dns_over_tls);
  CHECK(forward.guest.resolvers == std::vector{ip("127.0.0.53")});
  CHECK(options({"-S", "a.example b.example"}).guest.services.search.size() == 2);
  CHECK(options({"--no-dhcp-search"}).guest.services.search.empty());
  CHECK(options({"-S", "none"}).guest.services.search.empty());
}

TEST_CASE("passt: addresses of the command line") {
  struct Row {
    std::string_view name;
    Words words;
    const char* address;
    unsigned length;
  };
  const Row rows[] = {
      {"by class A", {"-a", "10.0.2.15"}, "10.0.2.15", 8},
      {"by class B", {"-a", "172.16.0.9"}, "172.16.0.9", 16},
      {"by class C", {"-a", "192.168.5.9"}, "192.168.5.9", 24},
      {"by length", {"-a", "10.0.2.15/24"}, "10.0.2.15", 24},
      {"by netmask", {"-a", "10.0.2.15", "-n", "255.255.0.0"}, "10.0.2.15", 16},
      {"a netmask alone", {"-n", "20"}, "192.0.2.10", 20},
      {"a network's address", {"-a", "172.17.2.0", "-n", "24"}, "172.17.2.0", 24},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const auto run = options(row.words);
    CHECK(run.guest.ipv4->address == ip(row.address));
    CHECK(run.guest.ipv4->prefix_length == row.length);
    CHECK(run.guest.ipv4->gateway == ip("192.0.2.1"));  // inside or not
  }
  CHECK(options({"-4"}).guest.ipv6 == std::nullopt);
  CHECK(options({"-6"}).guest.ipv4 == std::nullopt);
  CHECK(options({"-g", "192.0.2.254"}).guest.ipv4->gateway == ip("192.0.2.254"));
  CHECK(options({"-m", "0"}).guest.announce_mtu == false);
  CHECK(options({"-m", "1500"}).guest.mtu == 1500);
  CHECK(options({"-M", "52:54:00:00:00:09"}).guest.gateway_mac == *net::parse_mac("52:54:00:00:00:09"));
}

TEST_CASE("passt: a host without addresses gives the guest a link of its own") {
  app::PasstHost host;
  host.name_servers = {ip("127.0.0.1")};
  const auto run = options({}, host);
  CHECK(run.guest.ipv4->address == ip("169.254.2.1"));
  CHECK(run.guest.ipv4->prefix_length == 16);
  CHECK(run.guest.ipv4->gateway == ip("169.254.2.2"));
  CHECK(run.guest.ipv6 == std::nullopt);
  REQUIRE(leads_to(run, "169.254.2.2"));
  auto only_v4 = usual_host();
  only_v4.addresses.ipv6.reset();
  CHECK(options({}, only_v4).guest.ipv6 == std::nullopt);
}

TEST_CASE("passt: what is carried, and to where") {
  const auto run = options({"-t", "2222:22", "-u", "5353", "--no-icmp"});
  REQUIRE(run.forwards.size() == 2);
  CHECK(run.forwards[0].target_v4 == ip("192.0.2.10"));
  CHECK(!run.policy.icmp);
  CHECK(!run.guest.services.neighbours);
  CHECK(options({"--no-tcp"}).policy.tcp == false);
  CHECK(options({"-t", "none"}).forwards.empty());
  CHECK(options({"--outbound-if4", "eth0", "--outbound-if6", "eth0"}).outbound_interfaces == Words{"eth0"});
  CHECK(options({"-o", "192.0.2.10"}).outbound == std::vector{ip("192.0.2.10")});
}

TEST_CASE("passt: records name the guest by its socket") {
  const auto command = app::parse_passt(Words{"-s", "/run/libvirt/qemu/passt/1-VM_a-net0.socket"});
  REQUIRE(command);
  const auto out = app::translate_passt(*command, usual_host());
  REQUIRE(out);
  CHECK(std::ranges::find(*out, "--name=1-vm-a-net0") != out->end());
  CHECK(options({}).guest.name == "passt");
  CHECK(options({"--name", "vm-7"}).guest.name == "vm-7");
}

TEST_CASE("passt: resolv.conf") {
  app::PasstHost host;
  app::read_resolv_conf(
      "# comment\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nonsense\n"
      "search a.example\nsearch b.example c.example -bad\noptions ndots:2\n",
      host);
  CHECK(host.name_servers == std::vector{ip("192.0.2.53"), ip("fe80::1")});
  CHECK(host.search == Words{"b.example", "c.example"});
}
