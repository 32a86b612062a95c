#include "core/wire/dhcp.h"

namespace cordon::wire {
namespace {

using enum ParseError;

// Lengths that the definitions allow; options without a row may have any.
struct Size {
  std::uint8_t least;
  std::uint8_t most;
};
std::optional<Size> size_of(std::uint8_t code) {
  switch (code) {
    case dhcp_option::kRequestedAddress:
    case dhcp_option::kServerId:
    case dhcp_option::kLeaseTime: return Size{4, 4};
    case dhcp_option::kOverload:
    case dhcp_option::kMessageType: return Size{1, 1};
    case dhcp_option::kMaxSize: return Size{2, 2};
    case dhcp_option::kParameterList:
    case dhcp_option::kHostName: return Size{1, 255};
    case dhcp_option::kClientId: return Size{2, 255};
    case dhcp_option::kRapidCommit: return Size{0, 0};
    case dhcp_option::kFqdn: return Size{3, 255};
    default: return std::nullopt;
  }
}

std::uint8_t first_byte(Bytes value) { return std::to_integer<std::uint8_t>(value[0]); }

}  // namespace

std::expected<void, ParseError> DhcpView::read_option(std::uint8_t code, Bytes value) {
  const auto size = size_of(code);
  if (!size) return {};
  if (value.size() < size->least || value.size() > size->most) return std::unexpected(kDhcpOptionSize);
  // A long parameter list may come in pieces (RFC 3396); nothing else that is read here may.
  if (seen_[code] && code != dhcp_option::kParameterList) return std::unexpected(kDhcpOptionRepeated);
  seen_[code] = true;
  switch (code) {
    case dhcp_option::kMessageType:
      if (first_byte(value) < 1 || first_byte(value) > 8) return std::unexpected(kDhcpMessageType);
      type_ = DhcpType{first_byte(value)};
      break;
    case dhcp_option::kRequestedAddress: requested_ = net::Ipv4Address::from_bytes(value.first<4>()); break;
    case dhcp_option::kServerId: server_ = net::Ipv4Address::from_bytes(value.first<4>()); break;
    case dhcp_option::kMaxSize:
      max_size_ = base::load_be<std::uint16_t>(value.first<2>());
      if (*max_size_ < 576) return std::unexpected(kDhcpOptionSize);
      break;
    case dhcp_option::kClientId: client_id_ = value; break;
    case dhcp_option::kRapidCommit: rapid_commit_ = true; break;
    case dhcp_option::kFqdn: fqdn_flags_ = first_byte(value); break;
    case dhcp_option::kParameterList:
      has_parameters_ = true;
      for (const std::byte b : value) parameters_[std::to_integer<std::size_t>(b)] = true;
      break;
    case dhcp_option::kOverload:
      if (first_byte(value) < 1 || first_byte(value) > 3) return std::unexpected(kDhcpOverload);
      overload_ = first_byte(value);
      break;
    default: break;
  }
  return {};
}

std::expected<void, ParseError> DhcpView::read_area(Bytes area) {
  for (std::size_t at = 0; at < area.size();) {
    const auto code = std::to_integer<std::uint8_t>(area[at]);
    if (code == dhcp_option::kEnd) return {};
    if (code == dhcp_option::kPad) {
      ++at;
      continue;
    }
    if (at + 2 > area.size()) return std::unexpected(kDhcpOptionLength);
    const auto length = std::to_integer<std::size_t>(area[at + 1]);
    if (at + 2 + length > area.size()) return std::unexpected(kDhcpOptionLength);
    if (const auto ok = read_option(code, area.subspan(at + 2, length)); !ok) return ok;
    at += 2 + length;
  }
  return std::unexpected(kDhcpNoEnd);  // RFC 2131 section 4.1
}

std::expected<DhcpView, ParseError> DhcpView::parse(Bytes payload) {
  if (payload.size() < dhcp_layout::kFixed) return std::unexpected(kDhcpTruncated);
  if (dhcp_layout::Operation::get(payload) != 1 || dhcp_layout::HardwareType::get(payload) != 1 ||
      dhcp_layout::HardwareLength::get(payload) != 6)
    return std::unexpected(kDhcpHeader);
  if (dhcp_layout::Cookie::get(payload) != dhcp_layout::kCookie) return std::unexpected(kDhcpCookie);
  DhcpView view{payload};
  if (const auto ok = view.read_area(payload.subspan(dhcp_layout::kFixed)); !ok)
    return std::unexpected(ok.error());
  // RFC 2131 section 4.1: options, then file, then sname. Option 52 there would be seen twice or is too late.
  const std::uint8_t overload = view.overload_;
  view.seen_[dhcp_option::kOverload] = true;
  if ((overload & 1U) != 0)
    if (const auto ok = view.read_area(payload.subspan(dhcp_layout::kFile, dhcp_layout::kFileSize)); !ok)
      return std::unexpected(ok.error());
  if ((overload & 2U) != 0)
    if (const auto ok =
            view.read_area(payload.subspan(dhcp_layout::kServerName, dhcp_layout::kServerNameSize));
        !ok)
      return std::unexpected(ok.error());
  if (!view.seen_[dhcp_option::kMessageType]) return std::unexpected(kDhcpMessageType);
  return view;
}

}  // namespace cordon::wire
