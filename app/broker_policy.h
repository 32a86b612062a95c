// A policy on its way into the broker: from the bundle that the launcher sent, or built in.
#pragma once

#include <memory>

#include "app/options.h"
#include "core/base/fd.h"
#include "policy/load.h"

namespace cordon::app {

// What a bundle holds, compiled. A bundle that cannot be decoded is one more Diagnostic.
// `layer`: the text of one more, innermost file that the command line stands for; "": none.
[[nodiscard]] policy::Loaded read_bundle(const base::Fd& bundle, std::uint64_t generation,
                                         const std::string& layer);
// What of options.policy binds the guest whatever files say.
[[nodiscard]] std::string policy_layer(const RunOptions& options);
// Where no file binds the guest: the command line is the whole permission, and who publishes a port means it.
[[nodiscard]] std::shared_ptr<const policy::PolicySet> builtin_policy(const RunOptions& options);

}  // namespace cordon::app
