// A policy file as read: text and positions, nothing interpreted. The YAML reader makes it, the compiler
// reads it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cordon::policy {

// 1-based, in bytes; `length` is what the caret line underlines.
struct Position {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
  std::uint32_t length = 1;
};

struct Node {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Position at;
  std::string text;         // kScalar
  bool quoted = false;      // kScalar: "1" is not the number 1
  std::vector<Node> keys;   // kMap: scalars, parallel to items
  std::vector<Node> items;  // kList and kMap
};

}  // namespace cordon::policy
