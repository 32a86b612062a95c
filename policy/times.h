// Dates and lengths of time in a policy. One spelling each.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "core/base/time.h"
#include "policy/scalars.h"

namespace cordon::policy {

// RFC 3339 in UTC and whole seconds, "2026-10-01T12:00:00Z": what `until` and `expires` hold. No offsets, no
// fractions, no leap second: two files that mean the same time look the same.
[[nodiscard]] std::expected<base::WallTime, Problem> parse_time(std::string_view text);
[[nodiscard]] std::string to_string(base::WallTime time);

// The value of `reload`: "revoke" (zero), "drain 30s", "drain 5min"; at most an hour, never for ever.
[[nodiscard]] std::expected<base::Duration, Problem> parse_drain(std::string_view text);

}  // namespace cordon::policy
