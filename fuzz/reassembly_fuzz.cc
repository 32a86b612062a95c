// Fragments of several datagrams, mixed, late and on top of each other, against a plain model: what comes out
// is exactly what was put in, once, and only of datagrams whose fragments never overlapped. Input: records of
// datagram (1 byte), flags (1), offset in units (2), length (2), seconds that pass (1).
#include "core/wire/reassembly.h"

#include <map>
#include <optional>
#include <vector>

#include "fuzz/input.h"

using namespace cordon;
using namespace cordon::wire;
using fuzz::require;

namespace {

constexpr std::size_t kSlots = 3;

// One datagram as the model keeps it.
struct Model {
  base::Instant expires;
  std::vector<int> bytes;  // -1: not there
  std::optional<std::size_t> end;
  bool condemned = false;
};

class Machine {
 public:
  void fragment(fuzz::Input& in) {
    const unsigned which = in.u8();
    const unsigned flags = in.u8();
    const bool large = (flags & 2U) != 0;  // mostly not, for speed
    const std::size_t offset = in.u16() % (large ? 8192U : 32U) * std::size_t{8};
    std::size_t length = in.u16() % (large ? 65536U : 128U);
    // Never twice the same instant: of two that expire together either may go first.
    now_ = now_ + std::chrono::seconds{in.u8() % 8U} + std::chrono::nanoseconds{1};
    const bool more = (flags & 1U) != 0;
    const bool v4 = which % 2 == 0;
    if (more) length = length / 8 * 8;
    // What parse_packet() promises.
    if (length == 0 || offset + length > (v4 ? 65515U : 65535U)) return;
    if (offset == 0 && !more) return;
    payload_.assign(length, std::byte{0});
    for (std::size_t i = 0; i < length; ++i)
      payload_[i] = static_cast<std::byte>((offset + i) * 31U + (flags & 0xf0U));
    Packet packet;
    packet.source =
        v4 ? net::IpAddress{net::Ipv4Address{10, 0, 2, 15}} : net::IpAddress{net::Ipv6Address{{0xfd}}};
    packet.destination = v4 ? net::IpAddress{net::Ipv4Address{192, 0, 2, 1}}
                            : net::IpAddress{net::Ipv6Address{{0x20, 1, 0xd, 0xb8}}};
    packet.protocol = static_cast<IpProtocol>(253);  // for experiments (RFC 3692): nothing to verify
    packet.hop_limit = 64;
    packet.is_fragment = true;
    packet.more_fragments = more;
    packet.fragment_offset = static_cast<std::uint16_t>(offset);
    packet.fragment_id = which / 2U % 8U;
    packet.l4 = payload_;
    check(which % 16U, packet, reassembler_.add(packet, now_));
    require(reassembler_.evictions() == evictions_);
  }

 private:
  // The datagram the fragment belongs to; when there is no room the one that expires first goes.
  Model& model_of(unsigned key) {
    std::erase_if(models_, [this](const auto& entry) { return entry.second.expires <= now_; });
    if (const auto found = models_.find(key); found != models_.end()) return found->second;
    if (models_.size() == kSlots) {
      ++evictions_;
      models_.erase(
          std::ranges::min_element(models_, {}, [](const auto& entry) { return entry.second.expires; }));
    }
    Model& fresh = models_[key];
    fresh.expires = now_ + std::chrono::seconds{5};
    return fresh;
  }

  static FragmentOutcome put(Model& model, const Packet& fragment) {
    if (model.condemned) return FragmentOutcome::kOverlap;
    const std::size_t from = fragment.fragment_offset, to = from + fragment.l4.size();
    const bool last = !fragment.more_fragments;
    model.condemned = true;
    if (last && model.end)
      return *model.end == to ? FragmentOutcome::kOverlap : FragmentOutcome::kInconsistent;
    if (model.end && to > *model.end) return FragmentOutcome::kInconsistent;
    if (last && model.bytes.size() > to) return FragmentOutcome::kInconsistent;
    if (model.bytes.size() < to) model.bytes.resize(to, -1);
    for (std::size_t i = from; i < to; ++i)
      if (model.bytes[i] != -1) return FragmentOutcome::kOverlap;
    model.condemned = false;
    for (std::size_t i = from; i < to; ++i) model.bytes[i] = std::to_integer<int>(fragment.l4[i - from]);
    if (last) model.end = to;
    const bool whole = model.end && std::ranges::find(model.bytes, -1) == model.bytes.end();
    return whole ? FragmentOutcome::kComplete : FragmentOutcome::kHeld;
  }

  void check(unsigned key, const Packet& fragment, const Reassembler::Result& result) {
    Model& model = model_of(key);
    const FragmentOutcome wanted = put(model, fragment);
    require(result.outcome == wanted);
    require(result.packet.has_value() == (wanted == FragmentOutcome::kComplete));
    if (!result.packet) return;
    const Packet& whole = *result.packet;
    require(!whole.is_fragment && whole.source == fragment.source &&
            whole.destination == fragment.destination && whole.protocol == fragment.protocol);
    require(
        std::ranges::equal(whole.l4, model.bytes, {}, [](std::byte b) { return std::to_integer<int>(b); }));
    models_.erase(key);
  }

  Reassembler reassembler_{kSlots};
  base::Instant now_ = base::Instant::from_nanos(1'000'000'000);
  std::map<unsigned, Model> models_;
  std::vector<std::byte> payload_;
  std::uint64_t evictions_ = 0;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in{data, size};
  Machine machine;
  for (int i = 0; i < 128 && !in.empty(); ++i) machine.fragment(in);
  return 0;
}
