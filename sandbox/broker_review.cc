// Live flows after a change of policy or host: each is judged again, and each is asked whether its way out
// still works.
//
// What is denied now is cut at once. A path is another matter. The kernel keeps sockets whose address or
// route went away: they wait for minutes and then report a time-out. A guest is told sooner, and a flow that
// can go on does:
//
//   kWorse    another interface is preferred now, this one still has a route: TCP stays (its address cannot
//             move), datagram flows end so that the next datagram opens a successor on the new path.
//   kLost     no route by the interface, or the flow's address is not the host's any more: datagram flows end
//             at once; TCP has path_grace to see the same path again (a renewed lease, a link that was down
//             for a moment), then the guest gets a reset.
//   kGone     will never work again: everything ends at once.
//
// A connection still being opened takes the same way, but without grace: where there is another path its
// request is refused silently, so that the guest's retransmitted SYN opens the new one.
//
// Some flows are looked at per turn, newest first: an erased entry is replaced by the last, which has been
// seen, and new ones carry the new epoch. A pass that has begun is finished even when the epoch moves on, and
// then another follows, so that a host that changes all the time does not keep old flows unseen.
#include <sys/epoll.h>

#include <algorithm>

#include "sandbox/broker.h"

namespace cordon::sandbox {
namespace {

using State = BrokerFlow::State;

// New flows wait for the end of a turn.
constexpr std::uint32_t kReviewsPerTurn = 512;
constexpr std::uint32_t kBetweenLooks = 32;  // at the clock
constexpr base::Duration kReviewTime = std::chrono::milliseconds{2};
// Each cut gives the translator an event, a message and a frame to send, behind which the other flows wait.
// So the next ones come when it has closed most of these; but not later than this, since it must not be left
// to the translator when a denied flow ends. The same while answers find no room in the channel.
constexpr std::size_t kCutsPerTurn = 128;
constexpr std::uint32_t kMostAwaited = 32;
constexpr base::Duration kPatience = std::chrono::milliseconds{5};

bool opening(const BrokerFlow& flow) {
  return flow.state == State::kConnecting || flow.state == State::kFinished;
}

}  // namespace

// While the host state is unknown new flows are denied; live ones wait for it to be known again.
bool Broker::review_due() const {
  return host_ != HostChange::kStale && (review_left_ > 0 || judge_.epoch() != reviewed_epoch_);
}

bool Broker::translator_keeps_up() const {
  return awaiting_ <= kMostAwaited &&
         std::ranges::all_of(lanes_, [](const Lane& lane) { return lane.answers.empty(); });
}

void Broker::review(base::Instant now) {
  if (review_left_ == 0) {
    reviewed_epoch_ = judge_.epoch();
    review_left_ = table_.size();
    if (inbound_) review_offers(now);
  }
  relimited_.clear();
  for (std::uint32_t i = 0; i < kReviewsPerTurn && review_left_ > 0; ++i) {
    if (endings_.size() >= kCutsPerTurn) break;
    if (i % kBetweenLooks == kBetweenLooks - 1 && base::monotonic_now() - now > kReviewTime) break;
    review_left_ = std::min(review_left_, table_.size());
    if (review_left_ == 0) break;
    const std::uint32_t slot = table_.live()[--review_left_];
    BrokerFlow& flow = *table_.at(slot);
    if (flow.epoch != judge_.epoch() && flow.state != State::kAwaitingClose) review_flow(slot, flow, now);
  }
  end_flows(now);
  apply_limits(relimited_, now);
  review_after_ = now + kPatience;
  if (review_left_ == 0) judge_.on_reviewed(reviewed_epoch_);
}

void Broker::review_flow(std::uint32_t slot, BrokerFlow& flow, base::Instant now) {
  const bool inbound = flow.inbound != nullptr;
  // What has not begun yet gets no time to drain.
  const Verdict verdict =
      opening(flow) ? judge_.judge(flow.tuple, now) : judge_.judge_again(view(flow), inbound, now);
  const bool stream = flow.tuple.protocol == flow::Protocol::kTcp;
  // A peer that became this host: what the guest says to it would go to a service here, which never asked.
  if (flow.inbound && !stream && verdict.allow && verdict.local_service && !flow.local_service) {
    endings_.push_back({slot, verdict, Cut::kBecameLocal});
    return;
  }
  if (!verdict.allow && !verdict.no_route) {
    endings_.push_back({slot, verdict, Cut::kVerdict});
    return;
  }
  const PathQuery query{.tuple = flow.tuple,
                        .dialed = flow.dial,
                        .local = flow.local,
                        .interface = flow.bind_interface,
                        .local_service = flow.local_service};
  // Where the listener's or the peer's address has a meaning on one interface only, no route could name
  // another.
  Verdict way = verdict;
  if (flow.inbound && flow.inbound->peer) {
    const Listener& listener = inbound_->listeners[flow.inbound->peer->listener];
    if (flow.scope_id != 0 || !inbound_->options.rules[listener.rule].interface.empty())
      way.bind_interface = flow.bind_interface;
  }
  Path path = judge_.path(query, way);
  if (!verdict.allow) path = std::max(path, Path::kLost);
  flow.epoch = judge_.epoch();
  if (verdict.allow) {
    if (readmit(flow, verdict)) relimited_.push_back(slot);
    adopt(flow, verdict, judge_.epoch());
  }
  const bool goes_on = path == Path::kGood || (path == Path::kWorse && (stream || opening(flow)));
  if (goes_on) {
    flow.lost_since = base::Instant::never();
    return;
  }
  if (path == Path::kLost && stream && !opening(flow)) {
    flow.lost_since = std::min(flow.lost_since, now);
    path_due_ = std::min(path_due_, flow.lost_since + options_.path_grace);
    return;
  }
  Verdict ending = verdict;
  const bool successor = verdict.allow && (!stream || opening(flow));
  if (successor) ending.how = flow::RefuseHow::kDrop;
  endings_.push_back({slot, ending, successor ? Cut::kMoved : Cut::kPathLost});
}

void Broker::give_up_lost_paths(base::Instant now) {
  path_due_ = base::Instant::never();
  for (const std::uint32_t slot : table_.live()) {
    const BrokerFlow& flow = *table_.at(slot);
    if (flow.lost_since == base::Instant::never() || flow.state != State::kGranted) continue;
    const base::Instant due = flow.lost_since + options_.path_grace;
    if (due <= now) {
      Verdict verdict{.how = flow::RefuseHow::kNetworkUnreachable, .dial = flow.dial, .token = flow.token};
      endings_.push_back({slot, verdict, Cut::kPathLost});
    } else {
      path_due_ = std::min(path_due_, due);
    }
  }
  end_flows(now);
}

void Broker::end_flows(base::Instant now) {
  if (endings_.empty()) return;
  // The launcher's clock runs from Begin to End: a captured translator may hold a socket's lock.
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  for (const Ending& entry : endings_) {
    BrokerFlow& flow = *table_.at(entry.slot);
    if (flow.state != State::kGranted) continue;
    measure(flow);  // cutting clears the kernel's count
    cut(flow.socket.get(), flow.tuple.protocol);
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;

  for (const Ending& entry : endings_) {
    BrokerFlow& flow = *table_.at(entry.slot);
    if (flow.state != State::kGranted || flow.grant_waits) {
      if (flow.state == State::kConnecting) {
        stop_waiting(flow);
        --pending_;
      }
      refuse_late(entry.slot, flow, entry.verdict, entry.why, now);
      continue;
    }
    ++counters_.cut;
    const bool exposed = flow.tuple.protocol != flow::Protocol::kTcp;
    judge_.on_cut(view(flow), entry.verdict, entry.why, true, exposed, now);
    flow.socket.reset();
    flow.state = State::kAwaitingClose;
    ++awaiting_;
    flow.moved = entry.why == Cut::kMoved;
    answer({{entry.slot, flow.generation}, Answer::Kind::kRevoke, entry.verdict.how, 0});
  }
  endings_.clear();
}

}  // namespace cordon::sandbox
