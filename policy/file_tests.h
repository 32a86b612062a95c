// The `tests:` of policy files: run at every load, by the decide() that enforces. A file's test asks that
// file alone, so that it says the same whatever stands above or below it.
#pragma once

#include "policy/diagnostic.h"
#include "policy/ruleset.h"

namespace cordon::policy {

// A failing test is an error (P218) at its line, with what was decided instead.
void run_tests(const Ruleset& file, base::WallTime now, Report& report);

}  // namespace cordon::policy
