// Writes one flat JSON object on one line, fields in the order they are given. Always valid JSON in plain
// ASCII, whatever bytes a string holds: controls, line separators and all that is not ASCII are escaped, so
// that a log line stays one line in every viewer; bytes that are no UTF-8 become U+FFFD. Of policy/, only
// json_line.cc and tool_json.cc know the JSON library.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cordon::policy {

class JsonLine {
 public:
  static constexpr std::size_t kMaxString = 255;  // bytes of input; longer strings are cut and end in "..."

  JsonLine();
  JsonLine(const JsonLine&) = delete;
  JsonLine& operator=(const JsonLine&) = delete;
  ~JsonLine();

  // Each key once.
  void text(std::string_view key, std::string_view value);
  void text_or_null(std::string_view key, std::string_view value);  // null when empty
  void number(std::string_view key, std::uint64_t value);
  void null(std::string_view key);
  void list(std::string_view key, const std::vector<std::string_view>& values);
  [[nodiscard]] std::string take();  // and starts over

 private:
  struct Fields;
  std::unique_ptr<Fields> fields_;
};

}  // namespace cordon::policy
