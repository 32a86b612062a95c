#pragma once

#include <cstddef>
#include <string_view>

namespace cordon::policy {

// Bytes of the well-formed UTF-8 sequence at the start of `text` (Unicode table 3-7), 0 when it is not one.
[[nodiscard]] std::size_t utf8_sequence(std::string_view text);
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace cordon::policy
