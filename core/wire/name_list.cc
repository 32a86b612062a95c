#include "core/wire/name_list.h"

#include <optional>
#include <string_view>

namespace cordon::wire {
namespace {

constexpr std::uint16_t kPointer = 0xc000;
constexpr std::size_t kMostOffset = 0x3fff;

bool put_label(OptionWriter& out, std::string_view label) {
  return out.number(static_cast<std::uint8_t>(label.size())) &&
         out.bytes(base::as_bytes(label.data(), label.size()));
}

bool equal_labels(base::Bytes wire, std::string_view label) {
  return wire.size() >= label.size() &&
         std::ranges::equal(wire.first(label.size()), base::as_bytes(label.data(), label.size()));
}

// Does the name at `at` of our own, well-formed list read exactly as `labels`? Pointers lead backwards only.
bool name_at(base::Bytes list, std::size_t at, std::span<const std::string_view> labels) {
  while (at < list.size()) {
    const auto length = std::to_integer<std::size_t>(list[at]);
    if (length >= 0xc0) {
      if (at + 1 >= list.size()) return false;
      const std::size_t target = (length & 0x3fU) << 8U | std::to_integer<std::size_t>(list[at + 1]);
      if (target >= at) return false;
      at = target;
      continue;
    }
    if (length == 0) return labels.empty();
    if (labels.empty() || labels.front().size() != length ||
        !equal_labels(list.subspan(at + 1), labels.front()))
      return false;
    labels = labels.subspan(1);
    at += 1 + length;
  }
  return false;
}

// Where in the list a name reads as `labels`; every label's start is a candidate.
std::optional<std::size_t> find_suffix(base::Bytes list, std::span<const std::string_view> labels) {
  for (std::size_t at = 0; at < list.size() && at <= kMostOffset;) {
    const auto length = std::to_integer<std::size_t>(list[at]);
    if (length >= 0xc0) {
      at += 2;
      continue;
    }
    if (length != 0 && name_at(list, at, labels)) return at;
    at += 1 + length;
  }
  return std::nullopt;
}

bool put_compressed(OptionWriter& out, std::size_t start, const net::DomainName& name) {
  const auto labels = name.labels();
  // Only whole names that came before: this one is still incomplete.
  const base::Bytes before = out.written().subspan(start);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (const auto at = find_suffix(before, std::span(labels).subspan(i)))
      return out.number(static_cast<std::uint16_t>(kPointer | *at));
    if (!put_label(out, labels[i])) return false;
  }
  return out.number(std::uint8_t{0});
}

}  // namespace

bool put_names(OptionWriter& out, std::span<const net::DomainName> names) {
  for (const auto& name : names) {
    const std::size_t before = out.size();
    bool fits = true;
    for (const auto label : name.labels()) fits = fits && put_label(out, label);
    if (fits && out.number(std::uint8_t{0})) continue;
    out.rewind(before);
    return false;
  }
  return true;
}

bool put_names_compressed(OptionWriter& out, std::span<const net::DomainName> names) {
  const std::size_t start = out.size();
  for (const auto& name : names) {
    const std::size_t before = out.size();
    if (put_compressed(out, start, name)) continue;
    out.rewind(before);
    return false;
  }
  return true;
}

}  // namespace cordon::wire
