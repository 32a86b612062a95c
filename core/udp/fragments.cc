#include "core/udp/fragments.h"

#include <algorithm>
#include <cstring>

#include "core/wire/checksum.h"

namespace cordon::udp {
namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::size_t kUdpHeader = 8;
constexpr std::size_t kFragmentHeader = 8;

template <class T>
void put(wire::HeaderBuffer out, std::size_t at, T value) {
  base::store_be<T>(out.subspan(at).template first<sizeof(T)>(), value);
}

std::array<std::byte, kUdpHeader> udp_header(const wire::FrameTemplate& flow, base::Bytes payload) {
  std::array<std::byte, wire::kMaxHeaders> whole;
  const iovec part = wire::piece(payload);
  const auto built = wire::build_udp(flow, std::span(&part, 1), wire::ChecksumMode::kFull, whole);
  std::array<std::byte, kUdpHeader> header;
  std::memcpy(header.data(), &whole[built.length - kUdpHeader], kUdpHeader);
  return header;
}

}  // namespace

Fragments::Fragments(const wire::FrameTemplate& flow, base::Bytes payload, std::uint16_t mtu,
                     std::uint32_t id)
    : Fragments(flow, udp_header(flow, payload), payload, mtu, id) {}

Fragments::Fragments(const wire::FrameTemplate& flow, std::span<const std::byte, kHeader> header,
                     base::Bytes payload, std::uint16_t mtu, std::uint32_t id)
    : flow_(flow), payload_(payload), id_(id) {
  const std::size_t network = flow.is_v4() ? 20 : 40 + kFragmentHeader;
  piece_ = (std::max<std::size_t>(mtu, network + 8) - network) / 8 * 8;
  std::ranges::copy(header, header_.begin());
}

std::optional<Fragment> Fragments::next(wire::HeaderBuffer out) {
  const std::size_t total = kHeader + payload_.size();
  if (offset_ >= total) return std::nullopt;
  const std::size_t length = std::min(piece_, total - offset_);
  const bool more = offset_ + length < total;
  const auto units = static_cast<std::uint32_t>(offset_ / 8);
  std::size_t at = 0;
  if (flow_.is_v4()) {
    at = flow_.put_network(out, length);
    put<std::uint16_t>(out, kEthernet + 4, static_cast<std::uint16_t>(id_));
    put<std::uint16_t>(out, kEthernet + 6, static_cast<std::uint16_t>((more ? 0x2000U : 0U) | units));
    put<std::uint16_t>(out, kEthernet + 10, 0);
    // checksum() answers the field's value in host order.
    put<std::uint16_t>(out, kEthernet + 10, wire::checksum(out.subspan(kEthernet, 20)));
  } else {
    at = flow_.put_network(out, kFragmentHeader + length);
    const std::byte inner = out[kEthernet + 6];
    out[kEthernet + 6] = std::byte{44};
    out[at] = inner;
    out[at + 1] = std::byte{0};
    put<std::uint16_t>(out, at + 2, static_cast<std::uint16_t>((unsigned{units} << 3U) | (more ? 1U : 0U)));
    put<std::uint32_t>(out, at + 4, id_);
    at += kFragmentHeader;
  }
  Fragment fragment;
  std::size_t first = offset_;
  if (offset_ == 0) {
    std::memcpy(&out[at], header_.data(), kHeader);
    at += kHeader;
    fragment.payload = payload_.first(length - kHeader);
  } else {
    first -= kHeader;
    fragment.payload = payload_.subspan(first, length);
  }
  fragment.header_length = at;
  offset_ += length;
  return fragment;
}

}  // namespace cordon::udp
