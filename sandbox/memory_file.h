// Files without a name (memfd_create(2)): how policies travel between processes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::sandbox {

[[nodiscard]] base::Result<base::Fd> make_memory_file(const char* name);
// From its beginning, wherever the descriptor's offset is; nullopt: more than `most`, or not to be read.
[[nodiscard]] std::optional<std::string> read_memory_file(int fd, std::size_t most);
[[nodiscard]] bool write_all(int fd, std::string_view bytes);
// Nobody changes it any more.
void seal(int fd);

}  // namespace cordon::sandbox
