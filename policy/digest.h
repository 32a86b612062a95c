// Digests that name things in records: they identify, no secret depends on them. digest.cc is the only file
// that knows the digest library.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace cordon::policy {

[[nodiscard]] std::string sha256_hex(std::string_view text);
[[nodiscard]] std::array<std::byte, 20> sha1(base::Bytes message);

}  // namespace cordon::policy
