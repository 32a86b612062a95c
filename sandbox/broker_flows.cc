#include <sys/epoll.h>

#include <algorithm>

#include "sandbox/broker.h"

namespace cordon::sandbox {
namespace {

using State = BrokerFlow::State;

// The loopback interface's MTU is at least this; a real path's hardly ever.
constexpr std::uint32_t kLoopbackLikeMtu = 65535;

}  // namespace

std::optional<Limit> Broker::over_limit(base::Instant now) {
  const double elapsed = std::chrono::duration<double>(now - tokens_at_).count();
  tokens_at_ = now;
  tokens_ = std::min(options_.new_flows_burst, tokens_ + elapsed * options_.new_flows_per_second);
  if (tokens_ < 1) return Limit::kNewFlows;
  if (sockets() >= flow_limit_ || pending_ >= options_.max_pending) return Limit::kConnections;
  if (!budget_.admits(sockets() + 1)) return Limit::kMemory;
  tokens_ -= 1;
  return std::nullopt;
}

void Broker::on_request(const FlowRequest& request, base::Instant now) {
  ++counters_.requests;
  // Our own translator never names a slot twice without a close between, nor one it does not have.
  if (request.id.slot >= table_.max_slots() || table_.at(request.id.slot) != nullptr) {
    violation(Violation::kSlotOrGeneration, now);
    return;
  }
  const auto refuse = [&](flow::RefuseHow how) { answer({request.id, Answer::Kind::kRefuse, how, 0}); };
  if (const auto limit = over_limit(now)) {
    ++counters_.limited;
    judge_.on_limit(request.tuple, *limit, now);
    refuse(flow::RefuseHow::kReject);
    return;
  }
  if (!drained_) drain(now);
  Verdict verdict = judge_.judge(request.tuple, now);
  if (verdict.allow) judge_.admit(request.tuple, verdict, now);
  if (!verdict.allow) {
    ++counters_.denied;
    judge_.on_denied(request.tuple, verdict, now);
    refuse(verdict.how);
    return;
  }
  open_flow(request.id, request.tuple, verdict, now);
}

void Broker::open_flow(flow::Id id, const flow::Tuple& tuple, const Verdict& verdict, base::Instant now) {
  collect_port_sockets(tuple.protocol, tuple.guest.port, verdict.dial.address.family());
  OpenedSocket opened = open_socket(tuple, verdict, port_sockets_);

  if (opened.error == EMFILE || opened.error == ENFILE) {
    ++counters_.limited;
    judge_.on_limit(tuple, Limit::kDescriptors, now);
    judge_.release(verdict.account);
    answer({id, Answer::Kind::kRefuse, flow::RefuseHow::kReject, 0});
    return;
  }
  BrokerFlow& flow = table_.insert(id);
  flow.tuple = tuple;
  flow.dial = verdict.dial;
  flow.scope_id = verdict.scope_id;
  flow.bind_interface = verdict.bind_interface;
  flow.started = now;
  flow.socket = std::move(opened.socket);
  flow.peer_seen = opened.peer_seen;
  flow.state = State::kConnecting;
  adopt(flow, verdict, judge_.epoch());
  keep_account(flow, verdict);
  if (budget_.tight()) limit_memory(flow);
  if (opened.kept_port && flow.socket.valid()) table_.link_port(id.slot);
  ++pending_;
  if (opened.error != EINPROGRESS) {
    finish(id.slot, flow, opened.error);
    return;
  }
  const std::uint64_t data = (std::uint64_t{id.generation} << 32U) | id.slot;
  if (!watch(flow.socket.get(), EPOLLOUT | EPOLLONESHOT, data)) finish(id.slot, flow, ENOBUFS);
}

void Broker::finish(std::uint32_t slot, BrokerFlow& flow, int error) {
  flow.state = State::kFinished;
  flow.error = error;
  --pending_;
  finished_.push_back({slot, flow.generation});
}

// The set keeps a socket whose other descriptor is open elsewhere, so leaving it is always explicit.
void Broker::stop_waiting(BrokerFlow& flow) {
  if (flow.state != State::kConnecting) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, flow.socket.get(), nullptr);
}

void Broker::on_connect_event(std::uint32_t slot, std::uint32_t generation) {
  BrokerFlow* flow = table_.find({slot, generation});
  if (flow == nullptr || flow->state != State::kConnecting) return;
  const int error = connect_outcome(flow->socket.get(), flow->dial, flow->scope_id);
  if (error == EINPROGRESS) {
    epoll_event event{};
    event.events = EPOLLOUT | EPOLLONESHOT;
    event.data.u64 = (std::uint64_t{generation} << 32U) | slot;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, flow->socket.get(), &event);
    return;
  }
  stop_waiting(*flow);
  finish(slot, *flow, error);
}

void Broker::check_finished(base::Instant now) {
  if (options_.before_second_check) {
    for (const flow::Id id : finished_)
      if (const BrokerFlow* flow = table_.find(id)) options_.before_second_check(flow->tuple);
  }
  // After every outcome of this batch, before any of them is told.
  drain(now);
  for (const flow::Id id : finished_) {
    BrokerFlow* flow = table_.find(id);
    if (flow != nullptr && flow->state == State::kFinished) second_check(id.slot, *flow, now);
  }
  finished_.clear();
}

void Broker::refuse_late(std::uint32_t slot, BrokerFlow& flow, const Verdict& verdict, Cut why,
                         base::Instant now) {
  ++counters_.denied_late;
  judge_.on_cut(view(flow), verdict, why, false, false, now);
  // Nothing was sent, nobody else holds it; the service sees a reset at most.
  if (flow.socket.valid())
    static_cast<void>(end_socket(flow.socket.get(), flow.tuple.protocol, flow.dial.address.family(),
                                 flow::CloseHow::kReset));
  answer({{slot, flow.generation}, Answer::Kind::kRefuse, verdict.how, 0});
  forget(slot);
}

void Broker::second_check(std::uint32_t slot, BrokerFlow& flow, base::Instant now) {
  const flow::Id id{slot, flow.generation};
  if (flow.epoch != judge_.epoch()) {
    const Verdict again = judge_.judge(flow.tuple, now);
    if (!again.allow) {
      refuse_late(slot, flow, again, Cut::kVerdict, now);
      return;
    }
    if (readmit(flow, again)) enforce_limits(flow);
    adopt(flow, again, judge_.epoch());
  }
  if (flow.error != 0) {
    ++counters_.unreachable;
    judge_.on_unreachable(view(flow), flow.error, now);
    answer({id, Answer::Kind::kRefuse, refusal_for(flow.error), 0});
    forget(slot);
    return;
  }
  const SocketFacts facts = look_at(flow.socket.get(), flow.dial.address.family(), !flow.peer_seen);
  if (!flow.local_service) {
    Verdict verdict;
    verdict.dial = flow.dial;
    verdict.bind_interface = flow.bind_interface;
    verdict.scope_id = flow.scope_id;
    verdict.token = flow.token;
    // An echo socket has no remote port, and the kernel then tells no peer.
    const bool elsewhere = flow.tuple.protocol != flow::Protocol::kIcmpEcho && !flow.peer_seen &&
                           (!facts.peer || facts.peer->address != flow.dial.address);
    const bool itself = !facts.local || facts.local->address == flow.dial.address;
    if (elsewhere || itself ||
        (facts.path_mtu >= kLoopbackLikeMtu && !judge_.route_is_remote(flow.tuple, verdict))) {
      refuse_late(slot, flow, verdict, Cut::kBecameLocal, now);
      return;
    }
  }
  flow.state = State::kGranted;
  if (facts.local) flow.local = facts.local->address;
  ++counters_.granted;
  judge_.on_allowed(view(flow), now);
  answer({id, Answer::Kind::kGrant, {}, facts.path_mtu});
}

void Broker::on_close(const FlowClose& close, base::Instant now) {
  BrokerFlow* flow = table_.find(close.id);
  if (flow == nullptr) {
    ++counters_.unknown_close;
    return;
  }
  switch (flow->state) {
    case State::kConnecting:
      stop_waiting(*flow);
      --pending_;
      on_abort(*flow, now);
      break;
    case State::kFinished: on_abort(*flow, now); break;
    case State::kGranted:
      ++counters_.closed;
      // What is queued is sent after the account is gone.
      measure(*flow, close.how == flow::CloseHow::kGraceful);
      if (flow->metered && flow->tuple.protocol != flow::Protocol::kTcp)
        judge_.on_volume(flow->account, close.volumes.bytes_from_guest + close.volumes.bytes_to_guest);
      end_later(*flow, close.how);
      judge_.on_ended(view(*flow), close.reason, close.volumes, now);
      break;
    case State::kAwaitingClose:
      judge_.on_ended(view(*flow), flow->moved ? flow::EndReason::kFin : flow::EndReason::kRevoked,
                      close.volumes, now);
      break;
    case State::kFree: return;
  }
  forget(close.id.slot);
}

void Broker::on_abort(const BrokerFlow& flow, base::Instant now) {
  ++counters_.aborted;
  judge_.on_aborted(view(flow), now);
}

// Ending a socket takes half as long as opening one, and nobody waits for it: whoever asked for a flow in the
// same batch goes first. Not so for datagram sockets, whose port the next flow may want.
void Broker::end_later(BrokerFlow& flow, flow::CloseHow how) {
  constexpr std::size_t kMost = 32;  // below the descriptor reserve
  ended_.push_back({std::move(flow.socket), flow.tuple.protocol, flow.dial.address.family(), how});
  if (flow.tuple.protocol != flow::Protocol::kTcp || ended_.size() >= kMost) end_sockets();
}

// A holder whose socket cannot be taken from it is ended itself, at the end of the turn.
void Broker::cut(int socket, flow::Protocol protocol) {
  if (!cut_socket(socket, protocol)) uncut_ = true;
}

void Broker::end_sockets() {
  for (Ended& ended : ended_) end_granted(ended);
  ended_.clear();
}

void Broker::time_out(base::Instant now) {
  for (const std::uint32_t slot : table_.live()) {
    BrokerFlow& flow = *table_.at(slot);
    if (flow.state != State::kConnecting || now - flow.started < options_.connect_timeout) continue;
    stop_waiting(flow);
    finish(slot, flow, ETIMEDOUT);
  }
  if (!finished_.empty()) check_finished(now);
}

// The translator is gone, or about to be killed.
void Broker::cut_all(base::Instant now) {
  finished_.clear();
  killed_.clear();
  if (inbound_) drop_offers();
  while (table_.size() > 0) {
    const std::uint32_t slot = table_.live().back();
    BrokerFlow& flow = *table_.at(slot);
    stop_waiting(flow);
    if (flow.state == State::kConnecting || flow.state == State::kFinished) on_abort(flow, now);
    if (flow.state == State::kGranted) {
      judge_.on_cut(view(flow), {}, Cut::kTranslatorGone, true, false, now);
      measure(flow);
      cut(flow.socket.get(), flow.tuple.protocol);
    }
    forget(slot);
  }
  pending_ = 0;
  review_left_ = 0;
}

}  // namespace cordon::sandbox
