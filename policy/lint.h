// Rules that are legal but can do nothing: almost always a mistake, so the loader warns.
#pragma once

#include <string>

#include "policy/diagnostic.h"
#include "policy/ruleset.h"

namespace cordon::policy {

// Why no rule that names `prefix` will ever see a flow, ready to follow "PREFIX is "; empty when one may.
[[nodiscard]] std::string never_reached(const net::Prefix& prefix);
// P301 for each rule of which everything is decided by one earlier rule.
void report_shadowed(const Ruleset& ruleset, Report& report);

}  // namespace cordon::policy
