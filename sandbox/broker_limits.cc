// Flows under the policy's limits. The judge counts; what is measured here is measured by the broker itself
// on its own duplicate, since a captured translator may lie: for TCP the kernel says what the far end
// acknowledged and what it sent. The kernel keeps no such count for datagram sockets, so for UDP and echo it
// is the translator's word, now and then and when the flow ends.
//
// Reading the count takes the socket's lock, which a captured translator may hold: the launcher's clock runs
// around each batch, as around cuts.
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "sandbox/broker.h"

namespace cordon::sandbox {
namespace {

// While bytes move; each pass without any doubles it up to the idle period, and so do very many flows.
constexpr base::Duration kBusyPeriod = std::chrono::milliseconds{50};
constexpr base::Duration kPerFlow = std::chrono::microseconds{100};
constexpr base::Duration kIdlePeriod = std::chrono::seconds{1};
constexpr std::uint32_t kMetersPerTurn = 256;

// The start of struct tcp_info as linux/tcp.h has it; glibc's own ends before the counters (Linux 4.1).
struct TcpVolume {
  std::uint8_t state;
  std::byte before[119];
  std::uint64_t acked;
  std::uint64_t received;
};
static_assert(offsetof(TcpVolume, received) == 128);

// With what is still queued: that leaves after the last measurement, unless the connection is dead already.
std::uint64_t tcp_volume(int socket, bool with_queued) {
  TcpVolume info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < sizeof info) return 0;
  int queued = 0;
  if (with_queued && info.state != TCP_CLOSE && ::ioctl(socket, SIOCOUTQ, &queued) != 0) queued = 0;
  return info.acked + info.received + static_cast<std::uint64_t>(std::max(queued, 0));
}

bool measurable(const BrokerFlow& flow) {
  return flow.metered && flow.state == BrokerFlow::State::kGranted &&
         flow.tuple.protocol == flow::Protocol::kTcp && flow.socket.valid();
}

}  // namespace

void Broker::keep_account(BrokerFlow& flow, const Verdict& verdict) {
  flow.account = verdict.account;
  flow.metered = verdict.metered;
  flow.shaping = verdict.shaping;
  if (verdict.metered) {
    ++metered_;
    meter_soon(flow.started);
  }
  if (verdict.shaping.shaper != 0) limit_pace(flow);
}

// No single flow can be faster than its shaper, whatever the translator does. Guest to host only: what
// arrives is held back by the translator, which reads no faster.
void Broker::limit_pace(const BrokerFlow& flow) {
  if (flow.tuple.protocol != flow::Protocol::kTcp || !flow.socket.valid()) return;
  std::uint64_t rate = flow.shaping.shaper == 0 ? ~std::uint64_t{0} : flow.shaping.rate;
  if (flow.shaping.outer != 0) rate = std::min(rate, flow.shaping.outer_rate);
  ::setsockopt(flow.socket.get(), SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
}

bool Broker::readmit(BrokerFlow& flow, Verdict verdict) {
  verdict.account = flow.account;
  verdict.metered = flow.metered;
  verdict.shaping = flow.shaping;
  judge_.readmit(view(flow), flow.account, verdict);
  flow.account = verdict.account;
  const bool changed = flow.metered != verdict.metered || flow.shaping != verdict.shaping;
  if (verdict.metered && !flow.metered) ++metered_;
  if (!verdict.metered && flow.metered && --metered_ == 0) meter_due_ = base::Instant::never();
  flow.metered = verdict.metered;
  flow.shaping = verdict.shaping;
  return changed;
}

// What a flow carried before it was metered is measured now, so that only what follows is charged.
void Broker::enforce_limits(const BrokerFlow& flow) {
  limit_pace(flow);
  if (flow.state == BrokerFlow::State::kGranted)
    measure(flow);
  else if (flow.metered)
    judge_.on_volume(flow.account, 0);
}

void Broker::apply_limits(std::span<const std::uint32_t> slots, base::Instant now) {
  if (slots.empty()) return;
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  for (const std::uint32_t slot : slots) {
    const BrokerFlow* flow = table_.at(slot);
    if (flow == nullptr) continue;
    enforce_limits(*flow);
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;
  if (metered_ > 0) meter_soon(now);
  for (const std::uint32_t slot : slots) {
    const BrokerFlow* flow = table_.at(slot);
    if (flow == nullptr || flow->state != BrokerFlow::State::kGranted) continue;
    // One that waits in the channel's queue says what is right when it is sent.
    if (!flow->grant_waits && !flow->reshape_waits)
      answer({{slot, flow->generation}, Answer::Kind::kReshape, {}, 0});
  }
}

void Broker::drop_account(const BrokerFlow& flow) {
  if (flow.account != 0) judge_.release(flow.account);
  if (flow.metered && --metered_ == 0) meter_due_ = base::Instant::never();
}

void Broker::forget(std::uint32_t slot) {
  const BrokerFlow* flow = table_.at(slot);
  if (flow == nullptr) return;
  if (flow->state == BrokerFlow::State::kAwaitingClose) --awaiting_;
  if (flow->inbound) leave_inbound(*flow->inbound);
  drop_account(*flow);
  table_.erase(slot);
}

void Broker::meter_soon(base::Instant now) {
  meter_period_ = kBusyPeriod;
  meter_due_ = std::min(meter_due_, now + kBusyPeriod);
}

void Broker::on_volumes(const FlowVolumes& report, base::Instant now) {
  const BrokerFlow* flow = table_.find(report.id);
  if (flow == nullptr || !flow->metered || flow->tuple.protocol == flow::Protocol::kTcp) return;
  judge_.on_volume(flow->account, report.volumes.bytes_from_guest + report.volumes.bytes_to_guest);
  meter_soon(now);
}

std::uint64_t Broker::measure(const BrokerFlow& flow, bool with_queued) {
  if (!measurable(flow)) return 0;
  const std::uint64_t volume = tcp_volume(flow.socket.get(), with_queued);
  judge_.on_volume(flow.account, volume);
  return volume;
}

std::vector<std::optional<std::uint64_t>> Broker::volumes_of(std::span<const flow::Id> flows) {
  std::vector<std::optional<std::uint64_t>> volumes;
  if (flows.empty()) return volumes;
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  for (const flow::Id id : flows) {
    const BrokerFlow* const flow = table_.find(id);
    const bool counted = flow != nullptr && flow->state == BrokerFlow::State::kGranted &&
                         flow->tuple.protocol == flow::Protocol::kTcp && flow->socket.valid();
    volumes.push_back(counted ? std::optional{tcp_volume(flow->socket.get(), false)} : std::nullopt);
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;
  return volumes;
}

// A pass over all flows, some per turn. Then whoever is over a budget ends: the count of one flow may have
// used up another's.
void Broker::meter(base::Instant now) {
  const bool fresh = meter_left_ == 0;
  if (fresh) meter_left_ = table_.size();
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  if (fresh && inbound_)
    for (const auto& [number, offer] : inbound_->offers)
      if (!offer.cut) meter_seen_ += measure(offer.flow);
  for (std::uint32_t i = 0; i < kMetersPerTurn && meter_left_ > 0; ++i) {
    meter_left_ = std::min(meter_left_, table_.size());
    if (meter_left_ > 0) meter_seen_ += measure(*table_.at(table_.live()[--meter_left_]));
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;
  if (meter_left_ > 0) return;  // goes on in the next turn
  const bool busy = std::exchange(meter_before_, meter_seen_) != meter_seen_;
  meter_seen_ = 0;
  meter_period_ = busy ? kBusyPeriod + kPerFlow * metered_ : meter_period_ * 2;
  meter_period_ = std::min(meter_period_, kIdlePeriod);
  meter_due_ = now + meter_period_;
  for (const std::uint32_t slot : table_.live()) {
    const BrokerFlow& flow = *table_.at(slot);
    if (!flow.metered || flow.state == BrokerFlow::State::kAwaitingClose) continue;
    if (const auto verdict = judge_.over_budget(view(flow), flow.account))
      endings_.push_back({slot, *verdict, Cut::kLimit});
  }
  end_flows(now);
  if (!inbound_) return;
  std::vector<std::uint32_t> over;
  for (auto& [number, offer] : inbound_->offers) {
    if (!offer.flow.metered || offer.cut) continue;
    offer.cut = judge_.over_budget(view(offer.flow), offer.flow.account);
    offer.why = Cut::kLimit;
    if (offer.cut) over.push_back(number);
  }
  cut_offers(over, now);
}

}  // namespace cordon::sandbox
