// What the operator asks of live flows: to see them, and to end them.
#include "sandbox/broker.h"

namespace cordon::sandbox {
namespace {

using State = BrokerFlow::State;

constexpr std::uint32_t kNoSlot = UINT32_MAX;  // of an offer, which nobody can name
constexpr std::size_t kKillsPerTurn = 128;     // between one Begin and its End
constexpr base::Duration kPatience = std::chrono::milliseconds{5};

}  // namespace

FlowEntry Broker::entry(std::uint32_t slot, const BrokerFlow& flow) const {
  return {.id = {slot, flow.generation},
          .flow = view(flow),
          .inbound = flow.inbound != nullptr,
          .state = flow.state,
          .local = flow.local,
          .interface = flow.bind_interface,
          .worker = slot / options_.max_slots};
}

std::optional<std::uint32_t> Broker::list_flows(std::uint32_t cursor, std::uint32_t max,
                                                const std::function<void(const FlowEntry&)>& visit) const {
  std::uint32_t slot = table_.next_used(cursor);
  for (std::uint32_t n = 0; n < max && slot < table_.max_slots(); ++n) {
    visit(entry(slot, *table_.at(slot)));
    slot = table_.next_used(slot + 1);
  }
  if (slot >= table_.max_slots()) return std::nullopt;
  return slot;
}

std::size_t Broker::kill(const std::function<bool(const FlowEntry&)>& chosen) {
  const std::size_t before = killed_.size();
  for (const std::uint32_t slot : table_.live()) {
    BrokerFlow& flow = *table_.at(slot);
    if (flow.state == State::kAwaitingClose || flow.killed || !chosen(entry(slot, flow))) continue;
    flow.killed = true;
    killed_.push_back({slot, flow.generation});
  }
  return killed_.size() - before + kill_offers(chosen);
}

// At once: an offer that is claimed before its cut would take an open socket along.
std::size_t Broker::kill_offers(const std::function<bool(const FlowEntry&)>& chosen) {
  if (!inbound_) return 0;
  std::vector<std::uint32_t> numbers;
  for (auto& [number, offer] : inbound_->offers) {
    if (offer.cut || !chosen(entry(kNoSlot, offer.flow))) continue;
    offer.cut = Verdict{.dial = offer.flow.dial, .token = offer.flow.token};
    offer.why = Cut::kOperator;
    numbers.push_back(number);
  }
  cut_offers(numbers, base::monotonic_now());
  return numbers.size();
}

// Those that have ended meanwhile, or were cut for another reason, need no further end.
void Broker::kill_some(base::Instant now) {
  for (std::size_t n = 0; n < kKillsPerTurn && !killed_.empty(); ++n) {
    const flow::Id id = killed_.back();
    killed_.pop_back();
    const BrokerFlow* flow = table_.find(id);
    if (flow == nullptr || flow->state == State::kAwaitingClose) continue;
    endings_.push_back({id.slot, {.dial = flow->dial, .token = flow->token}, Cut::kOperator});
  }
  end_flows(now);
  review_after_ = now + kPatience;
}

}  // namespace cordon::sandbox
