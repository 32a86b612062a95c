// Strict parsers of single values: one spelling each, no octal, no shorthand, no guessing.
#pragma once

#include <expected>
#include <optional>
#include <string_view>
#include <variant>

#include "core/net/prefix.h"
#include "policy/diagnostic.h"
#include "policy/ruleset.h"

namespace cordon::policy {

struct Problem {
  Code code;
  std::string message;
};

// [a-z0-9-]{1,63}
[[nodiscard]] bool is_policy_name(std::string_view text);

using DestinationValue = std::variant<WordSet, net::Prefix>;
// Decided by spelling: a reserved word (no dot), an address or CIDR, otherwise a name.
[[nodiscard]] std::expected<DestinationValue, Problem> parse_destination(std::string_view text);

// "tcp", "udp", "icmp/echo", "tcp/443", "udp/8000-8100"
[[nodiscard]] std::expected<PortRange, Problem> parse_ports(std::string_view text);

// The values of `limits`: "64", "20/s" or "60/min", "10MB/s", "2GB".
[[nodiscard]] std::expected<std::uint32_t, Problem> parse_connections(std::string_view text);
[[nodiscard]] std::expected<NewFlows, Problem> parse_new_flows(std::string_view text);
[[nodiscard]] std::expected<std::uint64_t, Problem> parse_rate(std::string_view text);
[[nodiscard]] std::expected<std::uint64_t, Problem> parse_volume(std::string_view text);

}  // namespace cordon::policy
