#include "tests/hostile/frames/well_formed.h"

#include <algorithm>

namespace cordon::hostile {
namespace {

using test::slow_sum;

unsigned at8(base::Bytes bytes, std::size_t at) { return std::to_integer<unsigned>(bytes[at]); }
unsigned at16(base::Bytes bytes, std::size_t at) { return at8(bytes, at) << 8U | at8(bytes, at + 1); }
std::uint32_t at32(base::Bytes bytes, std::size_t at) {
  return std::uint32_t{at16(bytes, at)} << 16U | at16(bytes, at + 2);
}
bool is(base::Bytes bytes, const Buffer& wanted) { return std::ranges::equal(bytes, wanted); }
Buffer copy(base::Bytes bytes) { return {bytes.begin(), bytes.end()}; }

class Reader {
 public:
  Reader(const Place& place, base::Bytes frame, const link::Offload& offload)
      : place_(place), frame_(frame), offload_(offload) {}

  Seen read() {
    if (const char* wrong = ethernet()) seen_.wrong = wrong;
    return std::move(seen_);
  }

 private:
  const char* ethernet() {
    if (frame_.size() < 14) return "no Ethernet header";
    if (!is(frame_.subspan(6, 6), hex(place_.our_mac))) return "source MAC is not ours";
    group_ = (at8(frame_, 0) & 1U) != 0;
    if (!group_ && !is(frame_.first(6), hex(place_.guest_mac))) return "to a MAC that is not the guest's";
    switch (at16(frame_, 12)) {
      case 0x0806: return arp();
      case 0x0800: return ipv4();
      case 0x86dd: return ipv6();
      default: return "a type we do not speak";
    }
  }

  const char* arp() {
    seen_.kind = Kind::kArp;
    if (frame_.size() != 60 && frame_.size() != 42) return "ARP of a strange length";
    if (!is(frame_.subspan(14, 6), hex("000108000604"))) return "ARP header";
    const unsigned operation = at16(frame_, 20);
    if (operation != 1 && operation != 2) return "ARP operation";
    if (!is(frame_.subspan(22, 6), hex(place_.our_mac))) return "ARP sender MAC";
    for (std::size_t i = 42; i < frame_.size(); ++i)
      if (at8(frame_, i) != 0) return "old bytes in the padding";
    return nullptr;
  }

  const char* ipv4() {
    const base::Bytes ip = frame_.subspan(14);
    if (ip.size() < 20 || at8(ip, 0) != 0x45) return "IPv4 header";
    if (at16(ip, 2) != ip.size()) return "IPv4 total length";
    if (slow_sum(ip.first(20)) != 0xffff) return "IPv4 checksum";
    if (at8(ip, 8) == 0) return "TTL 0";
    source_ = copy(ip.subspan(12, 4));
    target_ = copy(ip.subspan(16, 4));
    const unsigned first = at8(ip, 12);
    // In the name of whoever was spoken to, but never of a group or nobody.
    if ((first >= 224 && first < 240) || source_ == Buffer(4) || source_ == Buffer(4, std::byte{0xff}))
      return "IPv4 source";
    if (!is(ip.subspan(16, 4), address(place_.guest4)) && !group_ && at8(ip, 9) != 17)
      return "to an IPv4 address that is not the guest's";
    l4_ = ip.subspan(20);
    start_ = 34;
    protocol_ = at8(ip, 9);
    const unsigned fragment = at16(ip, 6);
    if ((fragment & 0x8000U) != 0) return "the reserved flag";
    if ((fragment & 0x3fffU) != 0) {
      seen_.kind = Kind::kFragment;
      return (fragment & 0x2000U) != 0 && l4_.size() % 8 != 0 ? "a fragment that is no multiple of eight"
                                                              : nullptr;
    }
    return transport();
  }

  const char* ipv6() {
    const base::Bytes ip = frame_.subspan(14);
    if (ip.size() < 40 || at8(ip, 0) >> 4U != 6) return "IPv6 header";
    if (at16(ip, 4) + 40U != ip.size()) return "IPv6 payload length";
    if (at8(ip, 7) == 0) return "hop limit 0";
    source_ = copy(ip.subspan(8, 16));
    target_ = copy(ip.subspan(24, 16));
    if (at8(ip, 8) == 0xff || is(ip.subspan(8, 16), Buffer(16))) return "IPv6 source";
    // Any of its /64 where it makes addresses itself.
    const Buffer guest = address(place_.guest6);
    const bool to_guest = is(ip.subspan(24, 8), Buffer(guest.begin(), guest.begin() + 8)) ||
                          (at8(ip, 24) == 0xfe && at8(ip, 25) == 0x80) || at8(ip, 24) == 0xff;
    if (!to_guest) return "to an IPv6 address that is not the guest's";
    l4_ = ip.subspan(40);
    start_ = 54;
    protocol_ = at8(ip, 6);
    if (protocol_ == 44) {
      seen_.kind = Kind::kFragment;
      return l4_.size() < 9 ? "fragment header" : nullptr;
    }
    return transport();
  }

  const char* transport() {
    switch (protocol_) {
      case 6: return tcp();
      case 17: return udp();
      case 1:
      case 58: return icmp();
      default: return "a protocol we do not speak";
    }
  }

  std::uint32_t pseudo() const {
    if (protocol_ == 1) return 0;
    return slow_sum(source_ + target_, protocol_ + static_cast<std::uint32_t>(l4_.size()));
  }
  const char* sum(std::size_t field) const {
    if (offload_.needs_checksum) {
      if (offload_.checksum_start != start_ || offload_.checksum_offset != field) return "offload's offsets";
      return at16(l4_, field) == pseudo() ? nullptr : "pseudo-header sum";
    }
    if (offload_.gso != link::Gso::kNone) return "a super-frame without a partial checksum";
    return offload_.checksum_valid || slow_sum(l4_, pseudo()) == 0xffff ? nullptr : "L4 checksum";
  }
  const char* super(link::Gso wanted) const {
    if (offload_.gso == link::Gso::kNone) return nullptr;
    if (offload_.gso != wanted) return "super-frame of another kind";
    if (offload_.gso_size == 0) return "super-frame without a size";
    return nullptr;
  }

  const char* tcp() {
    seen_.kind = Kind::kTcp;
    if (l4_.size() < 20) return "TCP header";
    const std::size_t header = (at8(l4_, 12) >> 4U) * std::size_t{4};
    if (header < 20 || header > l4_.size()) return "TCP data offset";
    if (const char* wrong = sum(16)) return wrong;
    if (const char* wrong = super(source_.size() == 4 ? link::Gso::kTcp4 : link::Gso::kTcp6)) return wrong;
    seen_.from = static_cast<std::uint16_t>(at16(l4_, 0));
    seen_.to = static_cast<std::uint16_t>(at16(l4_, 2));
    seen_.seq = at32(l4_, 4);
    seen_.ack = at32(l4_, 8);
    seen_.flags = static_cast<std::uint16_t>(at16(l4_, 12) & 0xfffU);
    seen_.window = static_cast<std::uint16_t>(at16(l4_, 14));
    seen_.payload = copy(l4_.subspan(header));
    if (seen_.from == 0 || seen_.to == 0) return "TCP port 0";
    if ((seen_.flags & ~0x1fU) != 0) return "TCP flags we do not speak";
    const unsigned kinds = seen_.flags & (kSyn | kFin | kRst);
    if ((kinds & (kinds - 1U)) != 0) return "SYN, FIN and RST together";
    if ((seen_.flags & (kSyn | kRst | kAck)) == 0) return "a segment without ACK";
    if (at16(l4_, 18) != 0) return "an urgent pointer";
    if ((seen_.flags & kRst) != 0) seen_.kind = Kind::kReset;
    if ((seen_.flags & kRst) != 0 && !seen_.payload.empty()) return "a reset with data";
    return options(l4_.subspan(20, header - 20));
  }

  const char* options(base::Bytes bytes) {
    while (!bytes.empty()) {
      const unsigned kind = at8(bytes, 0);
      if (kind == 0) break;
      if (kind == 1) {
        bytes = bytes.subspan(1);
        continue;
      }
      if (bytes.size() < 2) return "a TCP option cut short";
      const std::size_t length = at8(bytes, 1);
      if (length < 2 || length > bytes.size()) return "a TCP option's length";
      const bool syn = (seen_.flags & kSyn) != 0;
      if ((kind == 2 && (length != 4 || !syn)) || (kind == 3 && (length != 3 || !syn)) ||
          (kind == 4 && (length != 2 || !syn)) || (kind == 5 && (length % 8 != 2 || syn)) || kind > 5)
        return "a TCP option out of place";
      if (kind == 3) seen_.scale = static_cast<std::uint8_t>(at8(bytes, 2));
      bytes = bytes.subspan(length);
    }
    return nullptr;
  }

  const char* udp() {
    seen_.kind = Kind::kUdp;
    if (l4_.size() < 8) return "UDP header";
    if (at16(l4_, 4) != (l4_.size() & 0xffffU)) return "UDP length";
    if (at16(l4_, 6) == 0 && source_.size() == 16) return "UDP without a checksum";
    if (at16(l4_, 6) != 0)
      if (const char* wrong = sum(6)) return wrong;
    if (const char* wrong = super(link::Gso::kUdp)) return wrong;
    seen_.from = static_cast<std::uint16_t>(at16(l4_, 0));
    seen_.to = static_cast<std::uint16_t>(at16(l4_, 2));
    seen_.payload = copy(l4_.subspan(8));
    return seen_.from == 0 || seen_.to == 0 ? "UDP port 0" : nullptr;
  }

  const char* icmp() {
    if (l4_.size() < 8) return "ICMP header";
    if (slow_sum(l4_, pseudo()) != 0xffff) return "ICMP checksum";
    const unsigned type = at8(l4_, 0);
    const bool v6 = protocol_ == 58;
    if (v6 != (source_.size() == 16)) return "ICMP of the other family";
    if (type == (v6 ? 129U : 0U)) {
      seen_.kind = Kind::kEcho;
      return at8(l4_, 1) != 0 ? "echo with a code" : nullptr;
    }
    if (v6 && type >= 133 && type <= 136) {
      seen_.kind = type == 134 ? Kind::kAdvertisement : Kind::kDiscovery;
      return at8(frame_, 14 + 7) != 255 ? "discovery with a hop limit" : nullptr;
    }
    const bool error = v6 ? type >= 1 && type <= 4 : type == 3 || type == 11;
    if (!error) return "an ICMP type we do not speak";
    seen_.kind = Kind::kError;
    // RFC 1812 4.3.2.3, RFC 4443 2.4.
    if (frame_.size() - 14 > (v6 ? 1280U : 576U)) return "an error that is too long";
    const base::Bytes quoted = l4_.subspan(8);
    if (quoted.size() < (v6 ? 40U : 20U)) return "an error that quotes no header";
    if (!is(quoted.subspan(v6 ? 8 : 12, target_.size()), target_))
      return "an error about somebody else's packet";
    return nullptr;
  }

  const Place& place_;
  base::Bytes frame_;
  const link::Offload& offload_;
  bool group_ = false;
  Buffer source_, target_;
  base::Bytes l4_;
  std::size_t start_ = 0;
  unsigned protocol_ = 0;
  Seen seen_;
};

}  // namespace

Seen read_frame(const Place& place, base::Bytes frame, const link::Offload& offload) {
  return Reader(place, frame, offload).read();
}

}  // namespace cordon::hostile
