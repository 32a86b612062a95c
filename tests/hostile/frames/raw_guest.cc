// A guest that sends the rows' frames raw, from a namespace that cordon serves or as a machine on a stream
// socket. Prints what must have been counted at least, by outcome.
//
//   raw_guest tap INTERFACE [GUEST6 GATEWAY6 DNS6]     in the guest's namespace
//   raw_guest stream SOCKET                            QEMU's framing
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>

#include "core/base/fd.h"
#include "tests/hostile/frames/rows.h"

namespace {

using namespace cordon;
using namespace cordon::hostile;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::string digits(base::Bytes bytes) {
  std::string out;
  for (const std::byte b : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(b));
    out += two;
  }
  return out;
}

class Wire {
 public:
  virtual ~Wire() = default;
  virtual bool put(const Buffer& frame) = 0;  // false: this wire cannot carry it
  virtual bool get(Buffer& frame) = 0;        // false: nothing within a second
  virtual void drain() = 0;
  bool verifies = true;
  std::string mac = "020000000015";
};

class Packets final : public Wire {
 public:
  explicit Packets(const char* name) : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(::if_nametoindex(name));
    if (!fd_.valid() || ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) fail(name);
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (::ioctl(fd_.get(), SIOCGIFHWADDR, &request) != 0) fail("SIOCGIFHWADDR");
    mac = digits(std::as_bytes(std::span(request.ifr_hwaddr.sa_data)).first(6));
  }
  bool put(const Buffer& frame) override {
    if (frame.size() < 14) return false;  // the kernel refuses them
    for (;;) {
      if (::send(fd_.get(), frame.data(), frame.size(), 0) >= 0) return true;
      if (errno == ENOBUFS || errno == EAGAIN) {
        ::usleep(1000);
        continue;
      }
      if (errno == EMSGSIZE || errno == EINVAL) return false;
      fail("send");
    }
  }
  bool get(Buffer& frame) override {
    pollfd p{fd_.get(), POLLIN, 0};
    if (::poll(&p, 1, 1000) != 1) return false;
    frame.resize(70000);
    const ssize_t n = ::recv(fd_.get(), frame.data(), frame.size(), 0);
    frame.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return true;
  }
  void drain() override {
    Buffer bytes(70000);
    while (::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }

 private:
  base::Fd fd_;
};

class Stream final : public Wire {
 public:
  explicit Stream(const char* path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, path, sizeof at.sun_path - 1);
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) fail(path);
    verifies = false;
  }
  bool put(const Buffer& frame) override {
    if (frame.size() < 14 || frame.size() > 65553) return false;
    Buffer all(4);
    test::put16(all, 0, static_cast<std::uint32_t>(frame.size() >> 16U));
    test::put16(all, 2, static_cast<std::uint32_t>(frame.size() & 0xffffU));
    all = all + frame;
    for (std::size_t done = 0; done < all.size();) {
      const ssize_t n = ::send(fd_.get(), all.data() + done, all.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) done += static_cast<std::size_t>(n);
      if (n < 0 && errno != EAGAIN) fail("send");
      drain();
      if (n < 0) ::usleep(100);
    }
    return true;
  }
  bool get(Buffer& frame) override {
    std::array<unsigned char, 4> length{};
    pollfd p{fd_.get(), POLLIN, 0};
    if (::poll(&p, 1, 1000) != 1) return false;
    if (::recv(fd_.get(), length.data(), 4, MSG_WAITALL) != 4) return false;
    frame.resize(std::size_t{length[2]} << 8U | length[3]);
    return ::recv(fd_.get(), frame.data(), frame.size(), MSG_WAITALL) == static_cast<ssize_t>(frame.size());
  }
  void drain() override {
    Buffer bytes(70000);
    while (::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }

 private:
  base::Fd fd_;
};

// Who answers for the gateway.
std::string gateway_mac(Wire& wire, const Place& place) {
  const Maker make(place);
  for (int i = 0; i < 10; ++i) {
    wire.put(make.arp(1, place.guest_mac, place.guest4, place.gateway4));
    Buffer frame;
    while (wire.get(frame)) {
      if (frame.size() >= 42 && frame[12] == std::byte{8} && frame[13] == std::byte{6} &&
          frame[21] == std::byte{2})
        return digits(base::Bytes(frame).subspan(6, 6));
    }
  }
  fail("nobody answers for the gateway");
}

// Dropped for what they are, whatever else goes on.
bool certain(Counter counter) {
  using enum Counter;
  constexpr std::array kCertain{kDropMalformed, kDropEtherType, kDropProtocol,  kDropFragment,
                                kDropSpoofed,   kDropMulticast, kDropBroadcast, kIgnoredGroups,
                                kDropHopLimit,  kDropLanBroken};
  return std::ranges::find(kCertain, counter) != kCertain.end();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 6) return 2;
  std::unique_ptr<Wire> wire;
  if (std::string_view(argv[1]) == "tap")
    wire = std::make_unique<Packets>(argv[2]);
  else
    wire = std::make_unique<Stream>(argv[2]);
  Place place;
  place.guest_mac = wire->mac;
  if (argc == 6) {
    place.guest6 = argv[3];
    place.gateway6 = argv[4];
    place.dns6 = argv[5];
  }
  place.our_mac = gateway_mac(*wire, place);
  std::map<Counter, std::uint64_t> least;
  std::uint64_t sent = 0;
  for (const Row& row : all_rows(place)) {
    const bool whole = std::ranges::all_of(
        row.frames, [](const Frame& f) { return f.bytes.size() >= 14 && !f.offload.needs_checksum; });
    if (!whole || (row.verifies && !wire->verifies)) continue;
    std::uint64_t count = 0;
    for (const Frame& frame : row.frames) count += wire->put(frame.bytes) ? 1U : 0U;
    sent += count;
    if (count == row.frames.size())
      for (const auto& [counter, n] : row.outcomes)
        if (certain(counter)) least[counter] += n;
    wire->drain();
  }
  std::printf("sent %llu\n", static_cast<unsigned long long>(sent));
  for (const auto& [counter, n] : least)
    std::printf("%s %llu\n", std::string(plane::name(counter)).c_str(), static_cast<unsigned long long>(n));
  std::puts("done");
}
