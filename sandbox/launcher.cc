#include "sandbox/launcher.h"

#include "sandbox/supervisor.h"

namespace cordon::sandbox {

Launcher::Launcher(LauncherConfig config) : config_(std::move(config)) {}
Launcher::~Launcher() = default;

base::Result<int> Launcher::run(GuestStarter& guest) { return Supervisor{config_, guest}.run(); }

}  // namespace cordon::sandbox
