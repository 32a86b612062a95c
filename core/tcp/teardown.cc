// Ends of all kinds: FIN from either side, reset, revocation.
#include "core/base/check.h"
#include "core/tcp/connection.h"

namespace cordon::tcp {

namespace {
// Long enough to answer a FIN whose ACK was lost (a guest repeats it after 200 ms, its least time-out), short
// enough that ten thousand short connections a second do not fill the table. 2 MSL of the real network is the
// host kernel's business.
constexpr base::Duration kTimeWaitSpan = std::chrono::milliseconds{500};
}  // namespace

// The guest's FIN, in order.
void Connection::take_guest_fin(Actions& actions, base::Instant now) {
  rcv_nxt_ += 1U;
  if (rcv_adv_.before(rcv_nxt_)) rcv_adv_ = rcv_nxt_;  // a FIN needs no window
  guest_fin_ = true;
  const bool nonsense = !held_.empty();  // text behind a FIN
  held_.clear();
  actions.shutdown_host_write = true;
  if (state_ == State::kEstablished) {
    if (nonsense) ack_now();
    // The remote end mostly closes at once, and its FIN takes the ACK along.
    if (ack_deadline_ == base::Instant::never()) ack_deadline_ = now + kDelayedAck;
    return enter(State::kGuestClosed);
  }
  ack_now();
  if (!fin_acked_) return enter(State::kBothClosed);
  enter(State::kTimeWait);
  life_deadline_ = now + kTimeWaitSpan;
}

void Connection::on_fin_acked(Actions& actions, base::Instant now) {
  fin_acked_ = true;
  if (state_ != State::kBothClosed) return;  // FIN-WAIT-2: the guest may go on for as long as it likes
  if (guest_closed_first_) {                 // LAST-ACK
    enter(State::kClosed);
    actions.end = true;
    return;
  }
  enter(State::kTimeWait);  // CLOSING
  life_deadline_ = now + kTimeWaitSpan;
}

Actions Connection::on_host_eof(base::Instant now) {
  if (host_eof_ || state_ == State::kClosed) return settle({}, now);
  host_eof_ = true;
  if (state_ == State::kEstablished) {
    enter(State::kHostClosed);
  } else if (state_ == State::kGuestClosed) {
    guest_closed_first_ = true;
    enter(State::kBothClosed);
  }
  return settle({}, now);
}

// Our side ends it: the guest gets a RST (the driver pulls it once more), the host side too.
void Connection::end_with_reset(Actions& actions) {
  // A guest that never saw a SYN of ours has nothing to reset.
  rst_due_ = guest_known_ || snd_max_ != snd_una_;
  enter(State::kClosed);
  actions.end = actions.reset_host = true;
}

// The guest's RST: no answer, and the remote end must see a RST, not a FIN.
void Connection::on_guest_reset(Actions& actions) {
  actions.end = true;
  actions.reset_host = state_ != State::kTimeWait;
  enter(State::kClosed);
}

Actions Connection::on_host_error(base::Instant now) {
  Actions actions;
  if (state_ == State::kTimeWait) {  // both directions are complete: nothing is lost and nobody needs to know
    enter(State::kClosed);
    actions.end = true;
  } else if (state_ != State::kClosed) {
    end_with_reset(actions);
  }
  return settle(actions, now);
}

Actions Connection::on_revoked(base::Instant now) {
  Actions actions;
  if (state_ != State::kClosed) end_with_reset(actions);
  return settle(actions, now);
}

}  // namespace cordon::tcp
