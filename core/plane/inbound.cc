// Flows that begin outside: what both drivers do with an offer of the gate.
//
// The socket is connected already, so such a flow is open at once. What the peer sends before the guest has
// answered a SYN waits in the kernel's socket; a first datagram comes with the offer. Nothing of the guest
// was seen yet: its addresses are those of the link's configuration.
#include <algorithm>

#include "core/plane/datagram_driver.h"
#include "core/plane/tcp_driver.h"

namespace cordon::plane {

bool TcpDriver::on_inbound(flow::Inbound& inbound) {
  if (const auto old = context_.table.find(inbound.tuple)) {
    // The peer uses its port again. What only waits for late segments of the last connection may go.
    if (!context_.open(*old) || flows_[*old].connection.state() != tcp::State::kTimeWait ||
        flows_[*old].stashed > 0)
      return false;
    if (gathered_ > 0 && gather_slot_ == *old) write_gathered();
    finish(*old);
    context_.tell_closes();
    if (context_.table.find(inbound.tuple)) return false;
  }
  const auto place = open_place(inbound.tuple);
  if (!place) return false;
  Flow& flow =
      start(*place, inbound.tuple, tcp::Connection(config_for(inbound.tuple, place->credit), context_.now));
  if (inbound.receive_window > 0) flow.ring_limit = std::min(inbound.receive_window, flow.ring_limit);
  dirty_.push(place->slot);
  context_.shape(place->slot, inbound.shaping);
  const bool attached =
      context_.attach(place->slot, std::move(inbound.socket), EPOLLIN | EPOLLRDHUP | EPOLLET);
  context_.claim(place->slot, inbound.offer);
  if (!attached) apply(place->slot, flow.connection.on_host_error(context_.now));
  return true;
}

void TcpDriver::on_guest_known() {
  context_.for_each_live([this](std::uint32_t slot) {
    if (context_.table.tuple(slot).protocol != flow::Protocol::kTcp || !context_.open(slot)) return;
    flows_[slot].frame.set_destination_mac(context_.config.lan.guest_mac);
    apply(slot, flows_[slot].connection.on_guest_known(context_.now));
  });
}

void DatagramDriver::on_guest_known() {
  context_.for_each_live([this](std::uint32_t slot) {
    if (context_.table.tuple(slot).protocol != flow::Protocol::kTcp && context_.open(slot))
      flows_[slot].frame.set_destination_mac(context_.config.lan.guest_mac);
  });
}

bool DatagramDriver::on_inbound(flow::Inbound& inbound) {
  if (const auto found = context_.table.find(inbound.tuple)) {
    if (context_.open(*found)) on_late_datagram(*found, inbound.first);
    return false;
  }
  const auto slot = open_flow(inbound.tuple, flow::Table::Origin::kOutside);
  if (!slot) return false;
  context_.shape(*slot, inbound.shaping);
  flows_[*slot].path_mtu = inbound.path_mtu;
  const bool attached = context_.attach(*slot, std::move(inbound.socket), EPOLLIN | EPOLLET);
  context_.claim(*slot, inbound.offer);
  if (!attached) {
    finish(*slot, flow::CloseHow::kReset, flow::EndReason::kError);
    return true;
  }
  deliver(*slot, inbound.first);
  return true;
}

void DatagramDriver::on_late_datagram(std::uint32_t slot, base::Bytes payload) {
  context_.counters.add(Counter::kDatagramsLate);
  deliver(slot, payload);
}

// One datagram that did not come by the flow's socket.
void DatagramDriver::deliver(std::uint32_t slot, base::Bytes payload) {
  if (!context_.pass(slot, Direction::kToGuest, payload.size()))
    return context_.counters.add(Counter::kDatagramsShaped);
  flows_[slot].activity.on_host(context_.now);
  context_.table.touch(slot);
  context_.flows[slot].volumes.bytes_to_guest += payload.size();
  context_.report_volumes(slot);
  to_guest(slot, payload, payload.size(), 0);
  flush_to_guest();
}

}  // namespace cordon::plane
