#include "app/control_open.h"

#include <unistd.h>

#include <cstdio>

#include "app/control_place.h"

namespace cordon::app {
namespace {

using Listener = std::optional<sandbox::ControlListener>;

base::Result<Listener> open_default(const std::string& name) {
  const auto directory = control_directory();
  if (!directory) return base::fail("control socket", "XDG_RUNTIME_DIR is not set");
  CORDON_TRY(sandbox::make_socket_directory(*directory));
  sandbox::remove_stale_sockets(*directory);
  auto listener = CORDON_TRY(sandbox::ControlListener::open(control_path(*directory, name)));
  if (listener) return listener;
  const std::string own = name + "-" + std::to_string(::getpid());
  return sandbox::ControlListener::open(control_path(*directory, own));
}

}  // namespace

base::Result<Listener> open_control(const RunOptions& options) {
  const bool verbose = options.verbosity == Verbosity::kVerbose;
  switch (options.control) {
    case ControlSocket::kNone: return Listener{};
    case ControlSocket::kPath: {
      auto listener = CORDON_TRY(sandbox::ControlListener::open(options.control_path));
      if (!listener)
        return base::fail("--control", options.control_path + ": a running cordon has it; give another path");
      return listener;
    }
    case ControlSocket::kDefault: break;
  }
  auto listener = open_default(options.guest.name);
  if (!listener) {
    if (verbose)
      std::fprintf(stderr, "cordon: no control socket: %s\n", base::describe(listener.error()).c_str());
    return Listener{};
  }
  if (verbose && *listener) std::fprintf(stderr, "cordon: control socket: %s\n", (*listener)->path().c_str());
  return listener;
}

}  // namespace cordon::app
