#include "app/attach_namespace.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cstring>
#include <memory>
#include <optional>

#include "core/net/prefix.h"
#include "core/net/sockaddr.h"
#include "netlink/guest_interface.h"
#include "sandbox/descriptors.h"

namespace cordon::app {
namespace {

std::string name_of(const AttachTarget& target) {
  return target.pid != 0 ? "process " + std::to_string(target.pid) : target.netns;
}

bool same_file(const base::Fd& fd, const char* path) {
  struct stat one{};
  struct stat other{};
  return ::fstat(fd.get(), &one) == 0 && ::stat(path, &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

base::Result<base::Fd> open_path(std::string_view option, const std::string& path, int type,
                                 std::string_view kind) {
  base::Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!fd && errno == ENOENT && path.starts_with("/run/netns/"))
    return base::fail(option, path + ": there is no namespace of this name; ip netns lists them");
  if (!fd) return base::fail_errno(option, path);
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != type)
    return base::fail(option, path + ": this is not a " + std::string{kind} + " namespace");
  return fd;
}

base::Result<base::Fd> open_of_process(int pid) {
  const base::Fd process{sandbox::open_pidfd(pid)};
  const std::string name = "process " + std::to_string(pid);
  if (!process) return base::fail("attach:", name + ": there is none");
  base::Fd network{::open(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC)};
  // Only now is it known that the number has named one process all along.
  if ((!network && errno == ENOENT) || !sandbox::is_alive(process.get()))
    return base::fail("attach:", name + ": has ended");
  if (!network && (errno == EACCES || errno == EPERM))
    return base::fail("attach:", name +
                                     " is not this user's (or cannot be traced); run cordon as its user or "
                                     "as root");
  if (!network) return base::fail_errno("attach to", name);
  return network;
}

std::string owner_of(const base::Fd& user_namespace) {
  uid_t owner = 0;
  if (::ioctl(user_namespace.get(), NS_GET_OWNER_UID, &owner) != 0) return "its owner";
  return "uid " + std::to_string(owner);
}

std::optional<net::IpAddress> address_of(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr) return std::nullopt;
  const auto family = entry.ifa_addr->sa_family;
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  net::SockAddr address;
  address.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::memcpy(&address.storage, entry.ifa_addr, address.length);
  const auto endpoint = net::from_sockaddr(address);
  if (!endpoint) return std::nullopt;
  return endpoint->address;
}

// An address of another interface inside the network we are about to add.
std::optional<std::string> conflict(const GuestPlan& plan) {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list{raw, ::freeifaddrs};
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    const auto there = address_of(*entry);
    if (!there) continue;
    for (const auto& family : plan.families()) {
      const auto network = net::Prefix::containing(family.address, family.prefix_length);
      if (network.contains(*there))
        return std::string{entry->ifa_name} + " in the namespace has " + net::to_string(*there) +
               ", inside the new network " + net::to_string(network) + "; choose another one with --address";
    }
  }
  return std::nullopt;
}

}  // namespace

base::Result<TargetNamespaces> open_target(const AttachTarget& target) {
  TargetNamespaces namespaces;
  if (target.pid != 0)
    namespaces.network = CORDON_TRY(open_of_process(target.pid));
  else
    namespaces.network = CORDON_TRY(open_path("--netns", target.netns, CLONE_NEWNET, "network"));
  if (same_file(namespaces.network, "/proc/self/ns/net"))
    return base::fail(
        "attach:", name_of(target) + " is in cordon's own network namespace, which has its network already");
  if (!target.userns.empty()) {
    namespaces.user = CORDON_TRY(open_path("--userns", target.userns, CLONE_NEWUSER, "user"));
  } else {
    namespaces.user = base::Fd{::ioctl(namespaces.network.get(), NS_GET_USERNS)};
    if (!namespaces.user && errno == EPERM)
      return base::fail("attach:", name_of(target) +
                                       ": its network namespace belongs to a user namespace outside of ours; "
                                       "run cordon where it was made");
    if (!namespaces.user) return base::fail_errno("find the user namespace of", name_of(target));
  }
  if (same_file(namespaces.user, "/proc/self/ns/user")) namespaces.user.reset();
  return namespaces;
}

base::Result<void> enter_scratch(const TargetNamespaces& namespaces, const AttachTarget& target) {
  if (namespaces.user && ::setns(namespaces.user.get(), CLONE_NEWUSER) != 0) {
    if (errno == EPERM)
      return base::fail("attach:", name_of(target) + ": its user namespace belongs to " +
                                       owner_of(namespaces.user) + "; run cordon as that user or as root");
    return base::fail_errno("join the user namespace of", name_of(target));
  }
  if (::unshare(CLONE_NEWNET) != 0) {
    if (errno == EPERM && !namespaces.user)
      return base::fail("attach:",
                        name_of(target) +
                            ": its network namespace belongs to the machine, not to a user namespace "
                            "of this user; run cordon as root");
    return base::fail_errno("unshare", "network namespace, for the new interface");
  }
  return {};
}

base::Result<void> follow_interface(const TargetNamespaces& namespaces, const GuestPlan& plan) {
  const auto moved = netlink::move_to_namespace(plan.interface, namespaces.network.get());
  if (!moved && moved.error().sys_errno == EEXIST)
    return base::fail("attach:",
                      plan.interface +
                          " exists in the namespace already; remove it or choose another name with "
                          "--ifname");
  if (!moved && moved.error().sys_errno == EPERM)
    return base::fail("attach:",
                      "this user may not configure the network namespace; join the user namespace "
                      "that owns it (without --userns), or run cordon as root");
  CORDON_TRY(moved);
  if (::setns(namespaces.network.get(), CLONE_NEWNET) != 0)
    return base::fail_errno("join", "the network namespace");
  if (const auto text = conflict(plan)) return base::fail("attach:", *text);
  return {};
}

}  // namespace cordon::app
