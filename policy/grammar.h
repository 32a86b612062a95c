// Every key of the language, by the mapping it stands in. The compiler reads by these tables, and a test
// holds the JSON Schema for editors (policies/policy.schema.json) against them.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace cordon::policy {

// A whole mapping's keys. `later` is what comes with rules by name: known, so that it is refused by its own
// message. `operators` are those of `keys` that only the first file may have.
struct Grammar {
  std::span<const std::string_view> keys;
  std::span<const std::string_view> later;
  std::span<const std::string_view> operators;
};

namespace grammar {

using Keys = std::string_view;

inline constexpr auto kFileKeys = std::to_array<Keys>(
    {"version", "name", "description", "mode", "refuse", "expires", "egress", "ingress", "limits", "tests",
     "host", "guests", "reload", "on_reload_error", "require_tenant_policy"});
inline constexpr auto kOperatorKeys =
    std::to_array<Keys>({"host", "guests", "reload", "on_reload_error", "require_tenant_policy"});
inline constexpr auto kLaterFileKeys = std::to_array<Keys>({"dns"});
inline constexpr auto kRuleKeys =
    std::to_array<Keys>({"name", "allow", "deny", "except", "ports", "limits", "until", "log"});
inline constexpr auto kLaterRuleKeys = std::to_array<Keys>({"tls", "resolves_to", "named"});
inline constexpr auto kLimitKeys = std::to_array<Keys>({"connections", "new", "rate", "bytes"});
inline constexpr auto kLaterLimitKeys = std::to_array<Keys>({"dns_pins"});
inline constexpr auto kHostKeys = std::to_array<Keys>({"uplinks", "aliases"});
inline constexpr auto kGuestsKeys = std::to_array<Keys>({"tenant"});
inline constexpr auto kTestKeys = std::to_array<Keys>({"to", "from", "port", "expect", "rule", "reason"});

inline constexpr Grammar kFile{kFileKeys, kLaterFileKeys, kOperatorKeys};
inline constexpr Grammar kRule{kRuleKeys, kLaterRuleKeys, {}};
inline constexpr Grammar kLimits{kLimitKeys, kLaterLimitKeys, {}};
inline constexpr Grammar kHost{kHostKeys, {}, {}};
inline constexpr Grammar kGuests{kGuestsKeys, {}, {}};
inline constexpr Grammar kTest{kTestKeys, {}, {}};

}  // namespace grammar
}  // namespace cordon::policy
