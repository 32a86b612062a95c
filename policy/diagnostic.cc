#include "policy/diagnostic.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "policy/utf8.h"

namespace cordon::policy {
namespace {

constexpr std::size_t kExcerptBytes = 160;
constexpr std::size_t kQuotedBytes = 80;

std::string_view line_of(std::string_view text, std::uint32_t line) {
  for (std::uint32_t i = 1; i < line; ++i) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text.substr(0, kExcerptBytes);
}

// Columns are bytes, what a terminal shows are characters.
std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::ranges::count_if(utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; }));
}

// Levenshtein with one row.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto size = utf8_sequence(text);
    const auto byte = static_cast<unsigned char>(text.front());
    if (byte == '\t') {
      out += ' ';
    } else if (size == 0 || byte < 0x20 || byte == 0x7f ||
               (byte == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0)) {
      out += '?';
    } else {
      out += text.substr(0, size);
      text.remove_prefix(size - 1);
    }
    text.remove_prefix(1);
  }
  return out;
}

std::string render(const Diagnostic& d) {
  const auto line = std::to_string(d.at.line);
  std::string out = d.path + ":" + line + ":" + std::to_string(d.at.column) +
                    (is_warning(d.code) ? ": warning P" : ": error P") +
                    std::to_string(static_cast<unsigned>(d.code)) + ": " + d.message + "\n";
  // As an answer of a stranger's control socket it may point anywhere, or (0) nowhere.
  if (d.excerpt.empty() || d.at.column == 0 || d.at.column > d.excerpt.size() + 1) return out;
  const std::string number(line.size() < 5 ? 5 - line.size() : 0, ' ');
  const auto room = d.excerpt.size() + 1 - d.at.column;
  const auto length = std::max<std::size_t>(1, std::min<std::size_t>(d.at.length, room));
  out += number + line + " | " + d.excerpt + "\n";
  const std::string_view excerpt{d.excerpt};
  const auto before = characters(excerpt.substr(0, d.at.column - 1));
  const auto under = std::max<std::size_t>(1, characters(excerpt.substr(d.at.column - 1, length)));
  out += std::string(number.size() + line.size(), ' ') + " | " + std::string(before, ' ') + "^" +
         std::string(under - 1, '~') + "\n";
  return out;
}

std::string render(std::span<const Diagnostic> diagnostics) {
  std::string out;
  for (const auto& d : diagnostics) out += render(d);
  return out;
}

Report::Report(std::string path, std::string_view text, std::vector<Diagnostic> found)
    : Report(std::move(path), text) {
  found_ = std::move(found);
  for (const auto& d : found_) ++(is_warning(d.code) ? warnings_ : errors_);
  errors_ = std::min(errors_, kMaxErrors);  // one beyond it is the count of the others
}

void Report::add(Code code, Position at, std::string message) {
  const auto seen = is_warning(code) ? warnings_++ : errors_++;
  if (seen >= (is_warning(code) ? kMaxWarnings : kMaxErrors)) return;
  const auto place = [](const Diagnostic& d) { return std::pair{d.at.line, d.at.column}; };
  const auto before = std::ranges::upper_bound(found_, std::pair{at.line, at.column}, {}, place);
  found_.insert(before, {code, path_, at, std::move(message), printable(line_of(text_, at.line))});
}

std::vector<Diagnostic> Report::take() {
  if (errors_ > kMaxErrors)
    found_.push_back({Code::kTooMany,
                      path_,
                      {},
                      "and " + std::to_string(errors_ - kMaxErrors) + " more errors that are not shown",
                      {}});
  return std::exchange(found_, {});
}

std::string quote(std::string_view text) {
  const bool cut = text.size() > kQuotedBytes;
  return "\"" + printable(text.substr(0, kQuotedBytes)) + (cut ? "...\"" : "\"");
}

std::string did_you_mean(std::string_view text, std::span<const std::string_view> candidates) {
  std::string_view best;
  std::size_t best_distance = 3;  // two slips; fewer in short words, where everything is near
  for (const auto candidate : candidates) {
    if (text.size() >= candidate.size() + best_distance || candidate.size() >= text.size() + best_distance)
      continue;
    const auto d = distance(text, candidate);
    if (d != 0 && d < best_distance && d * 2 < candidate.size()) {
      best = candidate;
      best_distance = d;
    }
  }
  return best.empty() ? "" : "; did you mean \"" + std::string{best} + "\"?";
}

}  // namespace cordon::policy
