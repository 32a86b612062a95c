// The canonical text of a Ruleset: a policy file that loads to the same Ruleset, whatever order, quoting,
// comments and shorthand the original used. The policy hash is taken over it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/ruleset.h"

namespace cordon::policy {

[[nodiscard]] std::string print(const Ruleset& ruleset);
[[nodiscard]] std::string to_string(
    const PortRange& range);                                // "tcp/443", "udp/8000-8100", "tcp", "icmp/echo"
[[nodiscard]] std::string to_string(const Limits& limits);  // "{connections: 64, rate: 10000000B/s}"
// For people: "any", "internet", "10.0.0.0/8", "10.0.0.7".
[[nodiscard]] std::vector<std::string> to_strings(const Targets& targets);
// The values of `limits` by their keys, as they are written in a file.
[[nodiscard]] std::vector<std::pair<std::string_view, std::string>> fields(const Limits& limits);

}  // namespace cordon::policy
