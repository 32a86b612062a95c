#include "app/options_control.h"

#include "sandbox/control_listener.h"

namespace cordon::app {

std::expected<void, UsageError> apply(const RawControl& raw, RunOptions& options) {
  if (raw.off && !raw.socket.empty())
    return std::unexpected(UsageError{"--no-control contradicts --control; drop one"});
  if (raw.socket.size() > sandbox::kMostSocketName)
    return std::unexpected(UsageError{"--control " + raw.socket + ": a socket's name has at most " +
                                      std::to_string(sandbox::kMostSocketName) + " bytes"});
  options.control = raw.off              ? ControlSocket::kNone
                    : raw.socket.empty() ? ControlSocket::kDefault
                                         : ControlSocket::kPath;
  options.control_path = raw.socket;
  options.watch_policy = raw.watch;
  return {};
}

}  // namespace cordon::app
