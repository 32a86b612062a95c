#include "sandbox/broker_table.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace cordon::sandbox {
namespace {

constexpr std::size_t kPorts = 65536;
constexpr std::size_t kPortTables = 4;  // {UDP, echo} x {IPv4, IPv6}

}  // namespace

BrokerTable::BrokerTable(std::uint32_t max_slots)
    : max_slots_(max_slots),
      chunks_((max_slots + kChunk - 1) / kChunk),
      ports_(static_cast<std::uint32_t*>(std::calloc(kPorts * kPortTables, sizeof(std::uint32_t)))) {
  CORDON_CHECK(ports_ != nullptr);
}

BrokerFlow* BrokerTable::at(std::uint32_t slot) {
  return const_cast<BrokerFlow*>(std::as_const(*this).at(slot));
}

std::uint32_t BrokerTable::next_used(std::uint32_t slot) const {
  while (slot < max_slots_ && at(slot) == nullptr)
    slot = chunks_[slot / kChunk] ? slot + 1 : (slot / kChunk + 1) * kChunk;
  return std::min(slot, max_slots_);
}

BrokerFlow* BrokerTable::find(flow::Id id) {
  BrokerFlow* flow = at(id.slot);
  return flow != nullptr && flow->generation == id.generation ? flow : nullptr;
}

BrokerFlow& BrokerTable::insert(flow::Id id) {
  CORDON_CHECK(id.slot < max_slots_);
  auto& chunk = chunks_[id.slot / kChunk];
  if (!chunk) chunk = std::make_unique<std::array<BrokerFlow, kChunk>>();
  BrokerFlow& flow = (*chunk)[id.slot % kChunk];
  CORDON_CHECK(flow.state == BrokerFlow::State::kFree);
  flow.generation = id.generation;
  flow.live_index = size();
  live_.push_back(id.slot);
  return flow;
}

void BrokerTable::erase(std::uint32_t slot) {
  BrokerFlow* flow = at(slot);
  if (flow == nullptr) return;
  if (flow->kept_port) unlink_port(*flow, slot);
  const std::uint32_t moved = live_.back();
  live_[flow->live_index] = moved;
  at(moved)->live_index = flow->live_index;
  live_.pop_back();
  *flow = BrokerFlow{};
}

std::size_t BrokerTable::port_index(const flow::Tuple& tuple, net::Family family) {
  const std::size_t table =
      (tuple.protocol == flow::Protocol::kIcmpEcho ? 2U : 0U) + (family == net::Family::kIpv6 ? 1U : 0U);
  return table * kPorts + tuple.guest.port.number();
}

void BrokerTable::link_port(std::uint32_t slot) {
  BrokerFlow* flow = at(slot);
  CORDON_CHECK(flow != nullptr && !flow->kept_port);
  std::uint32_t& head = ports_[port_index(flow->tuple, flow->dial.address.family())];
  flow->next_same_port = head;
  flow->kept_port = true;
  head = slot + 1;
}

void BrokerTable::unlink_port(BrokerFlow& flow, std::uint32_t slot) {
  std::uint32_t* link = &ports_[port_index(flow.tuple, flow.dial.address.family())];
  while (*link != 0 && *link != slot + 1) link = &at(*link - 1)->next_same_port;
  if (*link != 0) *link = flow.next_same_port;
  flow.kept_port = false;
}

}  // namespace cordon::sandbox
