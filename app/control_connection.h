// A client's connection to a control socket: one question at a time, each with a time limit. Errors are one
// line for the user.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "app/control_protocol.h"
#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::app {

class ControlConnection {
 public:
  static constexpr base::Duration kPatience = std::chrono::seconds{5};
  static constexpr std::size_t kMaxAnswer = 16UL << 20U;

  // Connects, and makes sure that both speak the same protocol.
  static std::expected<ControlConnection, std::string> open(const std::string& path,
                                                            base::Duration patience = kPatience);
  // The outer error: no answer at all.
  [[nodiscard]] std::expected<RpcReply, std::string> call(std::string_view method, const Json& params = {},
                                                          base::Duration patience = kPatience);

 private:
  ControlConnection(base::Fd socket, std::string path) : socket_(std::move(socket)), path_(std::move(path)) {}
  std::expected<void, std::string> send(std::string_view text, base::Instant deadline);
  std::expected<std::string, std::string> receive(base::Instant deadline);
  [[nodiscard]] std::unexpected<std::string> fail(std::string_view what) const {
    return std::unexpected(path_ + ": " + std::string{what});
  }

  base::Fd socket_;
  std::string path_;
  LineBuffer input_{kMaxAnswer};
  std::uint64_t serial_ = 0;
};

}  // namespace cordon::app
