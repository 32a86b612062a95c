// Options of granted sockets: which numbers the filter lets through (asked of the filter itself, all of
// them), what these few can do at their worst, and live samples of the rest.
#include <linux/filter.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <climits>
#include <set>

#include "sandbox/filter.h"
#include "sandbox/profile.h"
#include "tests/hostile/rogue/attack.h"
#include "tests/sandbox/bpf.h"

namespace cordon::rogue {
namespace {

constexpr pid_t kAnyPid = 1;  // of a translator, in its namespace

bool allows(const sandbox::Bpf& filter, const sandbox::test::Call& call) {
  const auto verdict = sandbox::test::interpret(filter, call);
  return !verdict || *verdict != SECCOMP_RET_KILL_PROCESS;
}

sandbox::Bpf filter_of(std::span<const sandbox::Table> profile) {
  auto filter = sandbox::compile_filter(profile, kAnyPid);
  if (!filter) throw std::runtime_error("the filter does not compile");
  return std::move(*filter);
}

// Every level and option number there could be.
std::string allowed_options(const sandbox::Bpf& filter, long call) {
  constexpr std::uint64_t kNumbers = 288;  // levels have numbers above 255
  std::string found;
  for (std::uint64_t level = 0; level < kNumbers; ++level)
    for (std::uint64_t option = 0; option < kNumbers; ++option)
      if (allows(filter, {.number = call, .args = {9, level, option, 0x1000, 4, 0}}))
        found += " " + std::to_string(level) + "/" + std::to_string(option);
  return found;
}

// SOL_IP 0: TOS 1, TTL 2. SOL_UDP 17: UDP_SEGMENT 103. SOL_IPV6 41: UNICAST_HOPS 16, TCLASS 67.
constexpr std::string_view kSettable = " 0/1 0/2 17/103 41/16 41/67";
// IP_MTU 14; SO_ERROR 4, SO_MEMINFO 55; TCP_INFO 11; IPV6_MTU 24.
constexpr std::string_view kReadable = " 0/14 1/4 1/55 6/11 41/24";

std::string every_option(Scene& /*none*/) {
  for (const auto profile : {sandbox::translator_profile(), sandbox::memory_translator_profile()}) {
    const auto filter = filter_of(profile);
    if (const auto set = allowed_options(filter, SYS_setsockopt); set != kSettable) return "set:" + set;
    if (const auto get = allowed_options(filter, SYS_getsockopt); get != kReadable) return "get:" + get;
  }
  return "these and no other";
}

// ioctl and fcntl: every request of 16 bits, and with a direction and size as _IOC makes them.
std::string every_request(Scene& /*none*/) {
  const auto filter = filter_of(sandbox::translator_profile());
  std::string found;
  for (std::uint64_t request = 0; request < 0x10000; ++request)
    for (const std::uint64_t head : {0x00000000U, 0x40040000U, 0x80040000U, 0xc0040000U, 0x40080000U})
      if (allows(filter, {.number = SYS_ioctl, .args = {9, head | request, 0, 0, 0, 0}}))
        found += " ioctl " + std::to_string(head | request);
  for (std::uint64_t command = 0; command < 4096; ++command)
    if (allows(filter, {.number = SYS_fcntl, .args = {9, command, 0, 0, 0, 0}}))
      found += " fcntl " + std::to_string(command);
  // TIOCOUTQ, FIONREAD, F_GETFL.
  return found == " ioctl 21521 ioctl 21531 fcntl 3" ? "these and no other" : found;
}

// Flags of every single bit where a call has some; addresses.
std::string every_flag(Scene& /*none*/) {
  const auto filter = filter_of(sandbox::translator_profile());
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t flag = std::uint64_t{1} << bit;
    const bool harmless = bit >= 32 || flag == MSG_DONTWAIT || flag == MSG_NOSIGNAL;
    if (allows(filter, {.number = SYS_sendto, .args = {9, 0x1000, 1, flag, 0, 0}}) != harmless)
      return "sendto with flag " + std::to_string(bit);
    if (allows(filter, {.number = SYS_sendto, .args = {9, 0x1000, 1, 0, flag, 0}}))
      return "sendto with an address";
  }
  return "these and no other";
}

// Extreme values of what may be set, each followed by a packet.
std::string extremes(Scene& scene) {
  Remote& agent = scene.agent();
  const auto text = agent.put(std::as_bytes(std::span{"x", 1}));
  const std::uint64_t value = agent.room(64);
  struct Pair {
    int level, option;
  };
  constexpr Pair kPairs[] = {{SOL_IP, IP_TOS},
                             {SOL_IP, IP_TTL},
                             {SOL_UDP, UDP_SEGMENT},
                             {SOL_IPV6, IPV6_UNICAST_HOPS},
                             {SOL_IPV6, IPV6_TCLASS}};
  std::vector<int> sockets{kChannel, kLink, 0, 1, 2};
  for (const bool v6 : {false, true})
    for (const int fd : {scene.tcp(v6), scene.udp(v6), scene.ping(v6)}) sockets.push_back(fd);
  for (const auto& [level, option] : kPairs)
    for (const int fd : sockets)
      for (const int extreme : {0, 1, -1, 64, 255, 256, 65535, INT_MAX, INT_MIN}) {
        agent.write(value, base::as_bytes(&extreme, sizeof extreme));
        for (const int length : {4, 1, 64}) {
          agent.call(SYS_setsockopt, fd, level, option, value, length, 0);
          if (fd > kLink) agent.call(SYS_write, fd, text, 1);
        }
      }
  agent.call(SYS_setsockopt, sockets.back(), SOL_IP, IP_TTL, 8, 4, 0);        // no pointer
  agent.call(SYS_setsockopt, sockets.back(), SOL_IP, IP_TTL, value, -1L, 0);  // no length
  return "harmless";
}

template <int kLevel, int kOption, bool kV6 = false>
std::string option(Scene& scene) {
  const int fd = kLevel == SOL_TCP ? scene.tcp(kV6) : scene.udp(kV6);
  const std::uint64_t value = scene.agent().room(64);
  return outcome(scene.agent().call(SYS_setsockopt, fd, kLevel, kOption, value, 64, 0));
}
template <int kLevel, int kOption>
std::string read_option(Scene& scene) {
  const std::uint64_t value = scene.agent().room(64);
  return outcome(scene.agent().call(SYS_getsockopt, kChannel, kLevel, kOption, value, value, 0));
}

constexpr int kBindToIfindex = 62;

constexpr Attack kOptions[] = {
    {"options", "all setsockopt and getsockopt pairs", "these and no other", every_option},
    {"options", "all ioctl and fcntl requests", "these and no other", every_request},
    {"options", "all flags and addresses of sendto", "these and no other", every_flag},
    {"options", "extreme values of what may be set", "harmless", extremes},
    {"options", "IPV6_RTHDR", "SIGSYS", option<SOL_IPV6, IPV6_RTHDR, true>},
    {"options", "IPV6_HOPOPTS", "SIGSYS", option<SOL_IPV6, IPV6_HOPOPTS, true>},
    {"options", "IPV6_PKTINFO", "SIGSYS", option<SOL_IPV6, IPV6_PKTINFO, true>},
    {"options", "IPV6_ADDRFORM", "SIGSYS", option<SOL_IPV6, IPV6_ADDRFORM, true>},
    {"options", "IPV6_ADD_MEMBERSHIP", "SIGSYS", option<SOL_IPV6, IPV6_ADD_MEMBERSHIP, true>},
    {"options", "IPV6_MULTICAST_IF", "SIGSYS", option<SOL_IPV6, IPV6_MULTICAST_IF, true>},
    {"options", "IPV6_UNICAST_IF", "SIGSYS", option<SOL_IPV6, 76, true>},
    {"options", "IP_OPTIONS", "SIGSYS", option<SOL_IP, IP_OPTIONS>},
    {"options", "IP_PKTINFO", "SIGSYS", option<SOL_IP, IP_PKTINFO>},
    {"options", "IP_FREEBIND", "SIGSYS", option<SOL_IP, IP_FREEBIND>},
    {"options", "IP_TRANSPARENT", "SIGSYS", option<SOL_IP, IP_TRANSPARENT>},
    {"options", "IP_ADD_MEMBERSHIP", "SIGSYS", option<SOL_IP, IP_ADD_MEMBERSHIP>},
    {"options", "IP_MULTICAST_IF", "SIGSYS", option<SOL_IP, IP_MULTICAST_IF>},
    {"options", "IP_HDRINCL", "SIGSYS", option<SOL_IP, IP_HDRINCL>},
    {"options", "SO_BINDTODEVICE", "SIGSYS", option<SOL_SOCKET, SO_BINDTODEVICE>},
    {"options", "SO_BINDTOIFINDEX", "SIGSYS", option<SOL_SOCKET, kBindToIfindex>},
    {"options", "SO_MARK", "SIGSYS", option<SOL_SOCKET, SO_MARK>},
    {"options", "SO_BROADCAST", "SIGSYS", option<SOL_SOCKET, SO_BROADCAST>},
    {"options", "SO_DONTROUTE", "SIGSYS", option<SOL_SOCKET, SO_DONTROUTE>},
    {"options", "SO_REUSEPORT", "SIGSYS", option<SOL_SOCKET, SO_REUSEPORT>},
    {"options", "SO_ATTACH_FILTER", "SIGSYS", option<SOL_SOCKET, SO_ATTACH_FILTER>},
    {"options", "SO_DETACH_FILTER: strangers' datagrams", "SIGSYS", option<SOL_SOCKET, SO_DETACH_FILTER>},
    {"options", "SO_ATTACH_BPF", "SIGSYS", option<SOL_SOCKET, SO_ATTACH_BPF>},
    {"options", "SO_LINGER: the broker's close waits", "SIGSYS", option<SOL_SOCKET, SO_LINGER>},
    {"options", "SO_RCVBUF: more memory", "SIGSYS", option<SOL_SOCKET, SO_RCVBUF>},
    {"options", "SO_PRIORITY", "SIGSYS", option<SOL_SOCKET, SO_PRIORITY>},
    {"options", "TCP_REPAIR", "SIGSYS", option<SOL_TCP, TCP_REPAIR>},
    {"options", "TCP_CONGESTION", "SIGSYS", option<SOL_TCP, TCP_CONGESTION>},
    {"options", "TCP_ULP", "SIGSYS", option<SOL_TCP, TCP_ULP>},
    {"options", "TCP_FASTOPEN_CONNECT", "SIGSYS", option<SOL_TCP, TCP_FASTOPEN_CONNECT>},
    {"options", "UDP_ENCAP", "SIGSYS", option<SOL_UDP, UDP_ENCAP>},
    {"options", "SO_PEERCRED: who the broker is", "SIGSYS", read_option<SOL_SOCKET, SO_PEERCRED>},
    {"options", "SO_PEERPIDFD: a handle on the broker", "SIGSYS", read_option<SOL_SOCKET, 77>},
};

}  // namespace

std::span<const Attack> option_attacks() { return kOptions; }

}  // namespace cordon::rogue
