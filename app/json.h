// A JSON value, read from and written to text by strangers' rules: bounds on depth, no duplicate keys, valid
// UTF-8 only, never an exception. Objects keep the order of their members. Written text is one line of plain
// ASCII, whatever bytes a string holds. json.cc is the only file here that knows the JSON library.
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cordon::app {

class Json {
 public:
  struct Member;
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;

  Json();  // null
  Json(std::nullptr_t);
  Json(std::same_as<bool> auto value) : value_(value) {}
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Json(T value) {
    if constexpr (std::unsigned_integral<T>)
      set_natural(value);
    else
      set_integer(value);
  }
  Json(double value);
  Json(std::string value);
  Json(std::string_view value);
  Json(const char* value);
  Json(Array value);
  Json(Object value);

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  [[nodiscard]] bool is_number() const;
  // nullptr: it is something else.
  [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&value_); }
  [[nodiscard]] const std::uint64_t* natural() const { return std::get_if<std::uint64_t>(&value_); }
  [[nodiscard]] const std::string* text() const { return std::get_if<std::string>(&value_); }
  [[nodiscard]] const Array* array() const { return std::get_if<Array>(&value_); }
  [[nodiscard]] const Object* object() const { return std::get_if<Object>(&value_); }
  // Of an object; nullptr: no such member, or no object.
  [[nodiscard]] const Json* find(std::string_view key) const;
  // The same with an empty answer where there is none; for people's output.
  [[nodiscard]] std::string text_at(std::string_view key) const;
  [[nodiscard]] std::uint64_t natural_at(std::string_view key) const;
  void add(std::string key, Json value);  // to an object; null becomes one. The key must be new.

  [[nodiscard]] std::string dump() const;
  void dump_to(std::string& out) const;

  enum class Fault : std::uint8_t {
    kSyntax,     // not JSON, or not UTF-8, or a number out of all range
    kTooDeep,    // arrays and objects within each other
    kDuplicate,  // a key twice in one object
  };
  struct ParseError {
    Fault fault = Fault::kSyntax;
    std::size_t position = 0;  // of kSyntax: bytes read when it was found
  };
  static std::expected<Json, ParseError> parse(std::string_view text, std::size_t max_depth);

  friend bool operator==(const Json& a, const Json& b);

 private:
  void set_natural(std::uint64_t value);
  void set_integer(std::int64_t value);
  // Whole numbers are uint64_t when they are not negative.
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> value_;
};

struct Json::Member {
  std::string key;
  Json value;
  friend bool operator==(const Member& a, const Member& b) = default;
};

// Here, where Member is complete: clang instantiates what these may have to undo.
inline Json::Json() = default;
inline Json::Json(std::nullptr_t) {}
inline void Json::set_natural(std::uint64_t value) { value_ = value; }
inline void Json::set_integer(std::int64_t value) {
  if (value < 0)
    value_ = value;
  else
    set_natural(static_cast<std::uint64_t>(value));
}
inline Json::Json(double value) : value_(value) {}
inline Json::Json(std::string value) : value_(std::move(value)) {}
inline Json::Json(std::string_view value) : value_(std::string{value}) {}
inline Json::Json(const char* value) : value_(std::string{value}) {}
inline Json::Json(Array value) : value_(std::move(value)) {}
inline Json::Json(Object value) : value_(std::move(value)) {}
inline bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

}  // namespace cordon::app
