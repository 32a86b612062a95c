#include "core/wire/dhcpv6.h"

#include "core/base/bytes.h"

namespace cordon::wire {
namespace {

using enum ParseError;
using Checked = std::expected<void, ParseError>;

// Calls visit(code, value) for each option; it may refuse.
template <class Visit>
Checked each_option(Bytes area, Visit visit) {
  while (!area.empty()) {
    if (area.size() < 4) return std::unexpected(kDhcpv6OptionLength);
    const auto code = base::load_be<std::uint16_t>(area.first<2>());
    const std::size_t length = base::load_be<std::uint16_t>(area.subspan<2, 2>());
    if (length > area.size() - 4) return std::unexpected(kDhcpv6OptionLength);
    if (const Checked fine = visit(code, area.subspan(4, length)); !fine) return fine;
    area = area.subspan(4 + length);
  }
  return {};
}

// RFC 8415 section 11.1: two bytes of type and something behind them.
bool is_duid(Bytes value) { return value.size() >= 3 && value.size() <= Dhcpv6View::kLongestDuid; }

// Fixed part in front of the nested options.
std::size_t association_header(std::uint16_t code) { return code == dhcpv6_option::kIaTa ? 4 : 12; }

}  // namespace

Checked Dhcpv6View::read_association(std::uint16_t code, Bytes value) {
  const std::size_t header = association_header(code);
  if (value.size() < header) return std::unexpected(kDhcpv6OptionSize);
  if (association_count_ == kMostAssociations) return std::unexpected(kDhcpv6TooManyOptions);
  Association& association = associations_[association_count_++];
  association.option = code;
  association.id = base::load_be<std::uint32_t>(value.first<4>());
  return each_option(value.subspan(header), [&](std::uint16_t inner, Bytes body) -> Checked {
    if (++option_count_ > kMostOptions) return std::unexpected(kDhcpv6TooManyOptions);
    const bool address = inner == dhcpv6_option::kIaAddress;
    if (!address && inner != dhcpv6_option::kIaPrefix) return {};
    const std::size_t fixed = address ? 24 : 25;
    if (body.size() < fixed) return std::unexpected(kDhcpv6OptionSize);
    if (address) {
      if (association.address_count == kMostAddresses) return std::unexpected(kDhcpv6TooManyOptions);
      association.addresses[association.address_count++] = net::Ipv6Address::from_bytes(body.first<16>());
    }
    return each_option(body.subspan(fixed), [&](std::uint16_t, Bytes) -> Checked {
      if (++option_count_ > kMostOptions) return std::unexpected(kDhcpv6TooManyOptions);
      return {};
    });
  });
}

Checked Dhcpv6View::read_requests(Bytes value) {
  if (value.size() % 2 != 0) return std::unexpected(kDhcpv6OptionSize);
  if (has_requests_) return std::unexpected(kDhcpv6OptionRepeated);
  has_requests_ = true;
  for (; !value.empty(); value = value.subspan(2)) {
    const auto code = base::load_be<std::uint16_t>(value.first<2>());
    if (code < 64) requests_ |= std::uint64_t{1} << code;
  }
  return {};
}

Checked Dhcpv6View::read_option(std::uint16_t code, Bytes value) {
  if (++option_count_ > kMostOptions) return std::unexpected(kDhcpv6TooManyOptions);
  switch (code) {
    case dhcpv6_option::kClientId:
    case dhcpv6_option::kServerId: {
      Bytes& id = code == dhcpv6_option::kClientId ? client_id_ : server_id_;
      if (!id.empty()) return std::unexpected(kDhcpv6OptionRepeated);
      if (!is_duid(value)) return std::unexpected(kDhcpv6OptionSize);
      id = value;
      return {};
    }
    case dhcpv6_option::kIaNa:
    case dhcpv6_option::kIaTa:
    case dhcpv6_option::kIaPd: return read_association(code, value);
    case dhcpv6_option::kOptionRequest: return read_requests(value);
    case dhcpv6_option::kElapsedTime:
      if (value.size() != 2) return std::unexpected(kDhcpv6OptionSize);
      return {};
    case dhcpv6_option::kRapidCommit:
      if (!value.empty()) return std::unexpected(kDhcpv6OptionSize);
      if (rapid_commit_) return std::unexpected(kDhcpv6OptionRepeated);
      rapid_commit_ = true;
      return {};
    case dhcpv6_option::kFqdn:
      if (value.empty()) return std::unexpected(kDhcpv6OptionSize);
      if (fqdn_flags_) return std::unexpected(kDhcpv6OptionRepeated);
      fqdn_flags_ = std::to_integer<std::uint8_t>(value[0]);
      return {};
    case dhcpv6_option::kStatusCode:
      if (value.size() < 2) return std::unexpected(kDhcpv6OptionSize);
      return {};
    default: return {};
  }
}

std::expected<Dhcpv6View, ParseError> Dhcpv6View::parse(Bytes payload) {
  if (payload.size() < 4) return std::unexpected(kDhcpv6Truncated);
  const std::uint32_t head = base::load_be<std::uint32_t>(payload.first<4>());
  const auto type = static_cast<std::uint8_t>(head >> 24U);
  if (type < 1 || type > 13) return std::unexpected(kDhcpv6MessageType);
  Dhcpv6View view;
  view.type_ = Dhcpv6Type{type};
  view.transaction_ = head & 0xffffffU;
  if (view.type_ == Dhcpv6Type::kRelayForward || view.type_ == Dhcpv6Type::kRelayReply) return view;
  const auto read = each_option(
      payload.subspan(4), [&view](std::uint16_t code, Bytes value) { return view.read_option(code, value); });
  if (!read) return std::unexpected(read.error());
  return view;
}

}  // namespace cordon::wire
