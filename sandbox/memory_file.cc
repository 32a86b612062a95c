#include "sandbox/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

namespace cordon::sandbox {

base::Result<base::Fd> make_memory_file(const char* name) {
  constexpr unsigned kNoExec = 8;  // MFD_NOEXEC_SEAL, Linux 6.3: a host may insist on it
  base::Fd fd{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExec)};
  if (!fd && errno == EINVAL) fd = base::Fd{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!fd) return base::fail_errno("memfd_create", name);
  return fd;
}

std::optional<std::string> read_memory_file(int fd, std::size_t most) {
  std::string bytes;
  std::array<char, 16384> chunk;
  while (bytes.size() <= most) {
    const ssize_t got = ::pread(fd, chunk.data(), chunk.size(), static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return bytes;
    bytes.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return std::nullopt;
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

void seal(int fd) {
  static_cast<void>(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
}

}  // namespace cordon::sandbox
