// hostile_flood DEVICE GATEWAY_MAC KIND COUNT [ADDRESS PORT]: sends COUNT frames, as fast as the device takes
// them, from inside a guest; each is the first of a flow of its own. Prints how many the device took, in what
// time.
//   udp, tcp, icmp   to ADDRESS (PORT), from 10.0.2.15
//   scan             UDP to addresses that no rule names
//   spoof            UDP to ADDRESS from addresses of others
//   arp              questions for the gateway
#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/fd.h"

namespace {

using Frame = std::vector<std::uint8_t>;

void put16(Frame& frame, std::size_t at, std::uint32_t value) {
  frame[at] = static_cast<std::uint8_t>(value >> 8U);
  frame[at + 1] = static_cast<std::uint8_t>(value);
}
void put32(Frame& frame, std::size_t at, std::uint32_t value) {
  put16(frame, at, value >> 16U);
  put16(frame, at + 2, value & 0xffffU);
}

std::uint32_t sum_of(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += std::uint32_t{bytes[i]} << (i % 2 == 0 ? 8U : 0U);
  return sum;
}
std::uint32_t folded(std::uint32_t sum) {
  while ((sum >> 16U) != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return ~sum & 0xffffU;
}

constexpr std::size_t kIp = 14, kL4 = 34;

struct Flood {
  std::string_view kind;
  std::array<std::uint8_t, 6> gateway{}, own{};
  std::uint32_t address = 0;
  unsigned port = 0;

  // Number `i` of them.
  [[nodiscard]] Frame frame(std::uint32_t i) const {
    Frame out(62);
    std::memcpy(out.data(), gateway.data(), 6);
    std::memcpy(&out[6], own.data(), 6);
    if (kind == "arp") {
      constexpr std::array<std::uint8_t, 10> kHead{8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
      std::memcpy(&out[12], kHead.data(), kHead.size());
      std::memcpy(&out[22], own.data(), 6);
      put32(out, 28, 0x0a00020f);
      put32(out, 38, 0x0a000202);
      return out;
    }
    put16(out, 12, 0x0800);
    out[kIp] = 0x45;
    put16(out, kIp + 2, static_cast<std::uint32_t>(out.size() - kIp));
    out[kIp + 8] = 64;
    out[kIp + 9] = kind == "tcp" ? 6 : kind == "icmp" ? 1 : 17;
    const std::uint32_t source = kind == "spoof" ? 0x0a090000 + i % 65536 : 0x0a00020f;
    put32(out, kIp + 12, source);
    // 203.0.113.0/24 and its neighbours' ports: never twice the same before 2^24.
    put32(out, kIp + 16, kind == "scan" ? 0xcb007100 + i / 60000 % 256 : address);
    put16(out, kIp + 10, folded(sum_of(std::span(out).subspan(kIp, 20))));
    const auto l4 = [&out] { return std::span(out).subspan(kL4); };
    if (kind == "icmp") {
      out[kL4] = 8;
      put16(out, kL4 + 4, i);
      put16(out, kL4 + 2, folded(sum_of(l4())));
      return out;
    }
    put16(out, kL4, 1024 + i % 60000);
    put16(out, kL4 + 2, port + i / 60000);
    std::size_t checksum = kL4 + 6;
    if (kind == "tcp") {
      put32(out, kL4 + 4, i * 7919);
      out[kL4 + 12] = 0x50;
      out[kL4 + 13] = 2;
      put16(out, kL4 + 14, 65535);
      out.resize(kL4 + 20);
      put16(out, kIp + 2, 40);
      put16(out, kIp + 10, 0);
      put16(out, kIp + 10, folded(sum_of(std::span(out).subspan(kIp, 20))));
      checksum = kL4 + 16;
    } else {
      put16(out, kL4 + 4, static_cast<std::uint32_t>(out.size() - kL4));
    }
    const auto size = static_cast<std::uint32_t>(out.size() - kL4);
    const std::uint32_t pseudo = sum_of(std::span(out).subspan(kIp + 12, 8), out[kIp + 9] + size);
    put16(out, checksum, folded(sum_of(std::span<const std::uint8_t>(out).subspan(kL4), pseudo)));
    return out;
  }
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

// How many the device took.
std::uint64_t send_all(int socket, const Flood& flood, std::uint32_t count) {
  constexpr std::uint32_t kBatch = 64;
  std::uint64_t sent = 0;
  for (std::uint32_t first = 0; first < count; first += kBatch) {
    std::array<Frame, kBatch> frames;
    std::array<iovec, kBatch> parts{};
    std::array<mmsghdr, kBatch> messages{};
    const std::uint32_t n = std::min(kBatch, count - first);
    for (std::uint32_t i = 0; i < n; ++i) {
      frames[i] = flood.frame(first + i);
      parts[i] = {frames[i].data(), frames[i].size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    for (std::uint32_t done = 0; done < n;) {
      const int took = ::sendmmsg(socket, &messages[done], n - done, 0);
      if (took > 0) {
        done += static_cast<std::uint32_t>(took);
        sent += static_cast<std::uint64_t>(took);
      } else if (errno == ENOBUFS || errno == EAGAIN) {
        std::this_thread::sleep_for(std::chrono::microseconds{200});
      } else {
        fail("sendmmsg");
      }
    }
  }
  return sent;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 7) {
    std::fputs("usage: hostile_flood DEVICE GATEWAY_MAC KIND COUNT [ADDRESS PORT]\n", stderr);
    return 2;
  }
  Flood flood;
  flood.kind = argv[3];
  std::array<unsigned, 6> mac{};
  if (std::sscanf(argv[2], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
    return 2;
  for (std::size_t i = 0; i < 6; ++i) flood.gateway.at(i) = static_cast<std::uint8_t>(mac.at(i));
  if (argc == 7) {
    in_addr address{};
    if (::inet_pton(AF_INET, argv[5], &address) != 1) return 2;
    flood.address = ntohl(address.s_addr);
    flood.port = static_cast<unsigned>(std::atoi(argv[6]));
  }
  const cordon::base::Fd socket{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
  ifreq request{};
  std::strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
  if (!socket || ::ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0) fail("the device");
  std::memcpy(flood.own.data(), request.ifr_hwaddr.sa_data, 6);
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_ifindex = static_cast<int>(::if_nametoindex(argv[1]));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) fail("bind");
  const auto begin = std::chrono::steady_clock::now();
  const auto sent =
      send_all(socket.get(), flood, static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 0)));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("{\"sent\": %llu, \"a_second\": %.0f}\n", static_cast<unsigned long long>(sent),
              static_cast<double>(sent) / took.count());
  return 0;
}
