// What the guest child does to itself: namespaces, tap, kernel settings, name service files. Each function
// acts on the calling process and is called once, in the order of guest_child.cc.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "app/options.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

// New user, network, mount, ipc and uts namespaces. The error names the setting that forbids it.
[[nodiscard]] base::Result<void> leave_for_own_namespaces();

// Called by the launcher on the child: maps every id that exists here to itself when that is permitted
// (root), else only the caller's own.
[[nodiscard]] base::Result<void> write_identity_maps(pid_t child);

// One descriptor for each queue of a new tap, with a vnet header; offloads are the translator's business
// (core/link/tap_offloads.h). A descriptor keeps the network namespace it was opened in, not the one the
// interface is moved to later.
[[nodiscard]] base::Result<std::vector<base::Fd>> make_taps(const std::string& name, unsigned queues);

// Configures lo and the tap; settles IPv6 quietly.
[[nodiscard]] base::Result<void> set_up_network(const GuestPlan& plan);

// Ping without privileges, as far as this process may allow it.
void allow_ping();

// Mounts a resolv.conf that names the guest's DNS addresses over the machine's, and covers the sockets of
// host daemons that would resolve names behind the policy's back (systemd-resolved, nscd, avahi).
[[nodiscard]] base::Result<void> replace_name_service(const GuestPlan& plan);

// The file's text: our name servers, the machine's search and options lines.
[[nodiscard]] std::string guest_resolv_conf(const GuestPlan& plan, const std::string& machine_file);

}  // namespace cordon::app
