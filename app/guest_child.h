// The guest child: the process that becomes COMMAND.
//
// Order of events. The launcher calls start(), which forks. The child leaves for its own user, network,
// mount, ipc and uts namespaces; the launcher writes its id maps (identity: root stays root inside, a user
// stays that user); the child makes and configures the tap, sends the tap's fd back and waits. The launcher
// starts broker and translator on that fd and calls go(): only then does the child bind its private
// resolv.conf and execute COMMAND. Until the tap is sent a child that fails sends one line, which start()
// returns; later it prints that line itself and exits like a shell (127 not found, 126 not executable, 125
// for anything of ours). The child stays in the launcher's process group, so that the terminal's signals and
// job control reach the command.
#pragma once

#include <sys/types.h>

#include <utility>
#include <vector>

#include "app/options.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

class GuestChild {
 public:
  [[nodiscard]] static base::Result<GuestChild> start(const RunOptions& options);

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The tap's queues, non-blocking, close-on-exec. Usable as long as the interface exists.
  [[nodiscard]] std::vector<base::Fd> take_taps() { return std::move(taps_); }
  // Lets the command start. Fails only when the child is gone.
  [[nodiscard]] base::Result<void> go();

 private:
  GuestChild(pid_t pid, base::Fd channel, std::vector<base::Fd> taps)
      : pid_(pid), channel_(std::move(channel)), taps_(std::move(taps)) {}
  pid_t pid_;
  base::Fd channel_;
  std::vector<base::Fd> taps_;
};

}  // namespace cordon::app
