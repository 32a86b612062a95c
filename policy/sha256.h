// SHA-256 (FIPS 180-4). Our own hundred lines instead of a cryptographic library in the broker: the digest
// only names a policy in records, no secret depends on it. Checked against the vectors of RFC 6234.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace cordon::policy {

[[nodiscard]] std::array<std::uint8_t, 32> sha256(std::string_view text);
[[nodiscard]] std::string sha256_hex(std::string_view text);

}  // namespace cordon::policy
