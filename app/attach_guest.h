// The guest of `cordon attach`: a network namespace that somebody else made.
//
// Theory of operation. A short-lived child opens the namespace, joins the user namespace that owns it, and
// makes the tap in a scratch network namespace of its own; then it moves the interface into the guest's
// namespace, joins that, configures it there, hands the tap's descriptors to the launcher and exits. The
// detour matters: a tap's descriptor holds the network namespace it was opened in (tun_chr_open()), so one
// that was opened inside would keep the guest's alive for ever. As it is, no process of ours holds anything
// of the guest's; the kernel removes the interface together with the namespace, and that ends the launcher.
// What is changed inside is the interface and `lo`, which is brought up; resolv.conf and settings stay as
// they are. A namespace that was given by a path also ends when the path does: who deletes the name (`ip
// netns del`) is done with it, though a process may still be inside.
#pragma once

#include <sys/types.h>

#include "app/options.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "sandbox/launcher.h"

namespace cordon::app {

class AttachGuest final : public sandbox::GuestStarter {
 public:
  // `options.attach` has a value.
  explicit AttachGuest(const RunOptions& options) : options_(options) {}
  base::Result<Started> start() override;
  base::Result<void> go() override;
  [[nodiscard]] int end_fd() const override { return inotify_.get(); }
  [[nodiscard]] bool ended() override;

 private:
  void watch_path();
  const RunOptions& options_;
  base::Fd inotify_;
  // Identity of what the path led to at the start: another namespace under the same name is another one.
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace cordon::app
