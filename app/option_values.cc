#include "app/option_values.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <utility>

namespace cordon::app {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return parts;
}

// Levenshtein distance, one row at a time.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

}  // namespace

Value<AddressAndLength> parse_address_and_length(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = net::parse_ip(text.substr(0, slash));
  if (!address) return std::unexpected("not an IP address; write it as 10.0.2.15/24 or fd00:c0:2d::15/64");
  if (slash == std::string_view::npos)
    return std::unexpected("add the prefix length, as in " + std::string{text} +
                           (address->is_v4() ? "/24" : "/64"));
  const auto length = parse_number(text.substr(slash + 1));
  if (!length || *length > address->bit_count())
    return std::unexpected("the prefix length is a number up to " + std::to_string(address->bit_count()));
  return AddressAndLength{*address, static_cast<unsigned>(*length)};
}

Value<net::IpAddress> parse_plain_address(std::string_view text) {
  const auto address = net::parse_ip(text);
  if (!address) return std::unexpected("not an IP address (without prefix length)");
  return *address;
}

Value<Features> parse_features(std::string_view text) {
  Features features;
  for (const auto part : split(text, ',')) {
    bool* flag = nullptr;
    const auto name = part.empty() ? part : part.substr(1);
    if (name == "tso") flag = &features.tso;
    if (name == "uso") flag = &features.uso;
    if (name == "udp-gso") flag = &features.udp_gso;
    if (name == "udp-gro") flag = &features.udp_gro;
    if (name == "checksum") flag = &features.checksum;
    if (flag == nullptr || part.front() != '-')
      return std::unexpected("give some of -tso,-uso,-udp-gso,-udp-gro,-checksum");
    *flag = false;
  }
  // A super-frame always carries a partial checksum (virtio 1.2, 5.1.6.2).
  if (!features.checksum) features.tso = features.uso = false;
  return features;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

bool is_guest_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool is_usable_address(const net::IpAddress& address) {
  if (address.is_v4() && (address.bytes()[0] == 0 || address.bytes()[0] >= 240)) return false;
  return !net::is_unspecified(address) && !net::is_loopback(address) && !net::is_multicast(address) &&
         !net::is_link_local(address);
}

std::string_view family_name(net::Family family) { return family == net::Family::kIpv4 ? "IPv4" : "IPv6"; }

std::string nearest(std::string_view word, const std::vector<std::string>& words) {
  std::string best;
  std::size_t distance = 3;
  for (const auto& candidate : words) {
    const auto edit = edits(word, candidate);
    if (edit < distance) {
      distance = edit;
      best = candidate;
    }
  }
  return best;
}

}  // namespace cordon::app
