// Short forms for the policy tests.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "policy/decide.h"
#include "policy/load.h"

namespace cordon::policy::testing {

inline net::IpAddress ip(std::string_view text) {
  const auto address = net::parse_ip(text);
  REQUIRE_MESSAGE(address.has_value(), std::string{text});
  return *address;
}

// Diagnostics of files named a.yaml, b.yaml, ... ; what a user would read.
inline std::string messages(std::initializer_list<std::string_view> texts) {
  std::vector<Source> sources;
  for (const auto text : texts)
    sources.push_back({std::string(1, static_cast<char>('a' + sources.size())) + ".yaml", std::string{text}});
  const auto loaded = load(sources);
  const auto text = render(loaded.diagnostics);
  CHECK(loaded.policy.has_value() == (text.find(": error ") == std::string::npos));
  return text;
}

// Whole files.
inline PolicySet load_ok(std::initializer_list<std::string_view> texts) {
  std::vector<Source> sources;
  for (const auto text : texts)
    sources.push_back({std::string(1, static_cast<char>('a' + sources.size())) + ".yaml", std::string{text}});
  auto loaded = load(sources);
  REQUIRE_MESSAGE(loaded.policy.has_value(), render(loaded.diagnostics));
  return std::move(*loaded.policy);
}

// A file from the lines of its egress list ("allow: internet, ports: [tcp]"), with further top-level lines
// first.
inline std::string file(std::initializer_list<std::string_view> rules, std::string_view top = "") {
  std::string out = "version: 1\nname: test\n" + std::string{top} + "egress:\n";
  std::size_t i = 0;
  for (const auto rule : rules)
    out += "  - {name: r" + std::to_string(i++) + ", " + std::string{rule} + "}\n";
  return out;
}

inline AddressFacts routed() {
  return {.fib = FibType::kUnicast, .has_gateway = true, .oif_is_uplink = true, .oif = 2};
}
inline AddressFacts on_link() {
  return {.fib = FibType::kUnicast, .has_gateway = false, .oif_is_uplink = true, .oif = 2};
}
inline AddressFacts local() { return {.is_host = true, .fib = FibType::kLocal, .oif = 1}; }

inline HostFacts facts(AddressFacts dial, AddressFacts embedded = {}) {
  return {.source_assigned = true, .dial = dial, .embedded = embedded};
}
inline HostFacts forwarder() { return {.source_assigned = true, .dns_forwarder = true}; }

inline flow::Tuple flow_to(std::string_view address, std::uint16_t port,
                           flow::Protocol protocol = flow::Protocol::kTcp) {
  const auto remote = ip(address);
  const auto guest = remote.is_v6() ? ip("fd00:c0:2d::15") : ip("10.0.2.15");
  return {protocol, {guest, net::Port{40000}}, {remote, net::Port{port}}};
}

}  // namespace cordon::policy::testing
