// Requests for what the policy denies, however it is written, and in whosever name.
#include <array>

#include "tests/hostile/rogue/attack.h"

namespace cordon::rogue {
namespace {

using flow::Protocol;

constexpr Protocol kProtocols[] = {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmpEcho};
constexpr std::uint16_t kPorts[] = {kCanary, kAllowed};

// Asks for each address by each protocol; the first that is not refused is the answer.
std::string none_of(Scene& scene, std::span<const std::string_view> addresses) {
  Remote& agent = scene.agent();
  for (const std::string_view address : addresses)
    for (const Protocol protocol : kProtocols)
      for (const std::uint16_t port : kPorts) {
        const auto answer = agent.ask(agent.request(protocol, address, port));
        if (!answer.how) return "granted: " + std::string{address};
      }
  return "refused";
}

constexpr std::string_view kHost[] = {
    "10.99.0.2",  "192.0.2.131",   "192.0.2.132",     "192.0.2.133",   "198.51.100.200",
    "fd00:99::2", "2001:db8::131", "2001:db8::132",   "2001:db8::133", "2001:db8:1::200",
    "127.0.0.1",  "127.1.2.3",     "127.255.255.254", "::1",           "0.0.0.0",
    "::",         "10.99.0.255",   "255.255.255.255", "fe80::1",       "fe80::2d:200:0:0",
};
// The host, loopback and metadata inside of other addresses: mapped, compatible, NAT64, 6to4, Teredo, ISATAP.
constexpr std::string_view kEmbedded[] = {
    "::ffff:127.0.0.1",
    "::ffff:192.0.2.131",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::192.0.2.131",
    "::ffff:0:192.0.2.131",
    "64:ff9b::127.0.0.1",
    "64:ff9b::192.0.2.131",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::192.0.2.131",
    "2002:7f00:1::1",
    "2002:c000:283::1",
    "2002:a9fe:a9fe::1",
    "2001:0:c000:283::1",
    "2001::3fff:fd7c",
    "fe80::5efe:192.0.2.131",
    "2001:db8::5efe:192.0.2.131",
    "::ffff:0.0.0.0",
    "::ffff:255.255.255.255",
};
constexpr std::string_view kSpecial[] = {
    "169.254.169.254", "169.254.1.1",    "fd00:ec2::254", "224.0.0.1", "224.0.0.251", "239.1.1.1",
    "ff02::1",         "ff02::1:2",      "ff05::2",       "ff0e::1",   "240.0.0.1",   "100.64.0.1",
    "100::1",          "192.0.0.170",    "10.0.2.2",      "10.0.2.15", "10.0.2.3",    "fd00:c0:2d::2",
    "fd00:c0:2d::3",   "fd00:c0:2d::15", "fec0::1",
};
constexpr std::string_view kElsewhere[] = {
    "192.0.2.53", "192.0.2.54",   "198.51.100.10", "203.0.113.1",  "10.99.0.1",
    "8.8.8.8",    "2001:db8::53", "fd00:99::1",    "2606:4700::1", "2001:db8:dead::1",
};

std::string wrong_ports(Scene& scene) {
  Remote& agent = scene.agent();
  constexpr std::uint16_t kWrong[] = {1, 22, 53, 80, 443, 7776, 7778, kCanary, 65535};
  for (const std::uint16_t port : kWrong)
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp})
      for (const char* const address : {kServer4, kServer6})
        if (!agent.ask(agent.request(protocol, address, port)).how)
          return "granted: port " + std::to_string(port);
  return "refused";
}

std::string spoofed_sources(Scene& scene) {
  Remote& agent = scene.agent();
  constexpr std::string_view kSources[] = {"10.0.2.2",  "10.0.2.16", "192.0.2.131",    "10.99.0.2",
                                           "127.0.0.1", "0.0.0.0",   "255.255.255.255"};
  constexpr std::string_view kSources6[] = {
      "fd00:c0:2e::16", "2001:db8::131", "::1", "::", "ff02::1", "::ffff:10.0.2.15"};
  const auto granted = [&](std::string_view source, const char* remote) {
    for (const Protocol protocol : kProtocols) {
      auto request = agent.request(protocol, remote, kAllowed);
      request.tuple.guest = wire_tuple(protocol, source, 1, remote, 1).guest;
      if (!agent.ask(request).how) return true;
    }
    return false;
  };
  for (const auto source : kSources)
    if (granted(source, kServer4)) return "granted for " + std::string{source};
  for (const auto source : kSources6)
    if (granted(source, kServer6)) return "granted for " + std::string{source};
  return "refused";
}

constexpr Attack kFlows[] = {
    {"flows", "every address of the host", "refused", [](Scene& s) { return none_of(s, kHost); },
     "\"event.reason\":\"host-address\""},
    {"flows", "embedded addresses", "refused", [](Scene& s) { return none_of(s, kEmbedded); }},
    {"flows", "metadata, multicast, reserved, the guest's own net", "refused",
     [](Scene& s) { return none_of(s, kSpecial); }, "\"event.reason\":\"metadata\""},
    {"flows", "other servers", "refused", [](Scene& s) { return none_of(s, kElsewhere); },
     "\"event.reason\":\"no-rule\""},
    {"flows", "other ports of the allowed server", "refused", wrong_ports},
    {"flows", "in another's name", "refused", spoofed_sources, "\"event.reason\":\"source-spoof\""},
};

}  // namespace

std::span<const Attack> flow_attacks() { return kFlows; }

}  // namespace cordon::rogue
