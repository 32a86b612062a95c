// A client of a UNIX stream socket.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "core/base/fd.h"

namespace cordon::sandbox {

// Invalid: nobody listens there.
inline base::Fd dial(const std::string& path) {
  base::Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const void* const view = &address;
  if (::connect(socket.get(), static_cast<const sockaddr*>(view), sizeof address) != 0) return {};
  return socket;
}

}  // namespace cordon::sandbox
