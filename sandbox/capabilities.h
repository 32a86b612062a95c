// Privileges that only ever shrink.
#pragma once

#include "core/base/error.h"
#include "sandbox/stages.h"

namespace cordon::sandbox {

[[nodiscard]] bool has_capability(unsigned capability);
// Nothing can be gained any more: bounding and ambient sets empty, securebits locked so that uid 0 means
// nothing. Comes before a change of uid, which with these bits leaves the current capabilities alone. EPERM:
// CAP_SETPCAP is missing, which a process in a user namespace of its own has.
[[nodiscard]] base::Result<void> bound_capabilities();
// Nothing is left: the current sets empty.
[[nodiscard]] base::Result<void> drop_capabilities();
[[nodiscard]] base::Result<void> set_no_new_privs();
// No memory becomes executable any more (PR_SET_MDWE, Linux 6.3).
[[nodiscard]] IsolationReport::State refuse_new_code();
// No file, no TCP port (translator), no abstract socket and no signal outside; fills `detail` with the ABI.
[[nodiscard]] IsolationReport::State apply_landlock(Role role, std::string& detail);
// For the guest's command, which shares its user and process numbers with broker and launcher: it and its
// descendants signal only each other (and ptrace only each other); anybody may signal them. Nothing else is
// handled, so mounts, namespaces and set-user-ID programs work as before. Needs CAP_SYS_ADMIN in the own user
// namespace. The kernel asks for no permission where it is the sender: terminal, SIGCHLD, SIGPIPE.
[[nodiscard]] IsolationReport::Layer keep_signals_inside();

}  // namespace cordon::sandbox
