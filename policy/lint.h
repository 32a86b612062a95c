// Rules that are legal but can do nothing: almost always a mistake, so the loader warns.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "policy/diagnostic.h"
#include "policy/ruleset.h"

namespace cordon::policy {

// Why no rule that names `prefix` will ever see a flow, ready to follow "PREFIX is "; empty when one may.
[[nodiscard]] std::string never_reached(const net::Prefix& prefix);
// The same for an `allow` in ingress, about sources.
[[nodiscard]] std::string never_comes(const net::Prefix& prefix);
// Why a rule can never match, whatever stands before it, ready to follow "rule NAME can never match: "; empty
// when it may.
[[nodiscard]] std::string why_never(const Rule& rule, Direction direction);
// `excepted` takes nothing away from what the rule names.
[[nodiscard]] bool has_no_effect(const Rule& rule, const net::Prefix& excepted);
[[nodiscard]] bool has_no_effect(const Rule& rule, WordSet excepted);
// The first key of `rule` that is above the file's own; empty: none.
[[nodiscard]] std::string_view looser(const Limits& rule, const Limits& file);
// What is wrong with the rates of files that are right by themselves; reported in file `index`.
void check_rates(std::span<const Ruleset> files, std::size_t index, Report& report);
[[nodiscard]] std::string shadow_message(const Rule& first, const Rule& second);
// P301 for each rule of which everything is decided by one earlier rule.
void report_shadowed(const Ruleset& ruleset, Report& report);

}  // namespace cordon::policy
