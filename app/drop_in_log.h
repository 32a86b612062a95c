// Where the messages of a process in the background go: a bounded file, or syslog.
//
// Theory of operation. Everything that cordon's processes say goes to their standard error, which is then a
// pipe that the launcher itself reads, between its other work. So nobody holds the terminal or the pipe of
// whoever started us, and the file is written, and kept within its size, in one place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

class DropInLog {
 public:
  // To syslog, as `program`.
  explicit DropInLog(std::string program) : program_(std::move(program)) {}
  // To this file, cut from its front when it outgrows `limit` bytes.
  [[nodiscard]] static base::Result<DropInLog> to_file(const std::string& path, std::uint64_t limit);

  // Whole lines go out at once, the rest when its end comes.
  void take(std::string_view text);
  // Reads what is there; false: the other end is closed.
  bool drain(int pipe);
  // What drain() reads goes there as well, unchanged, until it is told another place, or none.
  void echo_to(base::Fd terminal) { terminal_ = std::move(terminal); }

 private:
  void line(std::string_view text);
  void to_syslog(std::string_view text);
  void append(std::string_view text);
  void cut_front();

  std::string program_;
  base::Fd file_;
  base::Fd syslog_;
  base::Fd terminal_;
  std::uint64_t size_ = 0;
  std::uint64_t limit_ = 0;
  std::string rest_;
};

}  // namespace cordon::app
