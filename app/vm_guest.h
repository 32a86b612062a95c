// The guest of `cordon vm`: a virtual machine that somebody else starts, on a connection of its monitor's.
// Nothing is set up for it: the launcher takes its connections (sandbox/vm_port.h), and it configures its
// network itself, by what the link's services tell it.
#pragma once

#include "app/options.h"
#include "core/base/error.h"
#include "sandbox/launcher.h"
#include "sandbox/vm_port.h"

namespace cordon::app {

class VmGuest final : public sandbox::GuestStarter {
 public:
  // `options.vm` has a value.
  explicit VmGuest(const RunOptions& options) : options_(options) {}
  base::Result<Started> start() override { return Started{}; }
  base::Result<void> go() override;

 private:
  const RunOptions& options_;
};

// The connection of --fd, before anything else is opened, or the socket of --socket.
[[nodiscard]] base::Result<sandbox::VmPort> open_vm_port(const VmOptions& vm);

}  // namespace cordon::app
