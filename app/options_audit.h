// --audit-log: where records go.
#pragma once

#include <string>
#include <string_view>

#include "policy/audit_sink.h"

namespace cordon::app {

enum class AuditTarget : std::uint8_t { kNone, kStderr, kFile, kJournald, kSyslog };

struct AuditChoice {
  AuditTarget target = AuditTarget::kNone;
  std::string path;  // for kFile
  [[nodiscard]] policy::SinkKind kind() const;
};

// A word, or the name of a file (./journald is a file).
[[nodiscard]] AuditChoice parse_audit_log(std::string_view text);

}  // namespace cordon::app
