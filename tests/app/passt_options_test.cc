#include "app/passt_options.h"

#include <doctest/doctest.h>

#include <functional>

using namespace cordon;
using app::PasstCommand;

namespace {

using Words = std::vector<std::string>;

PasstCommand good(const Words& words) {
  const auto command = app::parse_passt(words);
  REQUIRE_MESSAGE(command, (command ? "" : command.error().message));
  return *command;
}
std::string bad(const Words& words) {
  const auto command = app::parse_passt(words);
  return command ? "accepted" : command.error().message;
}
net::IpAddress ip(const char* text) { return *net::parse_ip(text); }

}  // namespace

TEST_CASE("passt: each option has its effect") {
  struct Row {
    std::string_view name;
    Words words;
    std::function<bool(const PasstCommand&)> holds;
  };
  const Row rows[] = {
      {"nothing", {}, [](auto& c) { return c.ipv4 && c.ipv6 && !c.fd && !c.foreground && c.socket.empty(); }},
      {"-f", {"-f"}, [](auto& c) { return c.foreground; }},
      {"--foreground", {"--foreground"}, [](auto& c) { return c.foreground; }},
      {"-q", {"-q"}, [](auto& c) { return c.verbosity == app::Verbosity::kQuiet; }},
      {"the last of -d and -q",
       {"-q", "-d"},
       [](auto& c) { return c.verbosity == app::Verbosity::kVerbose; }},
      {"--trace", {"--trace"}, [](auto& c) { return c.verbosity == app::Verbosity::kVerbose; }},
      {"-e", {"-e"}, [](auto& c) { return c.warnings.size() == 1; }},
      {"--stats after -f", {"-f", "--stats", "5"}, [](auto& c) { return c.warnings.size() == 1; }},
      {"-c", {"-c", "/tmp/x"}, [](auto& c) { return c.warnings.size() == 1; }},
      {"--chroot-fallback", {"--chroot-fallback"}, [](auto& c) { return c.warnings.empty(); }},
      {"--migrate-exit", {"--migrate-exit"}, [](auto& c) { return c.warnings.size() == 1; }},
      {"--migrate-no-linger", {"--migrate-no-linger"}, [](auto& c) { return c.warnings.size() == 1; }},
      {"-l", {"-l", "/tmp/log"}, [](auto& c) { return c.log_file == "/tmp/log"; }},
      {"--log-size", {"--log-size", "2M"}, [](auto& c) { return c.log_size == 2U * 1024 * 1024; }},
      {"--log-size has a least", {"--log-size", "1"}, [](auto& c) { return c.log_size == 65536; }},
      {"--runas", {"--runas", "1000:1000"}, [](auto& c) { return c.runas == "1000:1000"; }},
      {"-p", {"-p", "a.pcap"}, [](auto& c) { return c.pcap == "a.pcap"; }},
      {"-P, the last", {"-P", "a", "--pid", "b"}, [](auto& c) { return c.pid_file == "b"; }},
      {"-m", {"-m", "1500"}, [](auto& c) { return c.mtu == 1500; }},
      {"-m in hexadecimal", {"-m", "0x5dc"}, [](auto& c) { return c.mtu == 1500; }},
      {"-m 0", {"-m", "0"}, [](auto& c) { return c.mtu == 0; }},
      {"-m 65521", {"-m", "65521"}, [](auto& c) { return c.mtu == 65520; }},
      {"-m below IPv6's least",
       {"-m", "600"},
       [](auto& c) { return c.mtu == 1280 && c.warnings.size() == 1; }},
      {"-a", {"-a", "10.0.2.0"}, [](auto& c) { return c.address.ipv4 == ip("10.0.2.0") && !c.length; }},
      {"-a with length", {"-a", "10.1.2.3/16"}, [](auto& c) { return c.length == 16; }},
      {"-a of both families",
       {"-a", "10.1.2.3", "-a", "2001:db8::1/48"},
       [](auto& c) { return c.address.ipv4 && c.address.ipv6 && !c.length; }},
      {"-n bits", {"-n", "24"}, [](auto& c) { return c.length == 24; }},
      {"-n mask", {"-n", "255.255.240.0"}, [](auto& c) { return c.length == 20; }},
      {"-M", {"-M", "52:54:00:12:34:56"}, [](auto& c) { return c.mac.has_value(); }},
      {"-g",
       {"-g", "10.0.0.1", "-g", "fe80::1"},
       [](auto& c) { return c.gateway.ipv4 == ip("10.0.0.1") && c.gateway.ipv6 == ip("fe80::1"); }},
      {"-i", {"-i", "eth1"}, [](auto& c) { return c.interface == "eth1"; }},
      {"-o", {"-o", "192.0.2.1"}, [](auto& c) { return c.outbound.ipv4 == ip("192.0.2.1"); }},
      {"--outbound-if4", {"--outbound-if4", "e"}, [](auto& c) { return c.outbound_if4 == "e"; }},
      {"--outbound-if6", {"--outbound-if6", "e"}, [](auto& c) { return c.outbound_if6 == "e"; }},
      {"-D", {"-D", "9.9.9.9", "-D", "2620:fe::9"}, [](auto& c) { return c.dns.size() == 2; }},
      {"-D none takes back",
       {"-D", "9.9.9.9", "--dns-forward", "10.0.0.9", "-D", "none"},
       [](auto& c) { return c.no_dns && c.dns.empty() && c.dns_forward.empty(); }},
      {"-D none, then one",
       {"-D", "none", "-D", "9.9.9.9"},
       [](auto& c) { return !c.no_dns && c.dns.size() == 1; }},
      {"--dns-forward",
       {"--dns-forward", "169.254.1.1"},
       [](auto& c) { return c.dns_forward.ipv4.has_value(); }},
      {"--dns-host",
       {"--dns-host", "127.0.0.53"},
       [](auto& c) { return c.dns_host.ipv4 == ip("127.0.0.53"); }},
      {"-S", {"-S", "a.example b.example"}, [](auto& c) { return c.search == Words{"a.example b.example"}; }},
      {"-S none", {"-S", "a.example", "-S", "none"}, [](auto& c) { return c.no_search && c.search.empty(); }},
      {"--no-dhcp-dns", {"--no-dhcp-dns"}, [](auto& c) { return c.no_dhcp_dns; }},
      {"--no-dhcp-search", {"--no-dhcp-search"}, [](auto& c) { return c.no_dhcp_search; }},
      {"--no-tcp", {"--no-tcp"}, [](auto& c) { return c.no_tcp; }},
      {"--no-udp", {"--no-udp"}, [](auto& c) { return c.no_udp; }},
      {"--no-icmp", {"--no-icmp"}, [](auto& c) { return c.no_icmp && c.no_ndp; }},
      {"--no-dhcp", {"--no-dhcp"}, [](auto& c) { return c.no_dhcp && !c.no_dhcpv6; }},
      {"--no-dhcpv6", {"--no-dhcpv6"}, [](auto& c) { return c.no_dhcpv6 && !c.no_dhcp; }},
      {"--no-ndp", {"--no-ndp"}, [](auto& c) { return c.no_ndp; }},
      {"--no-ra", {"--no-ra"}, [](auto& c) { return c.no_ra; }},
      {"--freebind", {"--freebind"}, [](auto& c) { return c.freebind; }},
      {"--map-host-loopback",
       {"--map-host-loopback", "10.0.0.9"},
       [](auto& c) { return c.map_host_loopback.ipv4 == ip("10.0.0.9") && !c.no_map_gateway; }},
      {"--map-host-loopback none", {"--map-host-loopback", "none"}, [](auto& c) { return c.no_map_gateway; }},
      {"--no-map-gw", {"--no-map-gw"}, [](auto& c) { return c.no_map_gateway && !c.no_map_host; }},
      {"--map-guest-addr",
       {"--map-guest-addr", "169.254.1.2"},
       [](auto& c) { return c.map_guest.ipv4.has_value(); }},
      {"--map-guest-addr none",
       {"--map-guest-addr", "10.0.0.2", "--map-guest-addr", "none"},
       [](auto& c) { return c.map_guest.empty(); }},
      {"-4", {"-4"}, [](auto& c) { return c.ipv4 && !c.ipv6; }},
      {"the last of -4 and -6", {"-4", "-6"}, [](auto& c) { return !c.ipv4 && c.ipv6; }},
      {"-H and --fqdn",
       {"-H", "vm", "--fqdn", "vm.example"},
       [](auto& c) { return c.hostname == "vm" && c.fqdn == "vm.example"; }},
      {"-t, repeated",
       {"-t", "22", "--tcp-ports=80:8080"},
       [](auto& c) { return c.tcp_ports == Words{"22", "80:8080"}; }},
      {"-u", {"-u53"}, [](auto& c) { return c.udp_ports == Words{"53"}; }},
      {"-s", {"-s", "/tmp/s"}, [](auto& c) { return c.socket == "/tmp/s"; }},
      {"--socket-path", {"--socket-path", "/tmp/s"}, [](auto& c) { return c.socket == "/tmp/s"; }},
      {"--fd is one-off", {"--fd", "7"}, [](auto& c) { return c.fd == 7 && c.one_off; }},
      {"-s after -F", {"-F", "7", "-s", "/tmp/s"}, [](auto& c) { return !c.fd && c.socket == "/tmp/s"; }},
      {"-1", {"-1"}, [](auto& c) { return c.one_off; }},
      {"--vhost-user", {"--vhost-user"}, [](auto& c) { return c.vhost_user; }},
      {"--repair-path",
       {"--vhost-user", "--repair-path", "/x"},
       [](auto& c) { return c.warnings.size() == 1; }},
      {"--repair-path none", {"--repair-path", "none"}, [](auto& c) { return c.warnings.empty(); }},
      {"--no-map-host", {"--no-map-host"}, [](auto& c) { return c.no_map_host && !c.no_map_gateway; }},
      {"--map-host-addr none", {"--map-host-addr", "none"}, [](auto& c) { return c.no_map_host; }},
      {"--policy", {"--policy", "a", "--policy", "b"}, [](auto& c) { return c.policy == Words{"a", "b"}; }},
      {"--audit-log", {"--audit-log", "x"}, [](auto& c) { return c.audit_log == "x"; }},
      {"--name", {"--name", "x"}, [](auto& c) { return c.name == "x"; }},
      {"--control", {"--control", "x"}, [](auto& c) { return c.control == "x"; }},
      {"--threads", {"--threads", "2"}, [](auto& c) { return c.further == Words{"--threads=2"}; }},
      {"help acts at once",
       {"-m", "1500", "-h", "--nonsense"},
       [](auto& c) { return c.action == PasstCommand::Action::kHelp; }},
      {"version acts at once",
       {"--version"},
       [](auto& c) { return c.action == PasstCommand::Action::kVersion; }},
      {"capabilities",
       {"--print-capabilities"},
       [](auto& c) { return c.action == PasstCommand::Action::kCapabilities; }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(row.holds(good(row.words)));
  }
}

TEST_CASE("passt: the command line is read as getopt_long() reads it") {
  CHECK(good({"--mtu=1500"}).mtu == 1500);
  CHECK(good({"--mt", "1500"}).mtu == 1500);   // an unambiguous beginning
  CHECK(good({"--no-map-g"}).no_map_gateway);  // ours does not make it ambiguous
  CHECK(good({"--map-host", "none"}).no_map_gateway);
  CHECK(good({"-fq1"}).one_off);          // bundled
  CHECK(good({"-fqm1500"}).mtu == 1500);  // with a value glued to the last
  CHECK(good({"-fqm", "1500"}).mtu == 1500);
  CHECK(good({"--dns", "none"}).no_dns);  // an exact name wins over longer ones
  CHECK(bad({"--foo"}) == "unrecognized option '--foo'");
  CHECK(bad({"--foo=bar"}) == "unrecognized option '--foo'");
  CHECK(bad({"--no-map-hos"}) == "unrecognized option '--no-map-hos'");
  CHECK(bad({"-x"}) == "invalid option -- 'x'");
  CHECK(bad({"-fx"}) == "invalid option -- 'x'");
  CHECK(bad({"--mtu"}) == "option '--mtu' requires an argument");
  CHECK(bad({"-m"}) == "option requires an argument -- 'm'");
  CHECK(bad({"--quiet=1"}) == "option '--quiet' doesn't allow an argument");
  CHECK(bad({"--no-d"}) ==
        "option '--no-d' is ambiguous; possibilities: '--no-dhcp-dns' '--no-dhcp-search' '--no-dhcp' "
        "'--no-dhcpv6'");
  CHECK(bad({"-q", "word", "--foo"}) == "Extra non-option argument: word");  // options end there
  CHECK(bad({"--", "-q"}) == "Extra non-option argument: -q");
}

TEST_CASE("passt: what is wrong is said in one line") {
  struct Row {
    Words words;
    std::string_view message;
  };
  const Row rows[] = {
      {{"-m", "65522"}, "MTU 65522 too large (max 65521)"},
      {{"-m", "big"}, "Invalid MTU big: give a number of bytes"},
      {{"-a", "127.0.0.1"}, "Invalid guest address: 127.0.0.1"},
      {{"-a", "ff02::1"}, "Invalid guest address: ff02::1"},
      {{"-a", "0.0.0.0"}, "Invalid guest address: 0.0.0.0"},
      {{"-a", "10.0.0.1/33"}, "Invalid prefix length: 10.0.0.1/33"},
      {{"-a", "10.0.0.1", "-a", "10.0.0.2"}, "--address is given twice for IPv4: 10.0.0.2"},
      {{"-a", "10.0.0.1/24", "-n", "24"}, "Redundant prefix length specification"},
      {{"-n", "24", "-a", "10.0.0.1/24"}, "Redundant prefix length specification"},
      {{"-n", "255.0.255.0"}, "Invalid netmask: 255.0.255.0"},
      {{"-M", "01:00:5e:00:00:01"}, "Invalid MAC address: 01:00:5e:00:00:01"},
      {{"-g", "::"}, "Invalid gateway address: ::"},
      {{"-i", "interface-name-x"}, "Invalid interface name: interface-name-x (--interface)"},
      {{"-o", "any"}, "Invalid address for --outbound: any"},
      {{"-D", "nowhere"}, "Cannot use DNS address nowhere"},
      {{"--dns-forward", "127.0.0.1"}, "Invalid address for --dns-forward: 127.0.0.1"},
      {{"--map-host-loopback", "127.0.0.1"}, "Invalid address to remap: 127.0.0.1 (--map-host-loopback)"},
      {{"--map-guest-addr", "224.0.0.1"}, "Invalid address to remap: 224.0.0.1 (--map-guest-addr)"},
      {{"-F", "x"}, "Invalid --fd: x"},
      {{"-F", "2"}, "Invalid --fd: 2"},
      {{"--log-size", "x"}, "Invalid --log-size: x"},
      {{"--stats", "1", "-f"}, "--stats needs --foreground, before it"},
      {{"--repair-path", "/x"}, "--repair-path is for vhost-user mode only"},
      {{"--config-net"}, "--config-net is for pasta mode only"},
      {{"-T", "80"}, "--tcp-ns is for pasta mode only"},
      {{"--dhcp-dns"}, "--dhcp-dns is for pasta mode only"},
      {{"--no-tcp", "-t", "22"}, "Can't add TCP forwarding rule, TCP not enabled (--no-tcp)"},
      {{"-u", "53", "--no-udp"}, "Can't add UDP forwarding rule, UDP not enabled (--no-udp)"},
      {{"--map-host-addr", "10.0.0.1"},
       "--map-host-addr 10.0.0.1: only none is supported; it keeps the guest from every address of this "
       "host"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.words);
    const std::string message = bad(row.words);
    CHECK(message == row.message);
    CHECK(message.find('\n') == std::string::npos);
  }
}

TEST_CASE("passt: the lines of its clients are accepted") {
  struct Row {
    std::string_view name;
    Words words;
  };
  const Row rows[] = {
      {"QEMU, by default", {"--quiet", "--pid", "/tmp/passt-AB12CD.pid", "--fd", "3"}},
      {"QEMU, everything",
       {"--vhost-user",
        "--quiet",
        "--mtu",
        "9000",
        "--address",
        "10.0.2.15",
        "--netmask",
        "24",
        "--mac-addr",
        "52:54:00:00:00:01",
        "--gateway",
        "10.0.2.2",
        "--interface",
        "eth0",
        "--outbound",
        "192.0.2.1",
        "--outbound-if4",
        "eth0",
        "--outbound-if6",
        "eth0",
        "--dns",
        "9.9.9.9",
        "--fqdn",
        "vm.example",
        "--no-dhcp-dns",
        "--no-dhcp-search",
        "--map-host-loopback",
        "10.0.2.3",
        "--map-guest-addr",
        "10.0.2.4",
        "--dns-forward",
        "10.0.2.5",
        "--dns-host",
        "9.9.9.9",
        "--no-icmp",
        "--no-dhcp",
        "--no-ndp",
        "--no-dhcpv6",
        "--no-ra",
        "--freebind",
        "--ipv4-only",
        "--search",
        "a.example b.example",
        "--tcp-ports",
        "127.0.0.1/2222:22,8080",
        "--udp-ports",
        "5353",
        "--no-map-host",
        "--pid",
        "/tmp/passt-AB12CD.pid",
        "--fd",
        "3"}},
      {"libvirt, stream",
       {"--one-off",
        "--socket",
        "/run/libvirt/qemu/passt/1-vm-net0.socket",
        "--pid",
        "/run/libvirt/qemu/passt/1-vm-net0-passt.pid",
        "--mtu",
        "1500",
        "--interface",
        "eth0",
        "--log-file",
        "/var/log/passt.log",
        "--hostname",
        "vm",
        "--fqdn",
        "vm.example",
        "--address",
        "172.17.2.0",
        "--netmask",
        "24",
        "--address",
        "2001:db8:ac10:fd01::feed",
        "--tcp-ports",
        "2001:db8::1%eth0/8080,4433:3444",
        "--udp-ports",
        "1234-1250,~1240"}},
      {"libvirt, 9.0",
       {"--one-off", "--socket", "/run/s", "--mac-addr", "52:54:00:00:00:01", "--tcp-ports", "22"}},
      {"libvirt, vhost-user",
       {"--vhost-user", "--one-off", "--socket", "/run/s.socket", "--pid", "/run/s.pid"}},
      {"KubeVirt",
       {"--vhost-user", "--one-off", "--socket", "/var/run/libvirt/qemu/run/passt/1-vm-net0.socket", "--pid",
        "/var/run/libvirt/qemu/run/passt/1-vm-net0-passt.pid", "--interface", "eth0", "--log-file",
        "/var/run/kubevirt/passt.log", "--tcp-ports", "all,~15001", "--udp-ports", "all"}},
      {"Kata", {"-P", "/tmp/kata-passt-1.pid", "-s", "/tmp/kata-passt-1.socket"}},
      {"muvm", {"-q", "-f", "--fd", "11", "-t", "127.0.0.1/8080-8080:80-80", "-u", "53-53:5353-5353"}},
      {"libkrun's own test", {"-f", "--fd", "5"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const PasstCommand command = good(row.words);
    CHECK(command.action == PasstCommand::Action::kServe);
  }
}
