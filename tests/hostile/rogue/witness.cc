#include "tests/hostile/rogue/witness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <stdexcept>

#include "core/base/bytes.h"

namespace cordon::rogue {
namespace {

constexpr std::size_t kMostLines = 8;  // of one source

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

void bind_to(int fd, const char* address, std::uint16_t port) {
  sockaddr_in6 v6{};
  sockaddr_in v4{};
  v6.sin6_family = AF_INET6;
  v4.sin_family = AF_INET;
  v6.sin6_port = v4.sin_port = htons(port);
  const bool is_v6 = ::inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
  if (!is_v6 && ::inet_pton(AF_INET, address, &v4.sin_addr) != 1) fail(address);
  const int rc = is_v6 ? ::bind(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6)
                       : ::bind(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  if (rc != 0) fail(std::string{"bind "} + address);
}

base::Fd listener(const std::string& netns, const char* address, std::uint16_t port) {
  const bool v6 = std::strchr(address, ':') != nullptr;
  base::Fd fd = socket_in(netns, v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  bind_to(fd.get(), address, port);
  if (::listen(fd.get(), 1024) != 0) fail("listen");
  return fd;
}

base::Fd receiver(const std::string& netns, const char* address, std::uint16_t port) {
  const bool v6 = std::strchr(address, ':') != nullptr;
  base::Fd fd = socket_in(netns, v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  bind_to(fd.get(), address, port);
  return fd;
}

// Passes what is not between the host and the allowed addresses, and of that what is no TCP, UDP, echo or
// fragment of them: a flood of allowed packets must not blind the tap.
class TapFilter {
 public:
  TapFilter() {
    constexpr auto kProtocol = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL);
    load(BPF_W, kProtocol);
    const auto arp = equal(ETH_P_ARP);
    const auto v4 = equal(ETH_P_IP);
    const auto v6 = equal(ETH_P_IPV6);
    keep();
    here(arp);
    drop();
    here(v4);
    one_family(AF_INET, kServer4, {12, 16}, 9, {IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP});
    here(v6);
    one_family(AF_INET6, kServer6, {8, 24}, 6, {IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_FRAGMENT});
  }
  void attach(int fd) {
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) fail("tap filter");
  }

 private:
  using Jump = std::size_t;

  void load(std::uint16_t width, std::uint32_t offset) {
    code_.push_back({static_cast<std::uint16_t>(BPF_LD | width | BPF_ABS), 0, 0, offset});
  }
  // Taken when it is equal.
  Jump equal(std::uint32_t value) {
    code_.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 0, value});
    return code_.size() - 1;
  }
  void here(Jump jump) { code_[jump].jt = static_cast<std::uint8_t>(code_.size() - jump - 1); }
  void here_otherwise(Jump jump) { code_[jump].jf = static_cast<std::uint8_t>(code_.size() - jump - 1); }
  void keep() { code_.push_back({BPF_RET | BPF_K, 0, 0, 0xffff}); }
  void drop() { code_.push_back({BPF_RET | BPF_K, 0, 0, 0}); }

  void one_family(int family, const char* server, std::array<std::uint32_t, 2> addresses,
                  std::uint32_t protocol_at, std::initializer_list<std::uint32_t> protocols) {
    std::array<std::byte, 16> bytes{};
    ::inet_pton(family, server, bytes.data());
    const std::size_t words = family == AF_INET ? 1 : 4;
    for (const std::uint32_t address : addresses) {
      std::vector<Jump> others;
      for (std::size_t i = 0; i < words; ++i) {
        load(BPF_W, address + 4 * static_cast<std::uint32_t>(i));
        others.push_back(equal(base::load_be<std::uint32_t>(std::span{bytes}.subspan(4 * i).first<4>())));
      }
      load(BPF_B, protocol_at);
      std::vector<Jump> known;
      for (const std::uint32_t protocol : protocols) known.push_back(equal(protocol));
      keep();
      for (const Jump jump : known) here(jump);
      drop();
      for (const Jump jump : others) here_otherwise(jump);
    }
    keep();
  }

  std::vector<sock_filter> code_;
};

std::string text_of(int family, const std::byte* at) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(family, at, text.data(), text.size());
  return text.data();
}

// Neighbour discovery and the host's own membership in solicited-node groups (RFC 4861, RFC 3810).
bool is_housekeeping(std::span<const std::byte> packet) {
  std::size_t at = 40;
  auto next = std::to_integer<unsigned>(packet[6]);
  if (next == 0 && packet.size() > at + 8) {
    next = std::to_integer<unsigned>(packet[at]);
    at += 8;
  }
  if (next != IPPROTO_ICMPV6 || packet.size() < at + 8) return false;
  const auto type = std::to_integer<unsigned>(packet[at]);
  if (type >= 133 && type <= 137) return true;
  if (type != 143) return false;
  const auto records = std::to_integer<std::size_t>(packet[at + 7]);
  for (std::size_t i = 0, record = at + 8; i < records; ++i, record += 20) {
    if (packet.size() < record + 20) return false;
    // A router's groups (RFC 4291 2.7.1) are ff02::2 and ff05::2.
    const auto scope = std::to_integer<unsigned>(packet[record + 5]);
    if (packet[record + 4] != std::byte{0xff} || (scope != 2 && scope != 5)) return false;
    if (scope == 5 && packet[record + 19] != std::byte{2}) return false;
  }
  return true;
}

// The host's bridge reports its membership of 224.0.0.106, where snooping bridges hear of each other (RFC
// 4286).
bool is_bridge_report(std::span<const std::byte> packet) {
  const std::size_t at = std::to_integer<std::size_t>(packet[0] & std::byte{15}) * 4;
  constexpr std::size_t kOneRecord = 16;
  if (std::to_integer<unsigned>(packet[9]) != IPPROTO_IGMP || packet.size() < at + kOneRecord) return false;
  return packet[at + 7] == std::byte{1} && packet[at + 12] == std::byte{224} &&
         packet[at + 13] == std::byte{0} && packet[at + 14] == std::byte{0};
}

// The broker asks the kernel's packet filter by a byte to itself (app/backstop.cc): the ports are one.
bool is_backstop_probe(std::span<const std::byte> packet) {
  const bool v6 = std::to_integer<unsigned>(packet[0]) >> 4U == 6;
  const std::size_t at = v6 ? 40 : 20;
  constexpr std::size_t kDatagram = 9;
  if (packet.size() != at + kDatagram || std::to_integer<unsigned>(packet[v6 ? 6 : 9]) != IPPROTO_UDP)
    return false;
  return packet[at] == packet[at + 2] && packet[at + 1] == packet[at + 3];
}

std::string hex(std::span<const std::byte> bytes) {
  constexpr std::size_t kMost = 160;
  std::string out{": "};
  std::array<char, 3> digits{};
  for (const std::byte byte : bytes.first(std::min(bytes.size(), kMost))) {
    std::snprintf(digits.data(), digits.size(), "%02x", std::to_integer<unsigned>(byte));
    out += digits.data();
  }
  return out;
}

std::string describe(std::span<const std::byte> packet) {
  const auto version = packet.empty() ? 0U : std::to_integer<unsigned>(packet[0]) >> 4U;
  if (version == 4 && packet.size() >= 20)
    return text_of(AF_INET, packet.data() + 12) + " > " + text_of(AF_INET, packet.data() + 16) +
           " protocol " + std::to_string(std::to_integer<unsigned>(packet[9]));
  if (version == 6 && packet.size() >= 40)
    return text_of(AF_INET6, packet.data() + 8) + " > " + text_of(AF_INET6, packet.data() + 24) +
           " protocol " + std::to_string(std::to_integer<unsigned>(packet[6])) + hex(packet.subspan(40));
  return "a packet of " + std::to_string(packet.size()) + " bytes";
}

}  // namespace

base::Fd socket_in(const std::string& netns, int family, int type, int protocol) {
  if (netns.empty()) {
    base::Fd fd{::socket(family, type | SOCK_CLOEXEC, protocol)};
    if (!fd) fail("socket");
    return fd;
  }
  const base::Fd here{::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
  const base::Fd there{::open(netns.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!here || !there || ::setns(there.get(), CLONE_NEWNET) != 0) fail(netns);
  base::Fd fd{::socket(family, type | SOCK_CLOEXEC, protocol)};
  if (::setns(here.get(), CLONE_NEWNET) != 0 || !fd) fail("socket in " + netns);
  return fd;
}

Witness::Witness(const std::string& outside)
    : outside_(outside),
      tcp4_(listener(outside, kServer4, kAllowed)),
      tcp6_(listener(outside, kServer6, kAllowed)),
      udp4_(receiver(outside, kServer4, kAllowed)),
      udp6_(receiver(outside, kServer6, kAllowed)) {
  add_canary(outside, "outside", kCanary);
  add_canary({}, "host", kCanary);
  add_canary({}, "host, the allowed port", kAllowed);
  add_tap("lo", true);
  add_tap("up0", false);
  add_tap("br0", false);
}

// The wildcard address: every address there is, and every one to come.
void Witness::add_canary(const std::string& netns, std::string name, std::uint16_t port) {
  canaries_.push_back({std::move(name), listener(netns, "::", port), receiver(netns, "::", port)});
}

void Witness::add_tap(const char* interface, bool loopback) {
  base::Fd fd = socket_in({}, AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  const int buffer = 16 << 20;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  TapFilter{}.attach(fd.get());
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) fail(interface);
  taps_.push_back({interface, std::move(fd), loopback});
}

base::Fd Witness::accept(bool v6, int limit_ms) {
  pollfd ready{v6 ? tcp6_.get() : tcp4_.get(), POLLIN, 0};
  if (::poll(&ready, 1, limit_ms) != 1) return {};
  return base::Fd{::accept4(ready.fd, nullptr, nullptr, SOCK_CLOEXEC)};
}

base::Fd Witness::stranger(bool v6) const { return receiver(outside_, v6 ? kServer6 : kServer4, 0); }

void Witness::read_canary(const Canary& canary, std::vector<std::string>& seen) const {
  std::array<std::byte, 2048> buffer;
  for (std::size_t i = 0; i < kMostLines; ++i) {
    const base::Fd fd{::accept4(canary.tcp.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (!fd) break;
    seen.push_back("canary (" + canary.name + "): a connection");
  }
  for (std::size_t i = 0; i < kMostLines; ++i) {
    if (::recv(canary.udp.get(), buffer.data(), buffer.size(), 0) < 0) break;
    seen.push_back("canary (" + canary.name + "): a datagram");
  }
}

void Witness::read_tap(const Tap& tap, std::vector<std::string>& seen) const {
  std::array<std::byte, 2048> buffer;
  std::size_t lines = 0;
  for (;;) {
    const ssize_t got = ::recv(tap.fd.get(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (got < 0) break;
    const auto packet = std::span{buffer}.first(std::min(static_cast<std::size_t>(got), buffer.size()));
    if (packet.size() >= 40 && std::to_integer<unsigned>(packet[0]) >> 4U == 6 && is_housekeeping(packet))
      continue;
    if (packet.size() >= 20 && std::to_integer<unsigned>(packet[0]) >> 4U == 4 && is_bridge_report(packet))
      continue;
    if (tap.loopback && packet.size() >= 20 && is_backstop_probe(packet)) continue;
    if (++lines <= kMostLines) seen.push_back("wire (" + tap.name + "): " + describe(packet));
  }
  tpacket_stats stats{};
  socklen_t size = sizeof stats;
  if (::getsockopt(tap.fd.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0 && stats.tp_drops > 0)
    seen.push_back("wire (" + tap.name + "): blind for " + std::to_string(stats.tp_drops) + " packets");
}

std::vector<std::string> Witness::leaks() {
  std::vector<std::string> seen;
  for (const Canary& canary : canaries_) read_canary(canary, seen);
  for (const Tap& tap : taps_) read_tap(tap, seen);
  return seen;
}

void Witness::forget() {
  static_cast<void>(leaks());
  clear();
}

void Witness::clear() {
  std::array<std::byte, 2048> buffer;
  for (const bool v6 : {false, true}) {
    while (const base::Fd old = accept(v6, 0)) {
    }
    while (::recv(udp(v6), buffer.data(), buffer.size(), 0) >= 0) {
    }
  }
}

}  // namespace cordon::rogue
