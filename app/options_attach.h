// Options of `cordon attach` alone, and those by which a start announces itself (run and attach).
#pragma once

#include <expected>
#include <span>
#include <string>

#include "app/options.h"

namespace cordon::app {

// Text as typed.
struct RawAttach {
  std::string netns, userns;
};
struct RawStart {
  std::string interface, ready_fd, pid_file;
};

// `operands`: the words that are not options.
[[nodiscard]] std::expected<AttachTarget, UsageError> attach_target(const RawAttach& raw,
                                                                    std::span<const std::string> operands);
// Fills interface, ready_fd and pid_file.
[[nodiscard]] std::expected<void, UsageError> apply(const RawStart& raw, RunOptions& options);

}  // namespace cordon::app
