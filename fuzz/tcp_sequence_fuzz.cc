// Stateful: the input is a configuration and a sequence of events for one connection. The invariants of
// tests/tcp/invariants.h are checked after each event; the first violation aborts. The last byte chooses who
// opens: kFromOutside, or else the guest.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "tests/tcp/invariants.h"

namespace {

using cordon::net::SeqNum;
using cordon::tcp::Config;
using cordon::tcp::Segment;
using cordon::tcp::State;
using cordon::tcp::test::Checked;

constexpr std::uint8_t kFromOutside = 0xa5;

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return at_ >= bytes_.size(); }
  std::uint8_t u8() { return empty() ? std::uint8_t{0} : bytes_[at_++]; }
  std::uint16_t u16() {
    const unsigned low = u8();
    return static_cast<std::uint16_t>(low | static_cast<unsigned>(u8()) << 8U);
  }
  std::uint32_t u32() {
    const std::uint32_t low = u16();
    return low | static_cast<std::uint32_t>(u16()) << 16U;
  }
  // Mostly small distances, now and then any.
  std::uint32_t distance() {
    const std::uint8_t kind = u8();
    if (kind < 128) return 0;
    if (kind < 192) return static_cast<std::uint32_t>(static_cast<std::int8_t>(u8()));
    if (kind < 250) return static_cast<std::uint32_t>(static_cast<std::int16_t>(u16()));
    return u32();
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

Segment read_segment(Input& in, const Checked& c) {
  Segment s;
  const std::uint8_t flags = in.u8();
  s.ack_flag = (flags & 1U) == 0;  // the usual case is 0
  s.fin = (flags & 2U) != 0;
  s.psh = (flags & 4U) != 0;
  s.syn = (flags & 0x18U) == 0x18U;  // rare
  s.rst = (flags & 0x60U) == 0x60U;
  s.seq = c.rcv_nxt() + in.distance();
  s.ack = ((flags & 0x80U) != 0 ? c.snd_una() : c.snd_max()) + in.distance();
  s.window = in.u16();
  s.payload = in.u16();
  s.sack_count = static_cast<std::uint8_t>(in.u8() % 5);
  for (std::uint8_t i = 0; i < s.sack_count; ++i) {
    s.sack[i].left = c.snd_una() + in.distance();
    s.sack[i].right = s.sack[i].left + in.distance();
  }
  if (c.state() == State::kSynSent) {  // mostly an answer
    s.syn = (flags & 8U) == 0;
    const std::uint8_t options = in.u8();
    if ((options & 1U) != 0) s.mss = in.u16();
    if ((options & 2U) != 0) s.window_scale = in.u8();
    s.sack_permitted = (options & 4U) != 0;
  }
  return s;
}

void event(Input& in, Checked& c) {
  switch (in.u8() % 12) {
    case 0:
    case 1:
    case 2: c.segment(read_segment(in, c)); return;
    case 3: c.granted(); return;
    case 4: c.host_data(in.u16()); return;
    case 5: c.drain(); return;
    case 6: (void)c.pull(); return;
    case 7: (void)c.pull(true); return;
    case 8: c.pass(std::chrono::microseconds{std::uint64_t{1} << (in.u8() % 40U)}); return;
    case 9: c.host_takes(in.u16()); return;
    case 10: c.keep_stashed((in.u8() & 1U) != 0); return;
    default: break;
  }
  switch (in.u8() % 16) {
    case 0: c.host_error(); return;
    case 1: c.revoked(); return;
    case 2: c.smaller_segments(c.snd_una() + in.distance(), in.u16()); return;
    case 3: c.unreachable(c.snd_una() + in.distance()); return;
    case 4: c.guest_known(); return;
    case 5:
    case 6: c.give_credit(in.u16() * 4U); return;
    default: c.host_eof(); return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{{data, size}};
  Segment syn{.seq = SeqNum{in.u32()}, .syn = true, .window = in.u16()};
  const std::uint8_t options = in.u8();
  if ((options & 1U) != 0) syn.mss = in.u16();
  if ((options & 2U) != 0) syn.window_scale = in.u8();
  syn.sack_permitted = (options & 4U) != 0;
  Config config{.isn = SeqNum{in.u32()}, .mss = 1460, .window_scale = 8};
  if ((options & 8U) != 0) config.initial_credit = 4096U + in.u16() * 16U;
  if ((options & 16U) != 0) config.mss = in.u16();
  if ((options & 32U) != 0) config.max_super_segment = in.u16();
  config.ipv6 = (options & 64U) != 0;
  constexpr auto kStart = cordon::base::Instant::from_nanos(1'000'000'000);
  const bool from_outside = size > 0 && data[size - 1] == kFromOutside;
  Checked c = from_outside ? Checked{syn.seq, config, kStart} : Checked{syn, config, kStart};
  if ((options & 128U) != 0 && from_outside) {
    c.drain();
    syn.ack_flag = true;
    syn.ack = config.isn + 1U;
    c.segment(syn);
  } else if ((options & 128U) != 0) {  // straight to an established connection
    c.granted();
    c.drain();
    c.segment({.seq = c.rcv_nxt(), .ack = c.snd_max(), .ack_flag = true, .window = syn.window});
  }
  for (int i = 0; i < 400 && !in.empty(); ++i) {
    event(in, c);
    if (!c.violation().empty()) {
      std::fprintf(stderr, "event %d: %s\n", i, c.violation().c_str());
      std::abort();
    }
  }
  return 0;
}
