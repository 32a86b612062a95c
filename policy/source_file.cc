#include "policy/source_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace cordon::policy {
namespace {

std::unexpected<std::string> fail(const char* what, int error) {
  return std::unexpected(what + (": " + std::system_category().message(error)));
}

}  // namespace

std::expected<SourceFile, std::string> open_source_file(const std::string& path) {
  SourceFile file{base::Fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)}};
  if (!file.fd) return fail("cannot open the file", errno);
  struct stat info{};
  if (::fstat(file.fd.get(), &info) != 0) return fail("cannot read the file", errno);
  file.is_pipe = S_ISFIFO(info.st_mode);
  if (!S_ISREG(info.st_mode) && !file.is_pipe) return std::unexpected("not a regular file");
  if (!file.is_pipe && (info.st_mode & S_IWOTH) != 0)
    return std::unexpected("everyone may write to this file; run chmod o-w on it");
  return file;
}

std::expected<void, std::string> await_writer(const SourceFile& file, base::Duration limit) {
  pollfd wait{file.fd.get(), POLLIN, 0};
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  if (::poll(&wait, 1, static_cast<int>(milliseconds)) <= 0)
    return std::unexpected("nobody writes to this pipe");
  if (::fcntl(file.fd.get(), F_SETFL, O_RDONLY) != 0) return fail("cannot read the file", errno);
  return {};
}

}  // namespace cordon::policy
