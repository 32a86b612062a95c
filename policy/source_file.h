// A policy file on disk: which are taken, and how they are opened. Symbolic links are followed (a mounted
// ConfigMap is made of them); what counts is the file they lead to.
#pragma once

#include <expected>
#include <string>

#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::policy {

struct SourceFile {
  base::Fd fd;
  bool is_pipe = false;
};
// A regular file that not everyone may write to, or a pipe. Never blocks on a pipe that nobody writes to. The
// error is a message for the user.
[[nodiscard]] std::expected<SourceFile, std::string> open_source_file(const std::string& path);
// Of a pipe: until somebody has begun to write. Reading blocks from then on, until the last writer is done.
[[nodiscard]] std::expected<void, std::string> await_writer(const SourceFile& file, base::Duration limit);

}  // namespace cordon::policy
