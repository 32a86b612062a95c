#include "sandbox/diagnostics.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/stderr.h"
namespace cordon::sandbox {

std::string printable(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if ((c < ' ' || c > '~') && c != '\n' && c != '\t') c = '?';
  return out;
}

base::Result<base::Fd> DiagnosticsPipe::open() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return base::fail_errno("pipe", "diagnostics");
  read_end_ = base::Fd{ends[0]};
  left_ = kBudget;
  // The writer's end stays non-blocking: the translator must never wait for its diagnostics.
  return base::Fd{ends[1]};
}

bool DiagnosticsPipe::relay() {
  std::array<char, 4096> buffer;
  const ssize_t got = ::read(read_end_.get(), buffer.data(), buffer.size());
  if (got < 0) return true;
  if (got == 0) return false;
  const std::size_t size = std::min(static_cast<std::size_t>(got), left_);
  if (size == 0) return true;  // read and dropped, so that the pipe does not stay readable
  const std::string text = printable({buffer.data(), size});
  base::tell(text);
  left_ -= size;
  if (left_ == 0) base::tell("\ncordon: " + std::string{who_} + ": further diagnostics are dropped\n");
  return true;
}

bool DiagnosticsPipe::relay_some() {
  pollfd ready{read_end_.get(), POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1 && relay();
}

}  // namespace cordon::sandbox
