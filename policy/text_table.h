// Aligned columns for a terminal. A cell is a list of items; where it is too wide it is broken between them.
#pragma once

#include <string>
#include <vector>

namespace cordon::policy {

class TextTable {
 public:
  using Cell = std::vector<std::string>;

  explicit TextTable(std::vector<std::string> titles) : titles_(std::move(titles)) {}
  // As many cells as there are titles.
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  // Columns that are empty in every row are left out. Each line begins with `indent` spaces and is at most
  // `width` long, where the longest items allow.
  [[nodiscard]] std::string render(unsigned width, unsigned indent) const;

 private:
  std::vector<std::string> titles_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace cordon::policy
