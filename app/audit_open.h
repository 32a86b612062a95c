// Opens what --audit-log names, at start and each time the log is rotated. Only the launcher does: the broker
// opens nothing. What is opened never makes a writer wait.
#pragma once

#include "app/options_audit.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

inline constexpr const char* kJournalSocket = "/run/systemd/journal/socket";
inline constexpr const char* kSyslogSocket = "/dev/log";

// kRefuse: a file is not opened when its name is a symbolic link.
enum class Links : std::uint8_t { kFollow, kRefuse };

// No descriptor for kNone. A file is appended to, and made with mode 0600 when there is none. A FIFO is held
// open at both ends, so that it neither waits for a reader nor ends with one.
[[nodiscard]] base::Result<base::Fd> open_audit(const AuditChoice& choice, Links links = Links::kFollow);

// What to do about links when the log is opened again: before the first time the name was the operator's
// choice, a link included; one that appears later may be the guest's and leads anywhere.
[[nodiscard]] Links links_later(const AuditChoice& choice);

}  // namespace cordon::app
