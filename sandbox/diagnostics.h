// The stderr of a role that handles foreign bytes: a pipe to the launcher, because a terminal could be read
// by whoever holds it and takes escape sequences. What comes through is made printable and bounded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::sandbox {

// Everything outside printable ASCII, tab and newline becomes '?'.
[[nodiscard]] std::string printable(std::string_view text);

class DiagnosticsPipe {
 public:
  static constexpr std::size_t kBudget = std::size_t{64} << 10U;  // per process

  explicit DiagnosticsPipe(std::string_view who = "translator") : who_(who) {}

  // A fresh pipe with a fresh budget; returns the end for the child.
  [[nodiscard]] base::Result<base::Fd> open();
  [[nodiscard]] int poll_fd() const { return read_end_.get(); }
  // Copies what is there to stderr, as far as that takes it. False: the other end is closed.
  [[nodiscard]] bool relay();
  // The same when the writers are gone: false at the end or when nothing is there.
  [[nodiscard]] bool relay_some();
  void close() { read_end_.reset(); }

 private:
  std::string_view who_;
  base::Fd read_end_;
  std::size_t left_ = 0;
};

}  // namespace cordon::sandbox
