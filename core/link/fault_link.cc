#include "core/link/fault_link.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

namespace cordon::link {
namespace {

constexpr std::size_t kHeldSize = 68U << 10U;

std::unexpected<std::string> bad(std::string_view item, std::string_view expected) {
  return std::unexpected("\"" + std::string(item) + "\": " + std::string(expected));
}

// "1%", "0.5%" in parts per million; at most four digits behind the point count.
std::optional<std::uint32_t> parse_percent(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  text.remove_suffix(1);
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view fraction = point == std::string_view::npos ? "" : text.substr(point + 1);
  if (whole.empty() || whole.size() > 3 || fraction.size() > 4 ||
      (point != std::string_view::npos && fraction.empty()))
    return std::nullopt;
  std::uint32_t ppm = 0;
  const auto digit = [&ppm](char c) {
    if (c < '0' || c > '9') return false;
    ppm = ppm * 10 + static_cast<std::uint32_t>(c - '0');
    return true;
  };
  for (const char c : whole)
    if (!digit(c)) return std::nullopt;
  for (std::size_t i = 0; i < 4; ++i)
    if (!digit(i < fraction.size() ? fraction[i] : '0')) return std::nullopt;
  if (ppm > 1'000'000) return std::nullopt;
  return ppm;
}

}  // namespace

std::expected<Faults, std::string> parse_faults(std::string_view text) {
  Faults faults;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : item.substr(equals + 1);
    if (key == "seed") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), faults.seed);
      if (error != std::errc{} || end != value.data() + value.size())
        return bad(item, "expected a number, as in seed=7");
    } else if (key == "loss" || key == "duplicate" || key == "reorder") {
      const auto ppm = parse_percent(value);
      if (!ppm)
        return bad(item, "expected a percentage from 0% to 100%, as in " + std::string(key) + "=0.5%");
      (key == "loss" ? faults.loss : key == "duplicate" ? faults.duplicate : faults.reorder) = *ppm;
    } else {
      return bad(item, "expected loss=, duplicate=, reorder= or seed=");
    }
    if (comma == std::string_view::npos) return faults;
    text.remove_prefix(comma + 1);
  }
}

FaultLink::FaultLink(Link& inner, const Faults& faults)
    : ForwardingLink(inner), faults_(faults), state_(faults.seed), held_bytes_(kHeldSize) {}

// splitmix64 (Steele, Lea, Flood 2014).
bool FaultLink::chance(std::uint32_t ppm) {
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return (z ^ (z >> 31U)) % 1'000'000 < ppm;
}

std::size_t FaultLink::receive(std::span<Frame> frames) { return harm(frames, inner_.receive(half(frames))); }
std::size_t FaultLink::receive_bulk(std::span<Frame> frames) {
  return harm(frames, inner_.receive_bulk(half(frames)));
}

std::size_t FaultLink::harm(std::span<Frame> frames, std::size_t n) {
  if (n == 0) return 0;
  std::array<Frame, 256> in;
  const std::size_t count = std::min(n, in.size());
  std::copy_n(frames.begin(), count, in.begin());
  for (std::size_t i = 0; i + 1 < count; ++i) {
    if (!chance(faults_.reorder)) continue;
    std::swap(in[i], in[i + 1]);
    ++stats_.reordered;
  }
  std::size_t out = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (chance(faults_.loss)) {
      ++stats_.lost;
      continue;
    }
    frames[out++] = in[i];
    if (out < frames.size() && chance(faults_.duplicate)) {
      frames[out++] = in[i];
      ++stats_.duplicated;
    }
  }
  return out;
}

SendStatus FaultLink::send(const Offload& offload, std::span<const iovec> parts) {
  if (chance(faults_.loss)) {
    ++stats_.lost;
    return SendStatus::kSent;
  }
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  if (held_.size == 0 && size > 0 && size <= kHeldSize && chance(faults_.reorder)) {
    held_ = {offload, size};
    std::size_t at = 0;
    for (const iovec& part : parts) {
      if (part.iov_len > 0) std::memcpy(held_bytes_.data() + at, part.iov_base, part.iov_len);
      at += part.iov_len;
    }
    ++stats_.reordered;
    return SendStatus::kSent;
  }
  const SendStatus status = inner_.send(offload, parts);
  if (status != SendStatus::kSent) return status;
  if (chance(faults_.duplicate)) {
    ++stats_.duplicated;
    // A duplicate the link cannot take is not missed.
    static_cast<void>(inner_.send(offload, parts));
  }
  static_cast<void>(release_held());
  return status;
}

SendStatus FaultLink::release_held() {
  if (held_.size == 0) return SendStatus::kSent;
  const iovec part{held_bytes_.data(), held_.size};
  held_.size = 0;
  return inner_.send(held_.offload, std::span(&part, 1));
}

void FaultLink::flush() {
  static_cast<void>(release_held());
  inner_.flush();
}

}  // namespace cordon::link
