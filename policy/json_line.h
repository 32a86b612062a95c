// Writes one flat JSON object on one line. Always valid JSON and valid UTF-8, whatever bytes a string holds.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cordon::policy {

class JsonLine {
 public:
  static constexpr std::size_t kMaxString = 255;  // bytes of input; longer strings are cut and end in "..."

  void text(std::string_view key, std::string_view value);
  void text_or_null(std::string_view key, std::string_view value);  // null when empty
  void number(std::string_view key, std::uint64_t value);
  void null(std::string_view key);
  template <class Range>
  void list(std::string_view key, const Range& values) {
    begin(key);
    out_ += '[';
    bool first = true;
    for (const auto& value : values) {
      if (!first) out_ += ',';
      first = false;
      string(value);
    }
    out_ += ']';
  }
  [[nodiscard]] std::string take();

 private:
  void begin(std::string_view key);
  void string(std::string_view value);
  std::string out_ = "{";
};

}  // namespace cordon::policy
