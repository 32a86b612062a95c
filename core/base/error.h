// Errors, in two tiers that are never mixed.
//
// Data path: a one-byte enum in std::expected; the caller counts it and drops. Nothing to format per packet.
// Control path (set-up, policy, netlink, sockets at flow creation): Result<T> with an Error that names the
// operation, the errno and the object. Return or log, never both; only main() exits.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cordon::base {

struct [[nodiscard]] Error {
  std::string_view op;  // literal: the system call or step that failed, e.g. "open"
  int sys_errno = 0;    // 0 when the failure is not a system call's
  std::string context;  // what it was about and what to do, e.g. "/dev/net/tun: run modprobe tun"
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(std::string_view op, std::string context) {
  return std::unexpected(Error{op, 0, std::move(context)});
}
// Reads errno at once: call it directly after the failing system call.
[[nodiscard]] inline std::unexpected<Error> fail_errno(std::string_view op, std::string context = {}) {
  const int saved = errno;
  return std::unexpected(Error{op, saved, std::move(context)});
}

// One line: "open /dev/net/tun: No such file or directory".
[[nodiscard]] std::string describe(const Error& error);

template <class T, class E>
T take(std::expected<T, E>&& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace cordon::base

// Evaluates to the value of a Result, or returns its error from the enclosing function.
#define CORDON_TRY(expr)                                      \
  __extension__({                                             \
    auto try_result_ = (expr);                                \
    if (!try_result_) [[unlikely]]                            \
      return std::unexpected(std::move(try_result_).error()); \
    ::cordon::base::take(std::move(try_result_));             \
  })
