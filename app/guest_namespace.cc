#include "app/guest_namespace.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "netlink/guest_interface.h"

namespace cordon::app {
namespace {

constexpr unsigned kTransmitQueue = 8192;

std::optional<std::string> read_text(const std::string& path) {
  std::ifstream file{path};
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

base::Result<void> write_text(const std::string& path, std::string_view text) {
  const base::Fd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!file) return base::fail_errno("open", path);
  // One write: the kernel refuses id maps and settings that arrive in pieces.
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return base::fail_errno("write", path);
  return {};
}

// Settings that only reduce noise: a machine that forbids writing them works as well.
void try_setting(const std::string& path, std::string_view text) {
  (void)write_text("/proc/sys/net/" + path, text);
}

std::string why_no_namespaces(int error) {
  const auto setting_is = [](const char* path, std::string_view value) {
    const auto text = read_text(path);
    return text && text->substr(0, text->find('\n')) == value;
  };
  if (setting_is("/proc/sys/user/max_user_namespaces", "0"))
    return "user namespaces are switched off; as root: sysctl -w user.max_user_namespaces=10000";
  if (setting_is("/proc/sys/kernel/unprivileged_userns_clone", "0"))
    return "user namespaces are for root only; as root: sysctl -w kernel.unprivileged_userns_clone=1";
  if (setting_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
    return "AppArmor forbids user namespaces; load contrib/apparmor/cordon, or as root: sysctl -w "
           "kernel.apparmor_restrict_unprivileged_userns=0";
  if (error == ENOSPC)
    return "too many namespaces exist; raise the limits in /proc/sys/user/max_*_namespaces";
  return "the kernel or the container around us forbids namespaces; in a container allow unshare and mount "
         "(for example --security-opt seccomp=unconfined), or run cordon outside of it";
}

// "inside outside count" lines, every id mapped to itself.
std::string identity_of(const std::string& own_map) {
  std::istringstream in{own_map};
  std::string out;
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  while (in >> inside >> outside >> count) {
    const auto first = std::to_string(inside);
    out += first + " " + first + " " + std::to_string(count) + "\n";
  }
  return out;
}

std::string only(unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1\n"; }

std::string why_no_tun(int error) {
  if (error == ENOENT || error == ENODEV || error == ENXIO)
    return "/dev/net/tun: it is not there; as root: modprobe tun; in a container: --device /dev/net/tun";
  if (error == EACCES || error == EPERM)
    return "/dev/net/tun: this user may not; as root: chmod 0666 /dev/net/tun; in a container: --device "
           "/dev/net/tun";
  return std::string{"/dev/net/tun: "} + std::strerror(error);
}

}  // namespace

base::Result<void> leave_for_own_namespaces() {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) == 0) return {};
  return base::fail("unshare:", why_no_namespaces(errno) + "; cordon vm needs none for its guest");
}

base::Result<void> write_identity_maps(pid_t child) {
  const std::string proc = "/proc/" + std::to_string(child) + "/";
  const auto uids = read_text("/proc/self/uid_map");
  const auto gids = read_text("/proc/self/gid_map");
  if (uids && gids && write_text(proc + "uid_map", identity_of(*uids)) &&
      write_text(proc + "gid_map", identity_of(*gids)))
    return {};
  // An ordinary user may map only itself, and must give setgroups away first (user_namespaces(7)).
  CORDON_TRY(write_text(proc + "setgroups", "deny"));
  CORDON_TRY(write_text(proc + "uid_map", only(::geteuid())));
  return write_text(proc + "gid_map", only(::getegid()));
}

base::Result<std::vector<base::Fd>> make_taps(const std::string& name, unsigned queues) {
  std::vector<base::Fd> taps;
  for (unsigned i = 0; i < queues; ++i) {
    base::Fd tun{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (!tun) return base::fail("open", why_no_tun(errno));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
    if (::ioctl(tun.get(), TUNSETIFF, &request) != 0)
      return base::fail_errno("create tap", name + " (TUNSETIFF)");
    taps.push_back(std::move(tun));
  }
  return taps;
}

base::Result<void> set_up_network(const GuestPlan& plan) {
  const std::string settings = "ipv6/conf/" + plan.interface + "/";
  // Said either way: the namespace's default may be the other one.
  try_setting(settings + "disable_ipv6", plan.ipv6 ? "0" : "1");
  // Nobody else is on this wire: no address can be a duplicate, and the addresses are here already. A command
  // that asks for its own (--no-config-net) finds the kernel's defaults.
  if (plan.configure)
    for (const char* quiet : {"accept_dad", "accept_ra", "router_solicitations", "autoconf"})
      try_setting(settings + quiet, "0");
  netlink::GuestInterface interface{.name = plan.interface,
                                    .mac = plan.mac,
                                    .mtu = plan.mtu,
                                    .transmit_queue = kTransmitQueue,
                                    .addresses = {},
                                    .gateways = {},
                                    .neighbours = {},
                                    .neighbour_mac = plan.gateway_mac};
  if (plan.configure)
    for (const auto& family : plan.families()) {
      interface.addresses.push_back({family.address, family.prefix_length});
      for (const auto& more : family.more) interface.addresses.push_back({more.address, more.length});
      interface.gateways.push_back(family.gateway);
      if (family.address.is_v4() || plan.services.neighbours) continue;
      interface.neighbours.push_back(family.gateway);
      if (family.dns != family.gateway) interface.neighbours.push_back(family.dns);
    }
  return netlink::configure(interface);
}

void allow_ping() {
  // For every group where all are mapped, else for our own.
  const auto own = std::to_string(::getegid());
  if (!write_text("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"))
    try_setting("ipv4/ping_group_range", own + " " + own);
}

}  // namespace cordon::app
