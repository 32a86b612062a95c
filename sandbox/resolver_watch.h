// The host's resolvers: reads resolv.conf and notices when it changes, is replaced by rename, or is a
// symbolic link whose target changes.
#pragma once

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "sandbox/control.h"

namespace cordon::sandbox {

// The `nameserver` lines (resolv.conf(5)), at most control::kMaxResolvers; what does not parse is skipped.
[[nodiscard]] control::Resolvers parse_resolv_conf(std::string_view text);

class ResolverWatch {
 public:
  explicit ResolverWatch(std::string path) : path_(std::move(path)) {}
  // Without inotify (its limits may be used up) the first reading stands: reported, not fatal.
  [[nodiscard]] base::Result<void> start();
  [[nodiscard]] int poll_fd() const { return inotify_.get(); }
  // Current list; an unreadable file is an empty one.
  [[nodiscard]] control::Resolvers read() const;
  // After poll_fd() became readable: drains the events and places the watches anew. True: look again.
  [[nodiscard]] bool changed();

 private:
  void place_watches();
  std::string path_;
  base::Fd inotify_;
};

}  // namespace cordon::sandbox
