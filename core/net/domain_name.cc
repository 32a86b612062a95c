#include "core/net/domain_name.h"

#include <algorithm>

namespace cordon::net {
namespace {

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > DomainName::kMaxLabel) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  return std::ranges::all_of(label, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> labels;
  for (;;) {
    const auto dot = text.find('.');
    labels.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return labels;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

std::optional<DomainName> DomainName::parse(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.size() > kMaxText || !std::ranges::all_of(split(text), is_label)) return std::nullopt;
  return DomainName{std::string{text}};
}

std::vector<std::string_view> DomainName::labels() const { return split(text_); }

std::optional<DomainName> DomainName::parent() const {
  const auto dot = text_.find('.');
  if (dot == std::string::npos) return std::nullopt;
  return DomainName{text_.substr(dot + 1)};
}

}  // namespace cordon::net
