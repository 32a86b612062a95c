// The launcher's own confinement, once everything it needs a privilege for has been done, and a policy
// loader's.
//
// Both stay in the machine's namespaces: they look at files by name and start roles. Neither opens a socket
// of the network any more, executes another program or joins a namespace (launcher_profile.cc). Capabilities
// are reduced to kept_capabilities(), each with its reason. There is no Landlock domain: one that handles
// files forbids the mounts of the roles started later (they inherit it), and any at all forbids to read whose
// user namespace a control client is in, because that asks for the right to trace it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/base/error.h"
#include "sandbox/stages.h"

namespace cordon::sandbox {

struct KeptCapability {
  unsigned number;
  std::string_view name;
  std::string_view why;
  enum class When : std::uint8_t {
    kAlways,
    kLooksAtPeers,     // there is a control socket
    kNamespacesByRoot  // users may not make user namespaces here
  } when = When::kAlways;
};
[[nodiscard]] std::span<const KeptCapability> kept_capabilities();

struct LauncherLock {
  bool looks_at_peers = false;  // and stays dumpable: cordon ctl has to see our user namespace
  bool strict = false;
};
// Forks once. Later children inherit everything but the death signal; those that run already nothing.
[[nodiscard]] base::Result<IsolationReport> lock_launcher(Role role, const LauncherLock& options);

}  // namespace cordon::sandbox
