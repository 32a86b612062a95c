#include "core/wire/reassembly.h"

#include <algorithm>
#include <cstring>

#include "core/wire/checksum.h"
#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"

namespace cordon::wire {
namespace {

void put_v4_header(MutableBytes out, net::Ipv4Address source, net::Ipv4Address destination,
                   IpProtocol protocol, std::uint8_t ttl, std::uint8_t traffic_class, std::size_t payload) {
  std::fill(out.begin(), out.end(), std::byte{0});
  ipv4_layout::VersionAndLength::put(out, 0x45);
  ipv4_layout::TrafficClass::put(out, traffic_class);
  ipv4_layout::TotalLength::put(out, static_cast<std::uint16_t>(out.size() + payload));
  ipv4_layout::Ttl::put(out, ttl);
  ipv4_layout::Protocol::put(out, static_cast<std::uint8_t>(protocol));
  ipv4_layout::Source::put(out, source);
  ipv4_layout::Destination::put(out, destination);
  ipv4_layout::Checksum::put(out, checksum(out));
}

void put_v6_header(MutableBytes out, net::Ipv6Address source, net::Ipv6Address destination,
                   IpProtocol protocol, std::uint8_t hop_limit, std::uint8_t traffic_class,
                   std::size_t payload) {
  ipv6_layout::VersionClassFlow::put(out, 0x60000000U | (std::uint32_t{traffic_class} << 20U));
  ipv6_layout::PayloadLength::put(out, static_cast<std::uint16_t>(payload));
  ipv6_layout::NextHeader::put(out, static_cast<std::uint8_t>(protocol));
  ipv6_layout::HopLimit::put(out, hop_limit);
  ipv6_layout::Source::put(out, source);
  ipv6_layout::Destination::put(out, destination);
}

}  // namespace

std::string_view name(FragmentOutcome outcome) {
  switch (outcome) {
    case FragmentOutcome::kHeld: return "held";
    case FragmentOutcome::kComplete: return "complete";
    case FragmentOutcome::kOverlap: return "overlap";
    case FragmentOutcome::kInconsistent: return "inconsistent";
    case FragmentOutcome::kMalformed: return "malformed";
  }
  return "unknown";
}

Reassembler::Reassembler(std::size_t slots)
    : slots_(std::max<std::size_t>(slots, 1)),
      buffers_(std::make_unique_for_overwrite<std::byte[]>(slots_.size() * kBuffer)) {}

bool Reassembler::Slot::mark(std::uint32_t first, std::uint32_t count) {
  bool fresh = true;
  for (std::uint32_t unit = first; unit < first + count;) {
    // Up to 64 units of one word at a time.
    const std::uint32_t bit = unit % 64;
    const std::uint32_t run = std::min(64 - bit, first + count - unit);
    const std::uint64_t mask = (run == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << run) - 1) << bit;
    std::uint64_t& word = units[unit / 64];
    fresh = fresh && (word & mask) == 0;
    word |= mask;
    unit += run;
  }
  return fresh;
}

base::MutableBytes Reassembler::buffer_of(const Slot& slot) {
  const auto index = static_cast<std::size_t>(&slot - slots_.data());
  return {buffers_.get() + index * kBuffer, kBuffer};
}

Reassembler::Slot& Reassembler::slot_for(const Packet& fragment, base::Instant now) {
  Slot* oldest = slots_.data();
  for (Slot& slot : slots_) {
    if (slot.expires > now && slot.id == fragment.fragment_id && slot.protocol == fragment.protocol &&
        slot.source == fragment.source && slot.destination == fragment.destination)
      return slot;
    if (slot.expires < oldest->expires) oldest = &slot;
  }
  if (oldest->expires > now) ++evictions_;
  *oldest = Slot{};
  oldest->source = fragment.source;
  oldest->destination = fragment.destination;
  oldest->id = fragment.fragment_id;
  oldest->protocol = fragment.protocol;
  oldest->expires = now + kLifetime;
  return *oldest;
}

Reassembler::Result Reassembler::add(const Packet& fragment, base::Instant now) {
  Slot& slot = slot_for(fragment, now);
  if (slot.condemned) return {FragmentOutcome::kOverlap, {}, {}};
  const auto length = static_cast<std::uint32_t>(fragment.l4.size());
  const std::uint32_t offset = fragment.fragment_offset;
  // parse_packet() promises: not empty, a multiple of 8 unless last, offset + length within the family's
  // limit.
  const std::uint32_t end = offset + length;
  const bool last = !fragment.more_fragments;
  if (length == 0 || end > kMaxPayload || (slot.end != 0 && (end > slot.end || last)) ||
      (last && slot.highest > end)) {
    // A second last fragment is a duplicate, unless it names another end.
    const bool duplicate = last && slot.end == end;
    slot.condemned = true;
    return {duplicate ? FragmentOutcome::kOverlap : FragmentOutcome::kInconsistent, {}, {}};
  }
  if (!slot.mark(offset / 8, (length + 7) / 8)) {
    slot.condemned = true;
    return {FragmentOutcome::kOverlap, {}, {}};
  }
  if (offset == 0) {
    slot.hop_limit = fragment.hop_limit;
    slot.traffic_class = fragment.traffic_class;
  }
  if (last) slot.end = end;
  slot.highest = std::max(slot.highest, end);
  slot.received += length;
  std::memcpy(buffer_of(slot).data() + kMaxHeader + offset, fragment.l4.data(), length);
  if (slot.end == 0 || slot.received != slot.end) return {FragmentOutcome::kHeld, {}, {}};
  return finish(slot);
}

// No unit is marked twice and the bytes add up to the end: every byte is there.
Reassembler::Result Reassembler::finish(Slot& slot) {
  const bool v4 = slot.source.is_v4();
  const std::size_t header = v4 ? Ipv4View::kMinHeader : Ipv6View::kHeader;
  const MutableBytes ip = buffer_of(slot).subspan(kMaxHeader - header, header + slot.end);
  if (v4) {
    put_v4_header(ip.first(header), slot.source.v4(), slot.destination.v4(), slot.protocol, slot.hop_limit,
                  slot.traffic_class, slot.end);
  } else {
    put_v6_header(ip.first(header), slot.source.v6(), slot.destination.v6(), slot.protocol, slot.hop_limit,
                  slot.traffic_class, slot.end);
  }
  slot.expires = base::Instant::from_nanos(INT64_MIN);  // free; its bytes stay until the next add()
  auto packet = parse_packet(ip, v4 ? EtherType::kIpv4 : EtherType::kIpv6, ChecksumPolicy::kVerifyL4);
  if (!packet) return {FragmentOutcome::kMalformed, packet.error(), {}};
  // A fragment header inside the reassembled packet (IPv6), be it that of a whole one.
  if (packet->fragment_header) return {FragmentOutcome::kMalformed, ParseError::kIpv6FragmentRepeated, {}};
  return {FragmentOutcome::kComplete, {}, *packet};
}

}  // namespace cordon::wire
