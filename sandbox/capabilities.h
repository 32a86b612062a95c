// Privileges that only ever shrink.
#pragma once

#include "core/base/error.h"
#include "sandbox/stages.h"

namespace cordon::sandbox {

// Nothing can be gained any more: bounding and ambient sets empty, securebits locked so that uid 0 means
// nothing. Comes before a change of uid, which with these bits leaves the current capabilities alone.
[[nodiscard]] base::Result<void> bound_capabilities();
// Nothing is left: the current sets empty.
[[nodiscard]] base::Result<void> drop_capabilities();
[[nodiscard]] base::Result<void> set_no_new_privs();
// No memory becomes executable any more (PR_SET_MDWE, Linux 6.3).
[[nodiscard]] IsolationReport::State refuse_new_code();
// No file, no TCP port (translator), no abstract socket and no signal outside; fills `detail` with the ABI.
[[nodiscard]] IsolationReport::State apply_landlock(Role role, std::string& detail);

}  // namespace cordon::sandbox
