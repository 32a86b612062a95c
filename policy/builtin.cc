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

PolicySet builtin_internet_only() {
  const std::array sources{Source{"built-in", std::string{internet_only_text()}}};
  auto loaded = load(sources);
  CORDON_CHECK(loaded.policy.has_value());
  return std::move(*loaded.policy);
}

PolicySet builtin_deny() { return PolicySet{}; }

}  // namespace cordon::policy
