#include "core/vhost/mapping.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <utility>

#include "core/vhost/fault_guard.h"

namespace cordon::vhost {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLargestPage = 1ULL << 30U;
constexpr std::uint64_t kLargestFile = 1ULL << 46U;

// glibc's own fstat() is newfstatat(2), which the filter would have to allow with any path.
bool describe(int fd, struct stat& out) { return ::syscall(SYS_fstat, fd, &out) == 0; }

}  // namespace

std::expected<Mapping, std::string_view> Mapping::of(int fd, std::uint64_t offset, std::uint64_t size) {
  // Seals exist in these files only. Asked first, because other file systems may take their time for fstat().
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0) return std::unexpected("is not in a memfd or hugetlbfs file");
  struct stat file{};
  if (!describe(fd, file) || !S_ISREG(file.st_mode) || file.st_size < 0 || file.st_blksize <= 0)
    return std::unexpected("is not in a memfd or hugetlbfs file");
  const auto length = static_cast<std::uint64_t>(file.st_size);
  if (length > kLargestFile || offset > length || size > length - offset || size == 0)
    return std::unexpected("is not within its file");
  // Huge pages are mapped whole; what we map too much stays behind mapped_.
  const auto page = static_cast<std::uint64_t>(file.st_blksize);
  if (!std::has_single_bit(page) || page < kPage || page > kLargestPage)
    return std::unexpected("has pages of an unknown size");
  const std::uint64_t start = offset & ~(page - 1);
  const std::uint64_t end = (offset + size + page - 1) & ~(page - 1);
  void* const at = ::mmap(nullptr, end - start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                          static_cast<off_t>(start));
  if (at == MAP_FAILED) return std::unexpected("cannot be mapped");
  Mapping mapping;
  mapping.mapped_ = {static_cast<std::byte*>(at), end - start};
  mapping.bytes_ = mapping.mapped_.subspan(offset - start, size);
  static_cast<void>(::madvise(at, end - start, MADV_DONTDUMP));
  if (!fault_guard::watch(mapping.mapped_)) return std::unexpected("is one mapping too many");
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : mapped_(std::exchange(other.mapped_, {})), bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    mapped_ = std::exchange(other.mapped_, {});
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void Mapping::reset() {
  if (mapped_.empty()) return;
  fault_guard::forget(mapped_);
  ::munmap(mapped_.data(), mapped_.size());
  mapped_ = {};
  bytes_ = {};
}

EventfdJudge::EventfdJudge() {
  const base::Fd model{::eventfd(0, EFD_CLOEXEC)};
  struct stat file{};
  if (!model || !describe(model.get(), file)) return;
  device_ = file.st_dev;
  inode_ = file.st_ino;
}

bool EventfdJudge::accepts(int fd) const {
  if (fd <= 0) return false;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) != O_RDWR) return false;
  struct stat file{};
  if (!describe(fd, file) || file.st_dev != device_ || file.st_ino != inode_) return false;
  // Epoll sets, timers and others share that inode, and cannot be written. Adding nothing never waits.
  const std::uint64_t nothing = 0;
  return ::write(fd, &nothing, sizeof nothing) == sizeof nothing;
}

}  // namespace cordon::vhost
