// How a start tells others about itself: a pid file and a descriptor. The launcher's business alone: the
// roles parse the same options and leave them be.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

// Holds this process's id from create() to the destructor. Appears complete or not at all (written beside its
// place and renamed), and is removed only while it is still the same file.
class PidFile {
 public:
  PidFile() = default;
  [[nodiscard]] static base::Result<PidFile> create(std::string path);
  PidFile(PidFile&& other) noexcept;
  PidFile& operator=(PidFile&& other) noexcept;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile() { remove(); }

 private:
  PidFile(std::string path, dev_t device, ino_t inode)
      : path_(std::move(path)), device_(device), inode_(inode) {}
  void remove();
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// The caller's descriptor for "1". Taken before anything else is opened, so that the number means what the
// caller meant; no process we start inherits it.
class ReadyFd {
 public:
  ReadyFd() = default;
  [[nodiscard]] static base::Result<ReadyFd> take(int number);
  // Writes "1" and closes. A reader that is gone does not matter.
  void tell();

 private:
  explicit ReadyFd(base::Fd fd) : fd_(std::move(fd)) {}
  base::Fd fd_;
};

}  // namespace cordon::app
