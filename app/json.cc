#include "app/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "policy/utf8.h"

namespace cordon::app {
namespace {

// Builds a Json from the parser's events. Each returns false to stop.
class Builder {
 public:
  explicit Builder(std::size_t max_depth) : max_depth_(max_depth) {}

  bool null() { return put(Json{}); }
  bool boolean(bool value) { return put(Json{value}); }
  bool number_integer(std::int64_t value) { return put(Json{value}); }
  bool number_unsigned(std::uint64_t value) { return put(Json{value}); }
  bool number_float(double value, const std::string& /*text*/) { return put(Json{value}); }
  bool string(std::string& value) { return put(Json{std::move(value)}); }
  static bool binary(const std::vector<std::uint8_t>& /*value*/) { return false; }  // not in text
  bool start_object(std::size_t /*size*/) { return open(true); }
  bool start_array(std::size_t /*size*/) { return open(false); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    Level& level = levels_.back();
    if (std::ranges::any_of(level.members, [&](const Json::Member& m) { return m.key == name; }) ||
        level.members.size() >= kMaxMembers)
      return stop(Json::Fault::kDuplicate, 0);
    level.members.push_back({std::move(name), Json{}});
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*what*/) {
    return stop(Json::Fault::kSyntax, position);
  }

  [[nodiscard]] const Json::ParseError& error() const { return error_; }
  Json take() { return std::move(root_); }

 private:
  // Looking for duplicates costs the square of it.
  static constexpr std::size_t kMaxMembers = 4096;
  struct Level {
    bool is_object;
    Json::Object members;
    Json::Array items;
  };
  bool stop(Json::Fault fault, std::size_t position) {
    error_ = {.fault = fault, .position = position};
    return false;
  }
  bool put(Json value) {
    if (levels_.empty())
      root_ = std::move(value);
    else if (levels_.back().is_object)
      levels_.back().members.back().value = std::move(value);
    else
      levels_.back().items.push_back(std::move(value));
    return true;
  }
  bool open(bool is_object) {
    if (levels_.size() >= max_depth_) return stop(Json::Fault::kTooDeep, 0);
    levels_.push_back({.is_object = is_object, .members = {}, .items = {}});
    return true;
  }
  bool close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    return put(level.is_object ? Json{std::move(level.members)} : Json{std::move(level.items)});
  }

  std::size_t max_depth_;
  std::vector<Level> levels_;
  Json root_;
  Json::ParseError error_;
};

void unicode_escape(std::string& out, std::uint32_t unit) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[unit >> static_cast<unsigned>(shift) & 0xfU];
}

// A well-formed sequence of two to four bytes.
std::uint32_t decode(std::string_view sequence) {
  constexpr std::array<std::uint32_t, 3> kLead{0x1f, 0x0f, 0x07};
  std::uint32_t point = static_cast<std::uint8_t>(sequence[0]) & kLead.at(sequence.size() - 2);
  for (const char c : sequence.substr(1)) point = point << 6U | (static_cast<std::uint8_t>(c) & 0x3fU);
  return point;
}

void dump_text(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c >= 0x20 && c < 0x7f) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
      ++at;
      continue;
    }
    const std::size_t length = c >= 0 ? 1 : policy::utf8_sequence(text.substr(at));
    const std::uint32_t point = c >= 0        ? static_cast<std::uint32_t>(c)
                                : length == 0 ? 0xfffdU
                                              : decode(text.substr(at, length));
    if (point == '\n')
      out += "\\n";
    else if (point == '\t')
      out += "\\t";
    else if (point < 0x10000)
      unicode_escape(out, point);
    else {
      unicode_escape(out, 0xd7c0U + (point >> 10U));
      unicode_escape(out, 0xdc00U | (point & 0x3ffU));
    }
    at += std::max<std::size_t>(length, 1);
  }
  out += '"';
}

template <class T>
void dump_number(std::string& out, T value) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

struct Dumper {
  std::string& out;
  void operator()(std::monostate /*null*/) const { out += "null"; }
  void operator()(bool value) const { out += value ? "true" : "false"; }
  void operator()(std::int64_t value) const { dump_number(out, value); }
  void operator()(std::uint64_t value) const { dump_number(out, value); }
  void operator()(double value) const {
    if (!std::isfinite(value)) {
      out += "null";
      return;
    }
    const std::size_t begin = out.size();
    dump_number(out, value);
    // 1 is a whole number to the next reader; 1.0 stays what it was.
    if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
  }
  void operator()(const std::string& value) const { dump_text(out, value); }
  void operator()(const Json::Array& items) const {
    char before = '[';
    for (const Json& item : items) {
      out += before;
      item.dump_to(out);
      before = ',';
    }
    if (items.empty()) out += '[';
    out += ']';
  }
  void operator()(const Json::Object& members) const {
    char before = '{';
    for (const Json::Member& member : members) {
      out += before;
      dump_text(out, member.key);
      out += ':';
      member.value.dump_to(out);
      before = ',';
    }
    if (members.empty()) out += '{';
    out += '}';
  }
};

}  // namespace

bool Json::is_number() const {
  return std::holds_alternative<std::int64_t>(value_) || std::holds_alternative<std::uint64_t>(value_) ||
         std::holds_alternative<double>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (const Object* members = object())
    for (const Member& member : *members)
      if (member.key == key) return &member.value;
  return nullptr;
}

std::string Json::text_at(std::string_view key) const {
  const Json* value = find(key);
  const std::string* text = value != nullptr ? value->text() : nullptr;
  return text != nullptr ? *text : std::string{};
}

std::uint64_t Json::natural_at(std::string_view key) const {
  const Json* value = find(key);
  const std::uint64_t* number = value != nullptr ? value->natural() : nullptr;
  return number != nullptr ? *number : 0;
}

void Json::add(std::string key, Json value) {
  if (is_null()) value_ = Object{};
  if (auto* members = std::get_if<Object>(&value_)) members->push_back({std::move(key), std::move(value)});
}

std::string Json::dump() const {
  std::string out;
  dump_to(out);
  return out;
}

void Json::dump_to(std::string& out) const { std::visit(Dumper{out}, value_); }

std::expected<Json, Json::ParseError> Json::parse(std::string_view text, std::size_t max_depth) {
  Builder builder{max_depth};
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return std::unexpected(builder.error());
  return builder.take();
}

}  // namespace cordon::app
