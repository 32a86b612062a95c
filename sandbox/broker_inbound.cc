#include "sandbox/broker_inbound.h"

#include <sys/epoll.h>

#include <algorithm>

#include "sandbox/broker.h"

namespace cordon::sandbox {
namespace {

constexpr std::uint32_t kFirstLane = 0;

}  // namespace

Inbound::Inbound(InboundOptions given, std::vector<Listener> opened)
    : options(std::move(given)),
      listeners(std::move(opened)),
      new_flows(options.new_flows_per_second, options.new_flows_burst),
      datagram(message::kMaxPayload + 1) {
  for (std::uint32_t i = 0; i < listeners.size(); ++i)
    if (options.rules[listeners[i].rule].protocol == flow::Protocol::kUdp) udp_by_port.push_back(i);
  std::ranges::sort(udp_by_port, {}, [this](std::uint32_t index) { return listeners[index].port; });
}

void Broker::publish(InboundOptions options, std::vector<Listener> listeners) {
  if (listeners.empty()) return;
  options_.descriptor_reserve += static_cast<std::uint32_t>(listeners.size());
  inbound_.emplace(std::move(options), std::move(listeners));
}

base::Result<void> Broker::start_inbound() {
  inbound_->epoll = base::Fd{::epoll_create1(EPOLL_CLOEXEC)};
  if (!inbound_->epoll) return base::fail_errno("epoll_create1", "published ports");
  for (std::uint32_t i = 0; i < inbound_->listeners.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = i;
    const int listener = inbound_->listeners[i].socket.get();
    if (::epoll_ctl(inbound_->epoll.get(), EPOLL_CTL_ADD, listener, &event) != 0)
      return base::fail_errno("epoll_ctl", "published ports");
  }
  // Left out until there is a translator.
  return watch(inbound_->epoll.get(), 0, static_cast<std::uint32_t>(Source::kInbound));
}

bool Broker::can_accept(base::Instant now) const {
  return !lanes_.empty() && lanes_[kFirstLane].answers.empty() && now >= inbound_->paused_until &&
         inbound_->offers.size() < inbound_->options.max_offers;
}

void Broker::watch_inbound(base::Instant now) {
  const bool wanted = can_accept(now);
  if (wanted == inbound_->watched) return;
  inbound_->watched = wanted;
  epoll_event event{};
  event.events = wanted ? EPOLLIN : 0U;
  event.data.u64 = static_cast<std::uint32_t>(Source::kInbound);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, inbound_->epoll.get(), &event);
}

void Broker::pause_inbound(base::Duration how_long, base::Instant now) {
  ++inbound_->counters.pauses;
  inbound_->paused_until = now + how_long;
}

// Any worker may be told: they hand an offer on to the one that owns its flow.
void Broker::offer(const Arrival& arrival, const flow::Tuple& seen, const Verdict& verdict, base::Fd socket,
                   base::Bytes first, base::Instant now) {
  std::optional<flow::Tuple> shown;
  if (!shown_tuple(seen, shown)) {
    ++inbound_->counters.limited;
    judge_.on_inbound_limit(seen, Limit::kConnections, now);
    if (verdict.account != 0) judge_.release(verdict.account);
    static_cast<void>(cut_socket(socket.get(), seen.protocol));
    return;
  }
  while (inbound_->next_offer == 0 || inbound_->offers.contains(inbound_->next_offer)) ++inbound_->next_offer;
  const std::uint32_t number = inbound_->next_offer++;
  Offer& offer = inbound_->offers[number];
  const SocketFacts facts = look_at(socket.get(), arrival.peer.address.family());
  offer.since = now;
  offer.path_mtu = facts.path_mtu;
  offer.first.assign(first.begin(), first.end());
  BrokerFlow& flow = offer.flow;
  flow.tuple = seen;
  flow.dial = arrival.peer;
  flow.scope_id = arrival.scope_id;
  flow.started = now;
  flow.local = arrival.local.address;
  flow.state = BrokerFlow::State::kGranted;
  flow.inbound = std::make_unique<InboundPart>();
  flow.inbound->shown = shown;
  if (shown) inbound_->shown.insert(*shown);
  if (seen.protocol == flow::Protocol::kUdp) {
    flow.bind_interface = verdict.bind_interface;
    flow.inbound->peer = InboundPeer{arrival.listener, arrival.peer, arrival.local, arrival.scope_id};
    inbound_->peers[*flow.inbound->peer] = {.offer = number, .id = {}};
    ++inbound_->listeners[arrival.listener].peers;
  }
  flow.socket = std::move(socket);
  adopt(flow, verdict, judge_.epoch());
  // The translator can use the socket as soon as it has it, claimed or not.
  keep_account(flow, verdict);
  if (budget_.tight()) limit_memory(flow);
  inbound_->offers_due = std::min(inbound_->offers_due, now + inbound_->options.offer_patience);
  ++inbound_->flows;
  ++inbound_->counters.offered;
  answer({{kFirstLane * options_.max_slots, number}, Answer::Kind::kOffer, {}, 0});
}

SendStatus Broker::send_offer(Lane& lane, std::uint32_t number) {
  const auto found = inbound_->offers.find(number);
  if (found == inbound_->offers.end()) return SendStatus::kSent;  // cut since
  Offer& offer = found->second;
  const InboundOffer message{.offer = number,
                             .tuple = offer.flow.inbound->shown.value_or(offer.flow.tuple),
                             .path_mtu = offer.path_mtu,
                             .receive_window = 0,
                             .shaping = offer.flow.shaping};
  const SendStatus status = lane.channel.send_inbound(message, offer.flow.socket.get(), offer.first);
  if (status == SendStatus::kFull) return status;
  offer.sent = true;
  offer.since = base::monotonic_now();
  offer.first = {};
  return status;
}

void Broker::on_claim(const FlowClaim& claim, base::Instant now) {
  const auto found =
      inbound_ ? inbound_->offers.find(claim.offer) : std::map<std::uint32_t, Offer>::iterator{};
  if (!inbound_ || found == inbound_->offers.end() || !found->second.sent) {
    violation(Violation::kOffer, now);
    return;
  }
  if (claim.id.slot >= table_.max_slots() || table_.at(claim.id.slot) != nullptr) {
    violation(Violation::kSlotOrGeneration, now);
    return;
  }
  Offer offer = std::move(found->second);
  inbound_->offers.erase(found);
  ++inbound_->counters.claimed;
  BrokerFlow& flow = table_.insert(claim.id);
  const std::uint32_t live_index = flow.live_index;
  flow = std::move(offer.flow);
  flow.generation = claim.id.generation;
  flow.live_index = live_index;
  const auto& peer = flow.inbound->peer;
  if (peer) inbound_->peers[*peer] = {.offer = 0, .id = claim.id};
  judge_.on_allowed(view(flow), now);
  for (const auto& datagram : offer.late) {
    inbound_->late_bytes -= datagram.size();
    if (!offer.cut) on_late_datagram({.offer = 0, .id = claim.id}, datagram);
  }
  if (!offer.cut) {
    if (offer.reshaped) answer({claim.id, Answer::Kind::kReshape, {}, 0});
    return;
  }
  judge_.on_cut(view(flow), *offer.cut, offer.why, true, false, now);
  flow.socket.reset();
  flow.state = BrokerFlow::State::kAwaitingClose;
  ++awaiting_;
  answer({claim.id, Answer::Kind::kRevoke, offer.cut->how, 0});
}

void Broker::on_decline(const FlowDecline& decline, base::Instant now) {
  const auto found =
      inbound_ ? inbound_->offers.find(decline.offer) : std::map<std::uint32_t, Offer>::iterator{};
  if (!inbound_ || found == inbound_->offers.end() || !found->second.sent) {
    violation(Violation::kOffer, now);
    return;
  }
  Offer& offer = found->second;
  ++inbound_->counters.declined;
  if (offer.cut) {
    judge_.on_cut(view(offer.flow), *offer.cut, offer.why, false, false, now);
  } else {
    measure(offer.flow);  // cutting clears the kernel's count
    judge_.on_inbound_limit(offer.flow.tuple, Limit::kConnections, now);
    cut(offer.flow.socket.get(), offer.flow.tuple.protocol);
  }
  forget_offer(decline.offer);
}

// Nobody has claimed it, so its books are kept here.
void Broker::forget_offer(std::uint32_t number) {
  const auto found = inbound_->offers.find(number);
  Offer& offer = found->second;
  for (const auto& datagram : offer.late) inbound_->late_bytes -= datagram.size();
  drop_account(offer.flow);
  leave_inbound(*offer.flow.inbound);
  inbound_->offers.erase(found);
}

void Broker::leave_inbound(const InboundPart& part) {
  if (part.peer) {
    inbound_->peers.erase(*part.peer);
    --inbound_->listeners[part.peer->listener].peers;
  }
  if (part.shown) inbound_->shown.erase(*part.shown);
  --inbound_->flows;
}

// As for live flows: judged again after a change, and cut between Begin and End. Whoever claims it then hears
// of the revocation.
void Broker::review_offers(base::Instant now) {
  std::vector<std::uint32_t> denied;
  std::vector<std::uint32_t> relimited;
  for (auto& [number, offer] : inbound_->offers) {
    if (offer.cut || offer.flow.epoch == judge_.epoch()) continue;
    const Verdict verdict = judge_.judge_again(view(offer.flow), true, now);
    const bool became_local = offer.flow.tuple.protocol != flow::Protocol::kTcp && verdict.allow &&
                              verdict.local_service && !offer.flow.local_service;
    if (verdict.allow && !became_local) {
      if (readmit(offer.flow, verdict)) relimited.push_back(number);
      adopt(offer.flow, verdict, judge_.epoch());
      continue;
    }
    offer.cut = verdict;
    offer.why = became_local ? Cut::kBecameLocal : Cut::kVerdict;
    denied.push_back(number);
  }
  cut_offers(denied, now);
  if (relimited.empty()) return;
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  for (const std::uint32_t number : relimited) {
    Offer& offer = inbound_->offers.at(number);
    enforce_limits(offer.flow);
    offer.reshaped = offer.sent;
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;
  if (metered_ > 0) meter_soon(now);
}

// Those that have `cut` set just now.
void Broker::cut_offers(std::span<const std::uint32_t> numbers, base::Instant now) {
  if (numbers.empty()) return;
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  for (const std::uint32_t number : numbers) {
    const BrokerFlow& flow = inbound_->offers.at(number).flow;
    measure(flow);
    cut(flow.socket.get(), flow.tuple.protocol);
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;
  for (const std::uint32_t number : numbers) {
    const Offer& offer = inbound_->offers.at(number);
    ++counters_.cut;
    if (offer.sent) continue;
    judge_.on_cut(view(offer.flow), *offer.cut, offer.why, false, false, now);
    forget_offer(number);
  }
}

// One that never had room in the channel is given up. One that was sent and has no answer is a breach of the
// protocol, but not at the first look: the answer may lie in the channel when it was we who did not run.
void Broker::time_out_offers(base::Instant now) {
  const base::Duration patience = inbound_->options.offer_patience;
  const base::Duration grace = patience / 5;
  inbound_->offers_due = base::Instant::never();
  const bool looked = inbound_->overdue_since <= now - grace;
  bool overdue = false;
  std::uint64_t broken = 0;
  for (auto next = inbound_->offers.begin(); next != inbound_->offers.end();) {
    const auto& [number, offer] = *next++;
    if (now - offer.since < patience) {
      inbound_->offers_due = std::min(inbound_->offers_due, offer.since + patience);
      continue;
    }
    if (offer.sent) {
      overdue = true;
      if (looked && now - offer.since >= patience + grace) ++broken;
      continue;
    }
    ++inbound_->counters.timed_out;
    judge_.on_inbound_limit(offer.flow.tuple, Limit::kConnections, now);
    static_cast<void>(cut_socket(offer.flow.socket.get(), offer.flow.tuple.protocol));  // not sent
    forget_offer(number);
  }
  inbound_->overdue_since =
      overdue && broken == 0 ? std::min(inbound_->overdue_since, now) : base::Instant::never();
  inbound_->counters.timed_out += broken;
  if (broken > 0)
    violation(Violation::kOffer, now);
  else if (overdue)
    inbound_->offers_due = std::min(inbound_->offers_due, now + grace);
}

// With the translator goes who could answer.
void Broker::drop_offers() {
  while (!inbound_->offers.empty()) {
    const auto first = inbound_->offers.begin();
    const BrokerFlow& flow = first->second.flow;
    if (!first->second.cut) {
      measure(flow);
      cut(flow.socket.get(), flow.tuple.protocol);
    }
    forget_offer(first->first);
  }
}

}  // namespace cordon::sandbox
