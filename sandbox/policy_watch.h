// Notices that a policy file may have changed, whatever way that was done: written in place, renamed over,
// removed and brought back, a directory replaced, or a symbolic link on the way to it swapped (a mounted
// Kubernetes ConfigMap: policy.yaml -> ..data/policy.yaml, ..data -> ..2026_x, and ..data is renamed over).
//
// Theory of operation. A path is walked as the kernel does, one name after the other; each directory on the
// way is watched, and of its events only those about the names that were looked up in it count; so is the
// file at the end. A directory is watched before its name is looked up, so nothing falls between. After each
// change the walk is done anew. Events of one change come in a row: due() is when it has been quiet for
// kQuiet, or kLongest after the first, so that constant writing can neither hide a change nor make a reload
// of every byte. Whether the content is another one is for the reader to say.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::sandbox {

class PolicyWatch {
 public:
  static constexpr base::Duration kQuiet = std::chrono::milliseconds{100};
  static constexpr base::Duration kLongest = std::chrono::seconds{1};
  static constexpr base::Duration kRetry = std::chrono::seconds{10};

  explicit PolicyWatch(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  // An error: nothing is watched. A directory that cannot be watched is one too; one that is not there is
  // waited for.
  [[nodiscard]] base::Result<void> start();
  [[nodiscard]] int poll_fd() const { return inotify_.get(); }
  // After poll_fd() became readable.
  void take_events(base::Instant now);
  [[nodiscard]] base::Instant due() const { return std::min(due_, retry_); }
  // Why a watch cannot be placed any more, once; empty: nothing new. It is tried again every kRetry.
  [[nodiscard]] std::string take_problem() { return std::exchange(problem_, {}); }
  // True once when due: look at the files. Forgets the change.
  [[nodiscard]] bool take(base::Instant now);
  // Watches that are placed now; for tests.
  [[nodiscard]] std::size_t watches() const { return names_.size(); }

 private:
  using Names = std::map<int, std::set<std::string, std::less<>>>;  // by watch; none: the file itself
  base::Result<void> place();
  bool place_again(base::Instant now);
  base::Result<void> walk(const std::string& path, Names& found) const;
  [[nodiscard]] base::Result<int> add(const std::string& path, std::uint32_t mask) const;
  [[nodiscard]] bool matters(int watch, std::uint32_t mask, std::string_view name) const;

  std::vector<std::string> paths_;
  base::Fd inotify_;
  Names names_;
  base::Instant first_ = base::Instant::never();
  base::Instant due_ = base::Instant::never();
  base::Instant retry_ = base::Instant::never();  // when to place the watches that could not be had
  std::string problem_;
};

}  // namespace cordon::sandbox
