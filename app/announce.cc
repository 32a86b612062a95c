#include "app/announce.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace cordon::app {
namespace {

// Ends a file that did not get its name.
class Draft {
 public:
  explicit Draft(std::string path) : path_(std::move(path)) {}
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

}  // namespace

base::Result<PidFile> PidFile::create(std::string path) {
  constexpr std::string_view kOp = "--pid-file";
  struct stat there{};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode))
    return base::fail(kOp, path + ": exists and is not a file; give another name");
  std::string draft_path = path + ".XXXXXX";
  const base::Fd file{::mkostemp(draft_path.data(), O_CLOEXEC)};
  if (!file) return base::fail_errno(kOp, path);
  Draft draft{draft_path};
  const std::string text = std::to_string(::getpid()) + "\n";
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fchmod(file.get(), 0644) != 0 || ::fstat(file.get(), &there) != 0)
    return base::fail_errno(kOp, path);
  if (::rename(draft_path.c_str(), path.c_str()) != 0) return base::fail_errno(kOp, path);
  draft.keep();
  return PidFile{std::move(path), there.st_dev, there.st_ino};
}

PidFile::PidFile(PidFile&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}

PidFile& PidFile::operator=(PidFile&& other) noexcept {
  if (this == &other) return *this;
  remove();
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

void PidFile::remove() {
  struct stat now{};
  if (!path_.empty() && ::lstat(path_.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_)
    ::unlink(path_.c_str());
  path_.clear();
}

base::Result<ReadyFd> ReadyFd::take(int number) {
  const std::string name = std::to_string(number);
  const int flags = ::fcntl(number, F_GETFL);
  if (flags < 0)
    return base::fail("--ready-fd", name + ": no such descriptor is open; as in: cordon ... --ready-fd " +
                                        name + " " + name + ">FILE");
  if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) != 0)
    return base::fail("--ready-fd", name + ": this descriptor is not open for writing");
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  return ReadyFd{base::Fd{number}};
}

void ReadyFd::tell() {
  if (!fd_) return;
  // Never waits: a full pipe has told its reader enough.
  pollfd room{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&room, 1, 0) == 1) static_cast<void>(!::write(fd_.get(), "1", 1));
  fd_.reset();
}

}  // namespace cordon::app
