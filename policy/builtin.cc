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
  const std::array sources{Source{"built-in", std::move(text)}};
  auto loaded = load(sources);
  CORDON_CHECK(loaded.policy.has_value());
  return std::move(*loaded.policy);
}

}  // namespace

PolicySet builtin_internet_only() { return builtin(std::string{internet_only_text()}); }

PolicySet builtin_internet_only_published() {
  return builtin(std::string{internet_only_text()} + std::string{kPublished});
}

PolicySet builtin_deny() { return PolicySet{}; }

}  // namespace cordon::policy
