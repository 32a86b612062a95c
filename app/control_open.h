// The control socket of a start, by its options.
#pragma once

#include <optional>

#include "app/options.h"
#include "core/base/error.h"
#include "sandbox/control_listener.h"

namespace cordon::app {

// nullopt: none was asked for, or the usual place cannot be had (--verbose says why). A second instance of
// the same name gets NAME-PID.sock there; where the user named the path, all of this is an error.
[[nodiscard]] base::Result<std::optional<sandbox::ControlListener>> open_control(const RunOptions& options);

}  // namespace cordon::app
