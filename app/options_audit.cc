#include "app/options_audit.h"

namespace cordon::app {

policy::SinkKind AuditChoice::kind() const {
  switch (target) {
    case AuditTarget::kNone: return policy::SinkKind::kNone;
    case AuditTarget::kStderr:
    case AuditTarget::kFile: return policy::SinkKind::kLines;
    case AuditTarget::kJournald: return policy::SinkKind::kJournal;
    case AuditTarget::kSyslog: return policy::SinkKind::kSyslog;
  }
  return policy::SinkKind::kNone;
}

AuditChoice parse_audit_log(std::string_view text) {
  if (text.empty() || text == "none") return {};
  if (text == "stderr") return {.target = AuditTarget::kStderr};
  if (text == "journald") return {.target = AuditTarget::kJournald};
  if (text == "syslog") return {.target = AuditTarget::kSyslog};
  return {.target = AuditTarget::kFile, .path = std::string{text}};
}

}  // namespace cordon::app
