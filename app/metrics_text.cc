#include "app/metrics_text.h"

#include <array>
#include <charconv>
#include <cmath>

#include "policy/utf8.h"

namespace cordon::app {
namespace {

// Backslash and line feed everywhere, the quote in label values only.
void escape(std::string& out, std::string_view text, bool quoted) {
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const std::size_t length = c >= 0 ? 1 : policy::utf8_sequence(text.substr(at));
    if (length == 0)
      out += "\xef\xbf\xbd";  // U+FFFD
    else if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quoted)
      out += "\\\"";
    else
      out += text.substr(at, length);
    at += length == 0 ? 1 : length;
  }
}

}  // namespace

void MetricsText::family(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  head_ = "# HELP " + name_ + ' ';
  escape(head_, help, false);
  head_ += "\n# TYPE " + name_ + (type == Type::kCounter ? " counter\n" : " gauge\n");
}

void MetricsText::sample(std::initializer_list<Label> labels, double value) {
  if (!std::isfinite(value)) return add(labels, std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  add(labels, {digits.data(), end});
}

void MetricsText::add(std::initializer_list<Label> labels, const std::string& value) {
  text_ += head_;
  head_.clear();
  text_ += name_;
  char before = '{';
  for (const Label& label : labels) {
    text_ += before;
    text_ += label.name;
    text_ += "=\"";
    escape(text_, label.value, true);
    text_ += '"';
    before = ',';
  }
  if (labels.size() != 0) text_ += '}';
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

}  // namespace cordon::app
