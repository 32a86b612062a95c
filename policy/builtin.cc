#include "policy/builtin.h"

#include <array>

#include "core/base/check.h"
#include "policy/load.h"

namespace cordon::policy {

// The same text as policies/internet-only.yaml (a test compares their canonical forms).
std::string_view internet_only_text() {
  return R"(version: 1
name: internet-only
description: Public Internet over TCP, UDP and ping; names through the built-in DNS forwarder.
egress:
  - {name: dns, allow: dns}
  - {name: internet, allow: internet, ports: [tcp, udp, icmp/echo]}
)";
}

namespace {

constexpr std::string_view kPublished = R"(ingress:
  - {name: published, allow: [any, host, 0.0.0.0/0, "::/0"]}
)";

PolicySet builtin(std::string text) {
  const std::array sources{Source{std::string{kBuiltInPath}, std::move(text)}};
  auto loaded = load(sources);
  CORDON_CHECK(loaded.policy.has_value());
  return std::move(*loaded.policy);
}

}  // namespace

std::string internet_only_published_text() {
  return std::string{internet_only_text()} + std::string{kPublished};
}

// The same text as policies/everything.yaml and no-map-host.yaml (a test compares their canonical forms).
std::string everything_text(const Carried& carried) {
  std::string ports;
  const auto carry = [&](bool wanted, std::string_view what) {
    if (!wanted) return;
    if (!ports.empty()) ports += ", ";
    ports += what;
  };
  carry(carried.tcp, "tcp");
  carry(carried.udp, "udp");
  const std::string datagrams_and_streams = ports;
  carry(carried.icmp, "icmp/echo");
  std::string out = carried.host ? "version: 1\nname: everything\n"
                                   "description: Everything that the floor leaves open, this host included.\n"
                                 : "version: 1\nname: no-map-host\n"
                                   "description: Everything that the floor leaves open, but this host.\n";
  out += "host: {uplinks: [\"*\"]}\n";
  if (ports.empty()) return out + "egress: []\n" + std::string{kPublished};
  out += "egress:\n";
  if (!datagrams_and_streams.empty())
    out += "  - {name: dns, allow: dns, ports: [" + datagrams_and_streams + "]}\n";
  if (!carried.host) out += "  - {name: no-map-host, deny: host, ports: [" + ports + "]}\n";
  out += std::string{"  - {name: everything, allow: [any, "} + (carried.host ? "host, " : "") +
         "guests, metadata, 0.0.0.0/0, \"::/0\"], ports: [" + ports + "]}\n";
  return out + std::string{kPublished};
}

PolicySet builtin_internet_only() { return builtin(std::string{internet_only_text()}); }

PolicySet builtin_internet_only_published() { return builtin(internet_only_published_text()); }

PolicySet builtin_deny() { return PolicySet{}; }

}  // namespace cordon::policy
