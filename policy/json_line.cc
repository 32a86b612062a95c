#include "policy/json_line.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace cordon::policy {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kUsualFields = 48;  // more than any record has

// Does not cut inside a character; one has at most three continuation bytes.
std::string cut(std::string_view value) {
  if (value.size() <= JsonLine::kMaxString) return std::string{value};
  const auto continues = [&](std::size_t at) {
    return (static_cast<std::uint8_t>(value[at]) & 0xc0U) == 0x80;
  };
  std::size_t end = JsonLine::kMaxString;
  while (end > JsonLine::kMaxString - 3 && continues(end)) --end;
  return std::string{value.substr(0, end)} + "...";
}

}  // namespace

struct JsonLine::Fields {
  Fields() { list.reserve(kUsualFields); }
  // Straight to the end: emplace() would look for the key first, forty times a record.
  void add(std::string_view key, Json value) { list.emplace_back(key, std::move(value)); }

  Json::object_t list;
};

JsonLine::JsonLine() : fields_(std::make_unique<Fields>()) {}
JsonLine::~JsonLine() = default;

void JsonLine::text(std::string_view key, std::string_view value) { fields_->add(key, cut(value)); }
void JsonLine::text_or_null(std::string_view key, std::string_view value) {
  if (value.empty()) return null(key);
  text(key, value);
}
void JsonLine::number(std::string_view key, std::uint64_t value) { fields_->add(key, value); }
void JsonLine::null(std::string_view key) { fields_->add(key, nullptr); }
void JsonLine::list(std::string_view key, const std::vector<std::string_view>& values) {
  Json::array_t items;
  items.reserve(values.size());
  for (const auto value : values) items.emplace_back(cut(value));
  fields_->add(key, std::move(items));
}

std::string JsonLine::take() {
  constexpr bool kAsciiOnly = true;
  const auto done = std::exchange(fields_, std::make_unique<Fields>());
  return Json(std::move(done->list)).dump(-1, ' ', kAsciiOnly, Json::error_handler_t::replace);
}

}  // namespace cordon::policy
