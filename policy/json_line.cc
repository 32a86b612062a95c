#include "policy/json_line.h"

#include <utility>

#include "policy/utf8.h"

namespace cordon::policy {

void JsonLine::begin(std::string_view key) {
  if (out_.size() > 1) out_ += ',';
  out_ += '"';
  out_ += key;  // our own literal
  out_ += "\":";
}

// Besides what JSON demands, DEL, C1 controls and the line separators are escaped: a log line stays one line
// in every viewer. A byte that is no UTF-8 becomes U+FFFD.
void JsonLine::string(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out_ += '"';
  std::size_t used = 0;
  while (!value.empty()) {
    const auto size = utf8_sequence(value);
    const auto piece = value.substr(0, size == 0 ? 1 : size);
    if (used + piece.size() > kMaxString) {
      out_ += "...";
      break;
    }
    used += piece.size();
    const auto lead = static_cast<unsigned char>(piece.front());
    if (size == 0) {
      out_ += "\\ufffd";
    } else if (lead == '"' || lead == '\\') {
      out_ += '\\';
      out_ += piece;
    } else if (lead < 0x20 || lead == 0x7f) {
      out_ += "\\u00";
      out_ += kDigits[lead >> 4U];
      out_ += kDigits[lead & 0xfU];
    } else if (lead == 0xc2 && static_cast<unsigned char>(piece[1]) < 0xa0) {
      const auto low = static_cast<unsigned char>(piece[1]);
      out_ += "\\u00";
      out_ += kDigits[low >> 4U];
      out_ += kDigits[low & 0xfU];
    } else if (piece == "\xe2\x80\xa8" || piece == "\xe2\x80\xa9") {
      out_ += piece.back() == '\xa8' ? "\\u2028" : "\\u2029";
    } else {
      out_ += piece;
    }
    value.remove_prefix(piece.size());
  }
  out_ += '"';
}

void JsonLine::text(std::string_view key, std::string_view value) {
  begin(key);
  string(value);
}
void JsonLine::text_or_null(std::string_view key, std::string_view value) {
  if (value.empty()) return null(key);
  text(key, value);
}
void JsonLine::number(std::string_view key, std::uint64_t value) {
  begin(key);
  out_ += std::to_string(value);
}
void JsonLine::null(std::string_view key) {
  begin(key);
  out_ += "null";
}
std::string JsonLine::take() {
  out_ += '}';
  return std::exchange(out_, "{");
}

}  // namespace cordon::policy
