#include "core/tcp/connection.h"

#include <algorithm>

#include "core/base/check.h"

namespace cordon::tcp {

namespace {

// A guest that vanished (rebooted, killed) leaves nothing behind: after half an hour without any segment it
// is asked three times. One timer per idle flow and half hour costs nothing.
constexpr base::Duration kIdle = std::chrono::minutes{30};
constexpr base::Duration kProbeInterval = std::chrono::seconds{75};
constexpr std::uint8_t kIdleProbes = 3;
constexpr base::Duration kHalfOpenLimit = std::chrono::seconds{10};
// A guest that is still starting is not refused: SYNs at 0, 1, 3, 7, 15, 31 and 63 s, then the peer is reset.
constexpr base::Duration kAnswerLimit = std::chrono::seconds{75};

constexpr bool legal_edge(State from, State to) {
  if (to == State::kClosed) return from != State::kClosed;
  switch (from) {
    case State::kSynReceived: return to == State::kSynAckSent;
    case State::kSynAckSent:
    case State::kSynSent: return to == State::kEstablished;
    case State::kEstablished: return to == State::kGuestClosed || to == State::kHostClosed;
    case State::kGuestClosed: return to == State::kBothClosed;
    case State::kHostClosed: return to == State::kBothClosed || to == State::kTimeWait;
    case State::kBothClosed: return to == State::kTimeWait;
    case State::kTimeWait:
    case State::kClosed: return false;
  }
  return false;
}

}  // namespace

Connection::Connection(const Segment& syn, const Config& config, base::Instant now)
    : last_guest_(now),
      snd_una_(config.isn),
      snd_nxt_(config.isn),
      snd_max_(config.isn),
      snd_right_(config.isn + 1U + syn.window),
      recover_(config.isn),
      rcv_nxt_(syn.seq + 1U),
      rcv_adv_(syn.seq + 1U),
      credit_(config.initial_credit) {
  offer(config);
  negotiate(syn);
}

Connection::Connection(const Config& config, base::Instant now)
    : life_deadline_(now + kAnswerLimit),
      last_guest_(now),
      snd_una_(config.isn),
      snd_nxt_(config.isn),
      snd_max_(config.isn),
      snd_right_(config.isn + 1U),
      recover_(config.isn),
      credit_(config.initial_credit),
      state_(State::kSynSent),
      guest_known_(false),
      syn_due_(true) {
  offer(config);
}

void Connection::enter(State next) {
  CORDON_CHECK(legal_edge(state_, next));
  state_ = next;
  if (next == State::kClosed) {
    rto_deadline_ = ack_deadline_ = life_deadline_ = base::Instant::never();
    acks_due_ = 0;
    syn_due_ = probe_due_ = keepalive_due_ = false;
  }
}

// Ends every event: timers follow the new situation, and the driver learns whether to pull.
Actions Connection::settle(Actions actions, base::Instant now) {
  rearm(now);
  actions.transmit = plan().has_value();
  return actions;
}

void Connection::rearm(base::Instant now) {
  bool needed = false;
  if (opening()) {
    needed = !syn_due_ && snd_nxt_ != snd_una_;
  } else if (synchronised()) {
    needed = snd_nxt_.after(snd_una_) || blocked();
  }
  if (!needed) {
    rto_deadline_ = base::Instant::never();
  } else if (rto_deadline_ == base::Instant::never()) {
    rto_deadline_ = now + rto_.current();
  }
}

base::Instant Connection::idle_deadline() const {
  if (!synchronised() || state_ == State::kTimeWait) return base::Instant::never();
  if (rto_deadline_ != base::Instant::never()) return base::Instant::never();  // that timer asks already
  return last_guest_ + kIdle + kProbeInterval * keep_probes_;
}

base::Instant Connection::deadline() const {
  return std::min({rto_deadline_, ack_deadline_, life_deadline_, idle_deadline()});
}

Actions Connection::on_granted(base::Instant now) {
  Actions actions;
  if (state_ != State::kSynReceived) return settle(actions, now);
  enter(State::kSynAckSent);
  syn_due_ = true;
  life_deadline_ = now + kHalfOpenLimit;
  return settle(actions, now);
}

Actions Connection::on_host_data(std::uint32_t bytes, base::Instant now) {
  CORDON_CHECK(!host_eof_);  // recv() gives nothing after its 0
  if (state_ != State::kClosed) ring_bytes_ += bytes;
  return settle({}, now);
}

Actions Connection::on_stash(std::uint32_t stashed, std::uint32_t credit, base::Instant now) {
  stashed_ = stashed;
  credit_ = credit;
  if (synchronised() && !guest_fin_ && window_update_due()) ack_now();
  return settle({}, now);
}

Actions Connection::on_timer(base::Instant now) {
  Actions actions;
  if (now >= ack_deadline_) {
    ack_deadline_ = base::Instant::never();
    ack_now();
  }
  if (now >= life_deadline_) {
    if (state_ == State::kTimeWait) {
      enter(State::kClosed);
      actions.end = true;
    } else {
      end_with_reset(actions);  // half open: the guest never answered our SYN or SYN-ACK
    }
    return settle(actions, now);
  }
  if (now >= rto_deadline_) {
    on_retransmission_timeout(actions);
  } else if (now >= idle_deadline()) {
    on_idle(actions, now);
  }
  return settle(actions, now);
}

void Connection::on_idle(Actions& actions, base::Instant now) {
  if (keep_probes_ >= kIdleProbes) return end_with_reset(actions);
  // Counted from now, so that a driver that was itself asleep does not fire all probes at once.
  last_guest_ = now - kIdle - kProbeInterval * keep_probes_;
  ++keep_probes_;
  keepalive_due_ = true;
}

State Connection::state() const { return state_; }
std::uint32_t Connection::mss() const { return mss_; }

std::uint32_t Connection::bytes_in_flight() const {
  if (!synchronised()) return 0;
  return std::min(static_cast<std::uint32_t>(snd_nxt_.distance_from(snd_una_)), ring_bytes_);
}

bool Connection::wants_host_data() const {
  return !host_eof_ && (state_ == State::kEstablished || state_ == State::kGuestClosed);
}

std::uint32_t Connection::host_read_budget(std::uint32_t ring_bytes, std::uint32_t ring_limit) const {
  if (!wants_host_data() || ring_bytes >= ring_limit) return 0;
  // One super-segment beyond the guest's window: it leaves at once when the window opens.
  const net::SeqNum limit = snd_right_ + std::max<std::uint32_t>(max_super_, mss_);
  const std::int32_t room = limit.distance_from(snd_una_ + ring_bytes);
  return room <= 0 ? 0 : std::min(ring_limit - ring_bytes, static_cast<std::uint32_t>(room));
}

std::uint32_t Connection::promised() const { return stashed_ + open_window(); }

}  // namespace cordon::tcp
