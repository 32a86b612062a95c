// A host or domain name: labels of letters, digits, hyphens and underscores, checked once when it is parsed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cordon::net {

class DomainName {
 public:
  static constexpr std::size_t kMaxLabel = 63;
  static constexpr std::size_t kMaxText = 253;  // RFC 1035: 255 bytes on the wire
  // "corp.example" or "corp.example."; no empty label, none that begins or ends with a hyphen.
  static std::optional<DomainName> parse(std::string_view text);

  // Without the dot at the end.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::vector<std::string_view> labels() const;
  // What stands behind the first label; nullopt for a single label.
  [[nodiscard]] std::optional<DomainName> parent() const;
  friend auto operator<=>(const DomainName&, const DomainName&) = default;

 private:
  explicit DomainName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace cordon::net
