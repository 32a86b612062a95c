#include "sandbox/broker_listen.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <thread>

#include "core/net/sockaddr.h"
#include "sandbox/descriptors.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace cordon::sandbox {
namespace {

constexpr int kIpv6Freebind = 78;  // IPV6_FREEBIND of linux/in6.h
constexpr int kBacklog = 4096;     // the kernel caps it at net.core.somaxconn
constexpr base::Duration kRetryPause = std::chrono::milliseconds{20};

bool set(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

bool is_tcp(const ForwardRule& rule) { return rule.protocol == flow::Protocol::kTcp; }

bool set_options(int fd, const ForwardRule& rule, std::uint32_t interface) {
  const bool v6 = rule.address.is_v6();
  if (v6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, rule.dual_stack ? 0 : 1)) return false;
  if (interface != 0 && !set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(interface))) return false;
  if (rule.freebind && !set(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? kIpv6Freebind : IP_FREEBIND, 1))
    return false;
  // For TCP it passes over connections in TIME-WAIT, not over another listener. For UDP it would.
  if (is_tcp(rule)) return set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  // The address a datagram was sent to: answers must come from it.
  if (v6 && !set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)) return false;
  return (v6 && !rule.dual_stack) || set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

// 0 or errno.
int open_one(const ForwardRule& rule, std::uint16_t port, std::uint32_t interface, base::Fd& out) {
  const int family = rule.address.is_v6() ? AF_INET6 : AF_INET;
  const int type = is_tcp(rule) ? SOCK_STREAM : SOCK_DGRAM;
  base::Fd fd{::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd && errno == EAFNOSUPPORT && rule.dual_stack) {
    ForwardRule v4 = rule;  // a kernel without IPv6
    v4.address = net::Ipv4Address{};
    v4.dual_stack = false;
    return open_one(v4, port, interface, out);
  }
  if (!fd || !set_options(fd.get(), rule, interface)) return errno;
  const net::SockAddr at = net::to_sockaddr({rule.address, net::Port{port}}, interface);
  if (::bind(fd.get(), &at.generic, at.length) != 0) return errno;
  if (is_tcp(rule) && ::listen(fd.get(), kBacklog) != 0) return errno;
  out = std::move(fd);
  return 0;
}

std::string place(const ForwardRule& rule, std::uint16_t port) {
  std::string out = net::to_string(net::Endpoint{rule.address, net::Port{port}});
  if (!rule.interface.empty()) out += " on " + rule.interface;
  return out + (is_tcp(rule) ? "/tcp" : "/udp");
}

std::string advice(const ForwardRule& rule, std::uint16_t port, int error) {
  const std::string number = std::to_string(port);
  switch (error) {
    case EADDRINUSE:
      return "is in use by another process: end that one (ss -" + std::string{is_tcp(rule) ? "lt" : "lu"} +
             "np 'sport = :" + number + "' names it) or publish another port";
    case EACCES:
    case EPERM:
      return "needs a privilege" +
             std::string{is_tcp(rule) ? ""
                                      : " that the broker never has (each peer's socket takes the port)"} +
             ": publish a port from 1024 on, or allow it to everybody by sysctl "
             "net.ipv4.ip_unprivileged_port_start=" +
             number;
    case EADDRNOTAVAIL: return "is not an address of this host";
    case EMFILE:
    case ENFILE: return "exceeds the limit of open files: raise it (ulimit -n) or publish fewer ports";
    case EAFNOSUPPORT: return "needs an address family that this kernel does not have";
    default: return std::string{"failed: "} + ::strerrordesc_np(error);
  }
}

std::unexpected<base::Error> failure(const ForwardRule& rule, std::uint16_t port, int error) {
  return base::fail("publish", place(rule, port) + " (" + rule.text + ") " + advice(rule, port, error));
}

bool left_out(const ForwardRule& rule, std::uint32_t port, PortSpan ephemeral) {
  return rule.weak && port >= ephemeral.first && port <= ephemeral.last;
}

bool tolerable(int error) { return error == EADDRINUSE || error == EACCES || error == EPERM; }

struct Opening {
  PortSpan ephemeral;
  base::Instant patience_ends;
  std::vector<base::Fd> inherited;
};

base::Result<std::uint32_t> interface_of(const ForwardRule& rule) {
  if (rule.interface.empty()) return 0U;
  const std::uint32_t index = ::if_nametoindex(rule.interface.c_str());
  if (index != 0) return index;
  return base::fail("publish",
                    rule.text + ": there is no interface " + rule.interface + " (ip link lists them)");
}

int number_option(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, option, &value, &size) == 0 ? value : -1;
}

// The inherited socket of this port, if there is one.
base::Fd claim_inherited(const ForwardRule& rule, std::uint16_t port, std::uint32_t interface,
                         std::vector<base::Fd>& inherited) {
  for (base::Fd& fd : inherited) {
    if (!fd) continue;
    net::SockAddr name;
    name.length = sizeof name.storage;
    if (::getsockname(fd.get(), &name.generic, &name.length) != 0) continue;
    const auto at = net::from_sockaddr(name);
    // A dual-stack rule on a kernel without IPv6: open_one().
    const bool v4_only = rule.dual_stack && at == net::Endpoint{net::Ipv4Address{}, net::Port{port}};
    if ((v4_only || at == net::Endpoint{rule.address, net::Port{port}}) &&
        number_option(fd.get(), SOL_SOCKET, SO_TYPE) == (is_tcp(rule) ? SOCK_STREAM : SOCK_DGRAM) &&
        number_option(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX) == static_cast<int>(interface))
      return std::move(fd);
  }
  return {};
}

// 0 or errno.
int open_patiently(const ForwardRule& rule, std::uint16_t port, std::uint32_t interface,
                   base::Instant patience_ends, base::Fd& out) {
  int error = open_one(rule, port, interface, out);
  while (error == EADDRINUSE && !rule.weak && base::monotonic_now() < patience_ends) {
    std::this_thread::sleep_for(kRetryPause);
    error = open_one(rule, port, interface, out);
  }
  return error;
}

base::Result<void> open_rule(const ForwardRule& rule, std::uint16_t index, Opening& opening,
                             std::vector<Listener>& into) {
  const std::uint32_t interface = CORDON_TRY(interface_of(rule));
  const std::size_t before = into.size();
  int last_error = 0;
  for (std::uint32_t number = rule.first; number <= rule.last; ++number) {
    if (left_out(rule, number, opening.ephemeral)) continue;
    const auto port = static_cast<std::uint16_t>(number);
    base::Fd fd = claim_inherited(rule, port, interface, opening.inherited);
    const int error = fd ? 0 : open_patiently(rule, port, interface, opening.patience_ends, fd);
    if (error != 0) last_error = error;
    if (error != 0 && !(rule.weak && tolerable(error))) return failure(rule, port, error);
    if (error == 0) into.push_back({.socket = std::move(fd), .rule = index, .port = port, .newcomers = {}});
  }
  if (into.size() == before && last_error != 0) return failure(rule, rule.first, last_error);
  return {};
}

std::uint32_t first_unprivileged() {
  std::uint32_t first = 1024;
  std::ifstream file{"/proc/sys/net/ipv4/ip_unprivileged_port_start"};
  file >> first;
  return file ? first : 1024;
}

bool may_bind_privileged() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  return ::syscall(SYS_capget, &header, data.data()) == 0 &&
         (data[0].effective & (1U << CAP_NET_BIND_SERVICE)) != 0;
}

}  // namespace

PortSpan ephemeral_ports() {
  PortSpan span{32768, 60999};  // the kernel's default
  std::ifstream file{"/proc/sys/net/ipv4/ip_local_port_range"};
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  if (file >> first >> last) span = {first, last};
  return span;
}

std::uint32_t count_listeners(std::span<const ForwardRule> rules, PortSpan ephemeral) {
  std::uint32_t count = 0;
  for (const ForwardRule& rule : rules)
    for (std::uint32_t port = rule.first; port <= rule.last; ++port)
      count += left_out(rule, port, ephemeral) ? 0U : 1U;
  return count;
}

base::Result<std::vector<base::Fd>> open_privileged(std::span<const ForwardRule> rules, PortSpan ephemeral,
                                                    base::Duration patience) {
  std::vector<base::Fd> sockets;
  const std::uint32_t end = first_unprivileged();
  const base::Instant patience_ends = base::monotonic_now() + patience;
  if (!may_bind_privileged()) return sockets;
  for (const ForwardRule& rule : rules) {
    if (rule.first >= end || !is_tcp(rule)) continue;
    const std::uint32_t interface = CORDON_TRY(interface_of(rule));
    for (std::uint32_t number = rule.first; number <= rule.last && number < end; ++number) {
      if (left_out(rule, number, ephemeral)) continue;
      base::Fd fd;
      const auto port = static_cast<std::uint16_t>(number);
      const int error = open_patiently(rule, port, interface, patience_ends, fd);
      if (error == 0) sockets.push_back(std::move(fd));
      if (error != 0 && !(rule.weak && tolerable(error))) return failure(rule, port, error);
    }
  }
  return sockets;
}

std::vector<base::Fd> take_inherited() {
  std::vector<base::Fd> sockets;
  const int count = count_listeners();
  for (int i = 0; i < count; ++i) sockets.emplace_back(kFirstFreeFd + i);
  for (const base::Fd& fd : sockets) ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  return sockets;
}

base::Result<std::vector<Listener>> open_listeners(std::span<const ForwardRule> rules, PortSpan ephemeral,
                                                   std::vector<base::Fd> inherited, base::Duration patience) {
  Opening opening{ephemeral, base::monotonic_now() + patience, std::move(inherited)};
  std::vector<Listener> listeners;
  listeners.reserve(count_listeners(rules, ephemeral));
  for (std::size_t i = 0; i < rules.size(); ++i)
    CORDON_TRY(open_rule(rules[i], static_cast<std::uint16_t>(i), opening, listeners));
  return listeners;
}

}  // namespace cordon::sandbox
