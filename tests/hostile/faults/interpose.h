// System calls that fail when a test wants it: this executable defines the C library's wrappers itself, so
// that the code under test, libraries included, calls these. While armed, calls are counted by kind; one of
// them, the n-th of its kind, fails with a chosen errno and does nothing (close() closes, as Linux does on
// any error).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace cordon::faults {

enum class Kind : std::uint8_t {
  kSocket,
  kConnect,
  kDisconnect,  // connect(AF_UNSPEC)
  kBind,
  kSetsockopt,
  kGetsockopt,
  kGetsockname,
  kGetpeername,
  kEpollAdd,
  kEpollChange,
  kEpollDelete,
  kEpollWait,
  kSendUnix,
  kSendNetlink,
  kReceiveUnix,
  kReceiveNetlink,
  kReceiveInet,
  kAccept,
  kFcntl,
  kIoctl,
  kTimer,
  kWrite,
  kRead,
  kPread,
  kShutdown,
  kClose,
  kPoll,
  kCount
};
inline constexpr auto kKinds = static_cast<std::size_t>(Kind::kCount);

[[nodiscard]] std::string_view to_string(Kind kind);
// What this call may say on Linux, by its manual page and the kernel's source, of what is no mistake of the
// caller.
[[nodiscard]] std::span<const int> plausible_errors(Kind kind);

struct Injection {
  std::array<int, kKinds> seen{};  // calls while armed
  bool armed = false;
  Kind kind = Kind::kCount;  // of the call to fail; kCount: none
  int nth = 0;
  int error = 0;
  bool hit = false;
};
[[nodiscard]] Injection& injection();

class Armed {
 public:
  Armed() { injection().armed = true; }
  ~Armed() { injection().armed = false; }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;
};

}  // namespace cordon::faults
