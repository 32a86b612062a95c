#include "policy/audit_log.h"

namespace cordon::policy {
namespace {

// Events that come one by one by their nature are written as they are.
bool is_aggregated(const AuditEvent& event) {
  switch (event.action) {
    case AuditAction::kFlowDenied:
    case AuditAction::kFlowAllowed:
    case AuditAction::kFlowEnded:
    case AuditAction::kFlowRevoked:
    case AuditAction::kHostExposure: return event.tuple.has_value();
    case AuditAction::kPacketDenied: return true;
    case AuditAction::kPolicyLoaded:
    case AuditAction::kPolicyRejected:
    case AuditAction::kHostStateChanged:
    case AuditAction::kEngineFailed:
    case AuditAction::kGuestConnected:
    case AuditAction::kGuestDisconnected:
    case AuditAction::kAuditDropped: break;
  }
  return false;
}

}  // namespace

// FNV-1a. The table is bounded and its chains with it; a guest that makes keys collide slows only its own
// records.
std::size_t AuditLog::KindHash::operator()(const Kind& kind) const {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
  for (const auto byte : kind.remote.address.bytes()) mix(byte);
  mix(kind.remote.port.number());
  mix(static_cast<std::uint64_t>(kind.action) << 8U | static_cast<std::uint64_t>(kind.reason));
  mix(static_cast<std::uint16_t>(kind.rule));
  mix(static_cast<std::uint16_t>(kind.layer));
  mix(static_cast<std::uint64_t>(kind.protocol) << 8U | kind.detail);
  return hash;
}

void AuditLog::set_policy(std::shared_ptr<const PolicySet> policy) {
  policy_ = std::move(policy);
  counters_.flows.keep_names_of(*policy_);
}

void AuditLog::count(const AuditEvent& event) {
  const auto reason = static_cast<std::size_t>(event.decision.reason);
  if (event.action == AuditAction::kPacketDenied) {
    counters_.by_reason.at(reason) += event.count;
    counters_.packets_by_reason.at(reason) += event.count;
    return;
  }
  if (event.action != AuditAction::kFlowAllowed && event.action != AuditAction::kFlowDenied &&
      event.action != AuditAction::kFlowRevoked)
    return;
  counters_.by_reason.at(reason) += event.count;
  counters_.flows.add(event.policy != nullptr ? *event.policy : *policy_, verdict_of(event), event.decision,
                      event.count);
}

void AuditLog::set_sink(base::Fd fd, base::Instant now, WallTime wall) {
  if (const auto lost = sink_.replace(std::move(fd)); lost != 0) {
    --counters_.records_written;
    lose(lost, now);
  }
  if (lost_ == 0) return;
  report_lost_at_ = now;
  tick(now, wall);
}

void AuditLog::record(const AuditEvent& event, base::Instant now, WallTime wall) {
  count(event);
  if (sink_.kind() == SinkKind::kNone) return;
  tick(now, wall);
  if (!is_aggregated(event)) return write(make_record(identity_, *policy_, event), now, wall);
  Kind kind = kind_of(event);
  auto found = windows_.find(kind);
  if (found == windows_.end() && windows_.size() >= kMaxKinds) {
    kind.wide = true;
    kind.remote = {};
    found = windows_.find(kind);
  }
  if (found != windows_.end()) return hold(found->second, event, kind.wide);
  if (windows_.size() >= kMaxKinds + kMaxWideKinds) return lose(event.count, now);
  windows_.emplace(kind, Window{});
  due_.push_back({now + kWindow, kind});
  AuditRecord record = make_record(identity_, *policy_, event);
  record.wide = kind.wide;
  write(std::move(record), now, wall);
}

AuditLog::Kind AuditLog::kind_of(const AuditEvent& event) const {
  Kind kind{.action = event.action,
            .direction = event.decision.direction,
            .reason = event.decision.reason,
            .layer = event.decision.layer,
            .rule = event.decision.rule,
            .generation = event.policy != nullptr ? event.policy->generation() : policy_->generation(),
            .protocol = event.tuple ? event.tuple->protocol : flow::Protocol::kTcp,
            .cause = event.cause,
            .detail = event.end ? static_cast<std::uint8_t>(*event.end) : event.ip_protocol.value_or(0),
            .wide = false,
            .remote = {}};
  if (!event.tuple) return kind;
  // Of a spoofed packet the address it claims is what matters, wherever it was going.
  if (event.decision.reason == Reason::kSourceSpoof) {
    kind.remote = {event.tuple->guest.address, {}};
    return kind;
  }
  const bool inbound = event.decision.direction == Direction::kIngress;
  kind.remote = {event.tuple->remote.address, inbound ? event.tuple->guest.port : event.tuple->remote.port};
  return kind;
}

// Building a record costs; a flood repeats itself, so only the first of the held ones is kept.
void AuditLog::hold(Window& window, const AuditEvent& event, bool wide) {
  if (window.held == 0) {
    window.first = make_record(identity_, *policy_, event);
    window.first.wide = wide;
  } else {
    AuditEvent& sum = window.first.event;
    if (sum.volumes && event.volumes) {
      sum.volumes->bytes_from_guest += event.volumes->bytes_from_guest;
      sum.volumes->bytes_to_guest += event.volumes->bytes_to_guest;
      sum.volumes->datagrams_from_guest += event.volumes->datagrams_from_guest;
    }
    if (sum.duration && event.duration) *sum.duration += *event.duration;
  }
  window.held += event.count;
}

void AuditLog::tick(base::Instant now, WallTime wall) {
  while (!due_.empty() && due_.front().at <= now) {
    const Kind kind = due_.front().kind;
    due_.pop_front();
    const auto found = windows_.find(kind);
    if (found->second.held == 0) {
      windows_.erase(found);
      continue;
    }
    AuditRecord summary = std::move(found->second.first);
    summary.event.count = found->second.held;
    found->second = Window{};
    due_.push_back({now + kWindow, kind});
    write(std::move(summary), now, wall);
  }
  if (report_lost_at_ > now) return;
  report_lost_at_ = base::Instant::never();
  if (lost_ == 0) return;
  report_lost(now, wall);
}

base::Instant AuditLog::next_deadline() const {
  return due_.empty() ? report_lost_at_ : std::min(due_.front().at, report_lost_at_);
}

void AuditLog::finish(base::Instant now, WallTime wall) {
  while (!due_.empty()) {
    const auto found = windows_.find(due_.front().kind);
    due_.pop_front();
    if (found->second.held != 0) {
      AuditRecord summary = std::move(found->second.first);
      summary.event.count = found->second.held;
      write(std::move(summary), now, wall);
    }
    windows_.erase(found);
  }
  if (lost_ != 0) report_lost(now, wall);
}

void AuditLog::report_lost(base::Instant now, WallTime wall) {
  write(make_record(identity_, *policy_, {.action = AuditAction::kAuditDropped, .count = lost_}), now, wall);
}

// Every attempt has its number, so a reader sees a gap even where the line that explains it is missing.
void AuditLog::write(AuditRecord record, base::Instant now, WallTime wall) {
  const bool is_report = record.event.action == AuditAction::kAuditDropped;
  record.time = wall;
  record.sequence = ++sequence_;
  record.dropped = is_report ? 0 : lost_;
  if (sink_.write(record, to_json(record))) {
    ++counters_.records_written;
    lost_ = 0;
    report_lost_at_ = base::Instant::never();
    return;
  }
  lose(is_report ? 0 : record.event.count, now);
}

void AuditLog::lose(std::uint64_t count, base::Instant now) {
  lost_ += count;
  counters_.events_lost += count;
  if (report_lost_at_ == base::Instant::never()) report_lost_at_ = now + kWindow;
}

}  // namespace cordon::policy
