#include "core/base/stderr.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace cordon::base {

void tell(std::string_view text) {
  while (!text.empty()) {
    pollfd user{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (::poll(&user, 1, 0) != 1) return;
    // A pipe that polls writable takes this much without blocking.
    const ssize_t wrote = ::write(STDERR_FILENO, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (wrote <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

}  // namespace cordon::base
