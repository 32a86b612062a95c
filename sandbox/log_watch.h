// Notices that a log file was rotated: renamed away, deleted, or replaced by another. Whoever rotates often
// makes the new file himself, a moment later and with modes and owners of his choice; so while the name is
// free the old file goes on being written to, and only after kGrace the file is made by us.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::sandbox {

class LogWatch {
 public:
  static constexpr base::Duration kGrace = std::chrono::seconds{1};

  explicit LogWatch(std::string path) : path_(std::move(path)) {}
  // `log`: what `path` was opened as. What is no regular file is not watched. Without inotify (its limits may
  // be used up) only a signal rotates the log: reported, not fatal.
  [[nodiscard]] base::Result<void> start(int log);
  [[nodiscard]] int poll_fd() const { return inotify_.get(); }
  // poll_fd() is readable.
  void look(base::Instant now);
  // When to open the log again, if nothing else happens; then opened() follows.
  [[nodiscard]] base::Instant due() const { return due_; }
  // `log`: the path opened again; -1: that failed, and is due again after a while.
  void opened(int log, base::Instant now);

 private:
  struct Identity {
    dev_t device;
    ino_t inode;
    friend bool operator==(const Identity&, const Identity&) = default;
  };
  static std::optional<Identity> identity_of(int log);
  void place_watches();

  std::string path_;
  base::Fd inotify_;
  std::optional<Identity> current_;
  base::Instant due_ = base::Instant::never();
};

}  // namespace cordon::sandbox
