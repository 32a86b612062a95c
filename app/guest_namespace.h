// What the guest child does to itself: namespaces, tap, kernel settings, name service files. Each function
// acts on the calling process and is called once, in the order of guest_child.cc.
#pragma once

#include <sys/types.h>

#include <string>

#include "app/options.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

inline constexpr const char* kGuestInterfaceName = "eth0";  // what tools and images expect to find

// New user, network, mount, ipc and uts namespaces. The error names the setting that forbids it.
[[nodiscard]] base::Result<void> leave_for_own_namespaces();

// Called by the launcher on the child: maps every id that exists here to itself when that is permitted
// (root), else only the caller's own.
[[nodiscard]] base::Result<void> write_identity_maps(pid_t child);

// With a vnet header; offloads are the translator's business (core/link/tap_offloads.h).
[[nodiscard]] base::Result<base::Fd> make_tap();

// Configures lo and the tap; settles IPv6 quietly; allows ping sockets.
[[nodiscard]] base::Result<void> set_up_network(const GuestPlan& plan);

// Mounts a resolv.conf that names the guest's DNS addresses over the machine's, and covers the sockets of
// host daemons that would resolve names behind the policy's back (systemd-resolved, nscd, avahi).
[[nodiscard]] base::Result<void> replace_name_service(const GuestPlan& plan);

// The file's text: our name servers, the machine's search and options lines.
[[nodiscard]] std::string guest_resolv_conf(const GuestPlan& plan, const std::string& machine_file);

}  // namespace cordon::app
