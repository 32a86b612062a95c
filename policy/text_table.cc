#include "policy/text_table.h"

#include <algorithm>
#include <numeric>

namespace cordon::policy {
namespace {

constexpr std::size_t kGap = 2;

// The items, ", " between them, broken so that no line is wider than `width` unless one item is.
std::vector<std::string> lines_of(const TextTable::Cell& cell, std::size_t width) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < cell.size(); ++i) {
    const std::string item = cell[i] + (i + 1 < cell.size() ? "," : "");
    if (!lines.empty() && lines.back().size() + 1 + item.size() <= width)
      lines.back() += " " + item;
    else
      lines.push_back(item);
  }
  return lines;
}

struct Column {
  std::size_t index = 0;
  std::size_t least = 0;  // the longest item
  std::size_t width = 0;
};

}  // namespace

std::string TextTable::render(unsigned width, unsigned indent) const {
  std::vector<Column> columns;
  for (std::size_t i = 0; i < titles_.size(); ++i) {
    Column column{.index = i, .least = titles_[i].size(), .width = titles_[i].size()};
    bool empty = true;
    for (const auto& row : rows_) {
      const Cell& cell = row[i];
      empty = empty && cell.empty();
      std::size_t whole = 0;
      for (const std::string& item : cell) {
        column.least = std::max(column.least, item.size() + (&item == &cell.back() ? 0 : 1));
        whole += item.size() + 2;
      }
      column.width = std::max(column.width, whole < 2 ? 0 : whole - 2);
    }
    if (!empty) columns.push_back(column);
  }
  const auto total = [&] {
    return std::accumulate(columns.begin(), columns.end(), std::size_t{indent},
                           [](std::size_t sum, const Column& c) { return sum + c.width + kGap; }) -
           kGap;
  };
  // What is too much is taken from the widest column that can still give.
  while (!columns.empty() && total() > width) {
    const auto widest = std::ranges::max_element(
        columns, {}, [](const Column& c) { return c.width > c.least ? c.width : 0; });
    if (widest->width <= widest->least) break;
    --widest->width;
  }
  std::string out;
  const auto line = [&](auto&& text_of) {
    std::string text(indent, ' ');
    for (const Column& column : columns) {
      auto cell = text_of(column);
      cell.resize(std::max(cell.size(), column.width) + kGap, ' ');
      text += cell;
    }
    text.resize(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line([&](const Column& c) { return titles_[c.index]; });
  for (const auto& row : rows_) {
    std::vector<std::vector<std::string>> cells(titles_.size());
    std::size_t height = 1;
    for (const Column& c : columns) {
      cells[c.index] = lines_of(row[c.index], c.width);
      height = std::max(height, cells[c.index].size());
    }
    for (std::size_t i = 0; i < height; ++i)
      line([&](const Column& c) { return i < cells[c.index].size() ? cells[c.index][i] : std::string{}; });
  }
  return out;
}

}  // namespace cordon::policy
