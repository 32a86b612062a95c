// The parts of the compiler that have a file of their own; compile.cc puts them together.
#pragma once

#include <optional>
#include <string>

#include "policy/node_reader.h"

namespace cordon::policy {

// compile_rule.cc. `map` is an item of `egress` or `ingress`.
[[nodiscard]] Rule compile_rule(NodeReader& reader, const Node& map, Direction direction);
// The mapping under the key `limits` of `owner`; `where` as for check_keys().
[[nodiscard]] Limits compile_limits(NodeReader& reader, const Node& owner, const Node& map,
                                    const std::string& where);
// `until` of a rule, `expires` of a file; WallTime::max() without the key.
[[nodiscard]] base::WallTime compile_end(NodeReader& reader, const Node& map, std::string_view key,
                                         std::string_view consequence);

// compile_tests.cc. Fills file.tests; the file's rules are there already.
void compile_tests(NodeReader& reader, const Node& list, Ruleset& file);

// compile_host.cc. `host`.
[[nodiscard]] HostSettings compile_host(NodeReader& reader, const Node& map);

}  // namespace cordon::policy
