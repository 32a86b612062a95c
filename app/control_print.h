// The control socket's answers for people. Pure; control bytes that an answer might hold do not reach the
// terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/json.h"

namespace cordon::app {

// Columns as wide as they need to be; the last one is not padded, empty cells are "-".
class TextTable {
 public:
  using Row = std::vector<std::string>;
  explicit TextTable(Row head) { add(std::move(head)); }
  void add(Row row);
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Row> rows_;
};

[[nodiscard]] std::string duration_text(std::uint64_t milliseconds);  // "3d 4h", "12m 5s", "1.5s"
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);            // "1.2 MB", powers of 1000
[[nodiscard]] std::string printable(std::string_view text);

[[nodiscard]] std::string status_text(const Json& status);
[[nodiscard]] TextTable::Row flow_head();
[[nodiscard]] TextTable::Row flow_row(const Json& flow);
// As cordon prints them when it starts.
[[nodiscard]] std::string diagnostics_text(const Json& diagnostics);

}  // namespace cordon::app
