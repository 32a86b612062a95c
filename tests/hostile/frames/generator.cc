#include "tests/hostile/frames/generator.h"

#include <algorithm>

namespace cordon::hostile {

using test::put16;
using test::slow_sum;

namespace {

unsigned at8(const Buffer& bytes, std::size_t at) { return std::to_integer<unsigned>(bytes[at]); }

void put32(Buffer& bytes, std::size_t at, std::uint32_t value) {
  put16(bytes, at, value >> 16U);
  put16(bytes, at + 2, value & 0xffffU);
}

void repair_l4(Buffer& frame, std::size_t l4, unsigned protocol, std::uint32_t addresses) {
  std::size_t field = 0;
  if (protocol == 6) field = 16;
  if (protocol == 17) field = 6;
  if (protocol == 1 || protocol == 58) field = 2;
  if (field == 0 || frame.size() < l4 + field + 2) return;
  put16(frame, l4 + field, 0);
  const base::Bytes rest = base::Bytes(frame).subspan(l4);
  std::uint32_t sum = 0;
  if (protocol != 1) {
    sum = addresses + protocol + static_cast<std::uint32_t>(rest.size());
    sum = (sum & 0xffffU) + (sum >> 16U);
  }
  std::uint16_t value = static_cast<std::uint16_t>(~slow_sum(rest, sum));
  if (protocol == 17 && value == 0) value = 0xffff;
  put16(frame, l4 + field, value);
}

}  // namespace

void repair(Buffer& frame, bool lengths) {
  if (frame.size() < 14 + 20) return;
  const base::Bytes all(frame);
  if (at8(frame, 12) == 8 && at8(frame, 13) == 0) {
    const std::size_t header = (at8(frame, 14) & 15U) * std::size_t{4};
    if (header < 20 || frame.size() < 14 + header) return;
    if (lengths)
      put16(frame, 16, static_cast<std::uint32_t>(std::min<std::size_t>(frame.size() - 14, 65535)));
    put16(frame, 24, 0);
    put16(frame, 24, static_cast<std::uint16_t>(~slow_sum(all.subspan(14, header))));
    if (((at8(frame, 20) & 0x3fU) | at8(frame, 21)) == 0)
      repair_l4(frame, 14 + header, at8(frame, 23), slow_sum(all.subspan(26, 8)));
  } else if (at8(frame, 12) == 0x86 && at8(frame, 13) == 0xdd && frame.size() >= 54) {
    if (lengths)
      put16(frame, 18, static_cast<std::uint32_t>(std::min<std::size_t>(frame.size() - 54, 65535)));
    repair_l4(frame, 54, at8(frame, 20), slow_sum(all.subspan(22, 32)));
  }
}

Generator::Generator(const Place& place, std::uint64_t seed) : place_(place), make_(place_), random_(seed) {
  for (Row& row : all_rows(place))
    for (std::size_t i = 0; i < row.frames.size() && i < 256; ++i)
      corpus_.push_back(std::move(row.frames[i]));
  for (std::size_t i = 0; i < kTalks; ++i)
    talks_[i] = {.v6 = i % 3 == 2, .port = static_cast<std::uint16_t>(41000 + i), .seq = any32()};
  noise_.resize(1 << 17);
  for (std::byte& b : noise_) b = static_cast<std::byte>(any32() >> 11U);
}

Buffer Generator::bytes(std::size_t size) {
  const auto at = noise_.begin() + static_cast<std::ptrdiff_t>(roll(60000));
  return {at, at + static_cast<std::ptrdiff_t>(std::min<std::size_t>(size, 66000))};
}

void Generator::hear(const Seen& seen) {
  if (seen.kind != Kind::kTcp && seen.kind != Kind::kReset) return;
  for (Talk& talk : talks_) {
    if (talk.port != seen.to) continue;
    if (seen.kind == Kind::kReset) {
      talk.open = false;
      return;
    }
    const bool syn = (seen.flags & kSyn) != 0;
    talk.ack = seen.seq + static_cast<std::uint32_t>(seen.payload.size()) + (syn ? 1U : 0U) +
               ((seen.flags & kFin) != 0 ? 1U : 0U);
    if (syn) talk.scale = seen.scale;
    if ((seen.flags & kAck) != 0) talk.seq = seen.ack;
    talk.window = seen.window;
    talk.open = true;
    return;
  }
}

Buffer Generator::options() {
  static const char* const kSome[] = {"020405b4",
                                      "01030308 04020101",
                                      "0101080a 0000000100000000",
                                      "0101050a 0000000100000100",
                                      "0101051200000001000001000000020000000300",
                                      "02040000",
                                      "0303ff00",
                                      "01010101",
                                      "00ffffff",
                                      "0200 0000",
                                      "fe04beef"};
  if (!chance(40)) return {};
  Buffer out = hex(kSome[roll(std::size(kSome))]);
  if (chance(10)) out = out + hex(kSome[roll(std::size(kSome))]);
  out.resize(std::min<std::size_t>((out.size() + 3) / 4 * 4, 40));
  return out;
}

// A segment of one of the talks: mostly what its window allows, often at the edges of it, sometimes anything.
Buffer Generator::tcp() {
  Talk& talk = talks_[roll(kTalks)];
  Tcp segment{.from = talk.port, .to = static_cast<std::uint16_t>(80 + (chance(5) ? roll(3) : 0))};
  segment.seq = talk.seq;
  segment.ack = talk.ack;
  segment.flags = kAck;
  segment.window = static_cast<std::uint16_t>(chance(80) ? 65535 : any32());
  if (!talk.open && chance(70)) {
    segment.flags = kSyn;
    if (chance(50)) talk.seq = segment.seq = any32();
    if (chance(80)) segment.options = hex("020405b4 04020303 07000000");
    if (chance(20)) segment.payload = bytes(roll(64));
    talk.open = true;
  } else {
    const std::uint32_t edge = std::uint32_t{talk.window} << talk.scale;
    const std::uint32_t seqs[] = {0,           0,           0,           0,        0,      1,
                                  ~0U,         edge - 1,    edge,        edge + 1, ~1459U, 1460,
                                  0x7fffffffU, 0x80000000U, roll(70000), any32()};
    segment.seq += seqs[roll(std::size(seqs))];
    const std::uint32_t acks[] = {0, 0, 0, 0, 0, 1, ~0U, ~999U, roll(100000), any32()};
    segment.ack += acks[roll(std::size(acks))];
    if (chance(60)) segment.payload = bytes(chance(80) ? roll(1461) : roll(65000));
    if (chance(6)) segment.flags |= kFin;
    if (chance(2)) segment.flags |= kRst;
    if (chance(2)) segment.flags |= kSyn;
    if (chance(30)) segment.flags |= kPsh;
    if (chance(5)) segment.flags = static_cast<std::uint16_t>(roll(512));
    if (chance(5)) segment.window = static_cast<std::uint16_t>(roll(3));
    if (chance(10)) segment.urgent = static_cast<std::uint16_t>(any32());
    segment.options = options();
  }
  Ip ip{.tos = static_cast<std::uint8_t>(chance(10) ? any32() : 0)};
  return make_.tcp(segment, ip, talk.v6);
}

Buffer Generator::datagram() {
  Udp udp{.from = static_cast<std::uint16_t>(42000 + roll(12)),
          .to = static_cast<std::uint16_t>(9000 + roll(4))};
  static constexpr std::uint32_t kSizes[] = {0, 1, 8, 100, 512, 1400, 1472, 1473};
  udp.payload = bytes(chance(95) ? kSizes[roll(std::size(kSizes))] : roll(65400));
  if (chance(3)) udp.to = static_cast<std::uint16_t>(chance(50) ? 53 : 67);
  return make_.udp(udp, {.ttl = static_cast<std::uint8_t>(chance(95) ? 64 : roll(3))}, chance(30));
}

Buffer Generator::echo() {
  Buffer body = bytes(4 + roll(200));
  put16(body, 0, roll(6));
  const bool v6 = chance(30);
  return make_.icmp(v6 ? 128 : 8, 0, body, {}, v6);
}

// Queues the pieces of a datagram in some order, some of them twice, moved or left out.
void Generator::cut(const Buffer& l4, const Ip& ip, bool v6) {
  if (pieces_.size() > 256) return;
  const std::size_t step =
      std::max<std::size_t>(8, (roll(static_cast<std::uint32_t>(l4.size()) + 8) / 8) * 8);
  Frames made;
  for (std::size_t at = 0; at < l4.size() && made.size() < 64; at += step) {
    const std::size_t end = std::min(l4.size(), at + step);
    Maker::Piece piece{
        at,
        Buffer(l4.begin() + static_cast<std::ptrdiff_t>(at), l4.begin() + static_cast<std::ptrdiff_t>(end)),
        end != l4.size()};
    if (chance(3)) continue;
    if (chance(3)) piece.offset = (piece.offset + 8 * roll(4)) & 0xfff8U;
    if (chance(2)) piece.more = !piece.more;
    if (chance(2)) piece.bytes.resize(piece.bytes.size() + roll(9));
    made.emplace_back(make_.fragment(piece, ip, v6));
    if (chance(3)) made.push_back(made.back());
  }
  if (chance(50)) std::ranges::shuffle(made, random_);
  pieces_.insert(pieces_.end(), made.begin(), made.end());
}

Buffer Generator::mutated(Buffer frame) {
  for (std::uint32_t n = 1 + roll(4); n > 0 && !frame.empty(); --n) {
    // Headers more often than what is behind them.
    const std::size_t at =
        roll(static_cast<std::uint32_t>(chance(80) ? std::min<std::size_t>(frame.size(), 90) : frame.size()));
    const auto where = frame.begin() + static_cast<std::ptrdiff_t>(at);
    switch (roll(8)) {
      case 0: frame[at] ^= static_cast<std::byte>(1U << roll(8)); break;
      case 1: frame[at] = static_cast<std::byte>(any32()); break;
      case 2: frame[at] = chance(50) ? std::byte{0} : std::byte{0xff}; break;
      case 3:
        if (at + 4 <= frame.size()) put32(frame, at, chance(50) ? any32() : 0xffffffffU >> roll(32));
        break;
      case 4: frame.resize(at); break;
      case 5: frame.insert(where, noise_.begin(), noise_.begin() + roll(40)); break;
      case 6: frame.erase(where, where + std::min<std::ptrdiff_t>(roll(20), frame.end() - where)); break;
      default: {  // the end of another frame
        const Buffer& other = corpus_[roll(static_cast<std::uint32_t>(corpus_.size()))].bytes;
        if (at >= other.size() || other.size() > 4096) break;
        frame.resize(at);
        frame.insert(frame.end(), other.begin() + static_cast<std::ptrdiff_t>(at), other.end());
        break;
      }
    }
  }
  if (chance(80)) repair(frame, chance(80));
  // A frame the source check refuses is no news.
  if (chance(80) && frame.size() >= 14) {
    const Buffer macs = hex(place_.our_mac) + hex(place_.guest_mac);
    std::copy(macs.begin(), macs.end(), frame.begin());
  }
  return frame;
}

// Metadata of a link that has such: mostly true, sometimes a lie.
void Generator::dress(Frame& frame) {
  if (frame.bytes.size() < 60) return;
  const bool v6 = at8(frame.bytes, 12) == 0x86;
  const unsigned protocol = at8(frame.bytes, v6 ? 20 : 23);
  link::Offload& offload = frame.offload;
  offload.needs_checksum = true;
  offload.checksum_start = v6 ? 54 : 34;
  offload.checksum_offset = protocol == 6 ? 16 : 6;
  offload.header_length = static_cast<std::uint16_t>(offload.checksum_start + (protocol == 6 ? 20 : 8));
  if (frame.bytes.size() > 1514 || chance(20)) {
    offload.gso = protocol == 17 ? link::Gso::kUdp : v6 ? link::Gso::kTcp6 : link::Gso::kTcp4;
    offload.gso_size = static_cast<std::uint16_t>(chance(80) ? 1448 : 1 + roll(65535));
  }
  if (chance(90)) return;
  switch (roll(4)) {
    case 0: offload.checksum_start = static_cast<std::uint16_t>(roll(100)); break;
    case 1: offload.checksum_offset = static_cast<std::uint16_t>(roll(100)); break;
    case 2: offload.gso = static_cast<link::Gso>(roll(4)); break;
    default: offload.gso_size = static_cast<std::uint16_t>(any32()); break;
  }
  // What no link lets through: it has to lie within the frame, and a super-frame has a size.
  if (std::size_t{offload.checksum_start} + offload.checksum_offset + 2 > frame.bytes.size() ||
      offload.checksum_start < 14 || (offload.gso != link::Gso::kNone && offload.gso_size == 0))
    offload = {};
}

const Frame& Generator::next() {
  frame_ = Frame(Buffer{});
  const std::uint32_t kind = roll(100);
  if (!pieces_.empty() && chance(40)) {
    std::swap(pieces_[roll(static_cast<std::uint32_t>(std::min<std::size_t>(pieces_.size(), 4)))],
              pieces_.front());
    frame_ = std::move(pieces_.front());
    pieces_.erase(pieces_.begin());
    if (chance(5)) frame_.bytes = mutated(std::move(frame_.bytes));
    return frame_;
  }
  if (kind < 40) {
    frame_.bytes = tcp();
  } else if (kind < 50) {
    frame_.bytes = datagram();
  } else if (kind < 54) {
    frame_.bytes = echo();
  } else if (kind < 58) {
    const bool v6 = chance(40);
    const Ip ip{.protocol = 17, .id = static_cast<std::uint16_t>(roll(32)), .fragment = 0};
    cut(make_.udp_bytes({.from = static_cast<std::uint16_t>(43000 + roll(4)), .payload = bytes(roll(6000))},
                        ip, v6),
        ip, v6);
    frame_.bytes = echo();
  } else {
    frame_ = corpus_[roll(static_cast<std::uint32_t>(corpus_.size()))];
  }
  if (kind >= 58 ? chance(85) : chance(15)) frame_.bytes = mutated(std::move(frame_.bytes));
  if (kind < 50 && chance(30)) dress(frame_);
  return frame_;
}

}  // namespace cordon::hostile
