#include "sandbox/broker.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <utility>

namespace cordon::sandbox {
namespace {

constexpr int kEventsPerTurn = 256;
constexpr int kMessagesPerTurn = 128;
constexpr base::Duration kTimeoutScan = std::chrono::seconds{1};
constexpr base::Duration kDrainRetry = std::chrono::milliseconds{50};

}  // namespace

Broker::Broker(BrokerOptions options, Judge& judge, base::Fd control)
    : options_(std::move(options)),
      judge_(judge),
      control_(std::move(control)),
      table_(options_.max_workers * options_.max_slots),
      tokens_(options_.new_flows_burst) {}

base::Result<void> Broker::watch(int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return base::fail_errno("epoll_ctl", "broker");
  return {};
}

base::Result<void> Broker::start() {
  epoll_ = base::Fd{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll_) return base::fail_errno("epoll_create1");
  CORDON_TRY(watch(control_.poll_fd(), EPOLLIN, static_cast<std::uint32_t>(Source::kControl)));
  if (judge_.poll_fd() >= 0)
    CORDON_TRY(watch(judge_.poll_fd(), EPOLLIN, static_cast<std::uint32_t>(Source::kJudge)));
  if (judge_.clock_fd() >= 0)
    CORDON_TRY(watch(judge_.clock_fd(), EPOLLIN, static_cast<std::uint32_t>(Source::kClock)));
  if (attendant_ != nullptr)
    CORDON_TRY(watch(attendant_->poll_fd(), EPOLLIN, static_cast<std::uint32_t>(Source::kAttendant)));
  datagram_offload_ = hold_datagram_offload();
  prepare_memory();
  tokens_at_ = base::monotonic_now();
  reviewed_epoch_ = judge_.epoch();

  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return base::fail_errno("getrlimit");
  const auto room =
      files.rlim_cur > options_.descriptor_reserve ? files.rlim_cur - options_.descriptor_reserve : 0;
  flow_limit_ = static_cast<std::uint32_t>(std::min<rlim_t>(room, options_.max_flows));
  if (inbound_) CORDON_TRY(start_inbound());
  if (flow_limit_ == 0) return base::fail("RLIMIT_NOFILE", "too low for a single flow: raise it (ulimit -n)");
  return {};
}

void Broker::ask_launcher(const control::FromBroker& message) {
  if (control_.send(message) != SendStatus::kSent) stop_ = true;
}

base::Result<Broker::End> Broker::run(std::uint32_t missing_layers) {
  while (!judge_.has_policy())
    if (!CORDON_TRY(turn(-1))) return rejected_ ? End::kNoPolicy : End::kStopped;
  if (control_.send(control::Ready{missing_layers}) != SendStatus::kSent) return End::kStopped;
  while (CORDON_TRY(turn(-1))) {
  }
  const base::Instant now = base::monotonic_now();
  cut_all(now);
  judge_.on_tick(now);
  return End::kStopped;
}

int Broker::wait_time(int wait_ms, base::Instant now) const {
  const bool reviews = review_due() || !killed_.empty();
  if (reviews && translator_keeps_up()) return 0;
  base::Instant due =
      std::min({reviews ? review_after_ : base::Instant::never(), next_timeout_scan_, judge_.tick_due(),
                path_due_, drain_due_, meter_due_, memory_due_, leaving_due_});
  if (attendant_ != nullptr) due = std::min(due, attendant_->due());
  if (inbound_ && inbound_->paused_until > now) due = std::min(due, inbound_->paused_until);
  if (inbound_) due = std::min(due, inbound_->offers_due);
  if (due == base::Instant::never()) return wait_ms;
  const auto left = due <= now ? 0 : std::chrono::ceil<std::chrono::milliseconds>(due - now).count();
  const int bounded = static_cast<int>(std::min<std::int64_t>(left, 3'600'000));
  return wait_ms < 0 ? bounded : std::min(wait_ms, bounded);
}

base::Result<bool> Broker::turn(int wait_ms) {
  std::array<epoll_event, kEventsPerTurn> events{};
  const int count =
      ::epoll_wait(epoll_.get(), events.data(), kEventsPerTurn, wait_time(wait_ms, base::monotonic_now()));
  if (count < 0 && errno != EINTR) return base::fail_errno("epoll_wait");
  const base::Instant now = base::monotonic_now();
  drained_ = false;
  bool arrived = false;
  bool attended = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const auto slot = static_cast<std::uint32_t>(event.data.u64);
    switch (static_cast<Source>(slot)) {
      case Source::kControl: on_control(now); break;
      case Source::kInbound: arrived = true; break;
      case Source::kJudge: drain(now); break;
      case Source::kClock: judge_.on_clock(now); break;
      case Source::kAttendant: attended = true; break;
      case Source::kChannel:
      default:
        if (const auto lane = lane_of_source(slot)) {
          if (*lane >= lanes_.size()) break;  // dropped in this turn
          if ((event.events & EPOLLOUT) != 0) flush_answers(*lane);
          lanes_[*lane].readable = (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
        } else {
          on_connect_event(slot, static_cast<std::uint32_t>(event.data.u64 >> 32U));
        }
        break;
    }
  }
  for (std::uint32_t lane = 0; lane < lanes_.size(); ++lane)
    if (std::exchange(lanes_[lane].readable, false)) on_channel(lane, now);
  if (!finished_.empty()) check_finished(now);
  if (arrived) serve_inbound(now);
  end_sockets();
  tick(now);
  if (translator_keeps_up() || now >= review_after_) {
    if (!killed_.empty()) kill_some(now);
    if (review_due()) review(now);
  }
  attended |= std::exchange(loaded_, false);
  if (attendant_ != nullptr && (attended || attendant_->due() <= now)) attendant_->serve(now);
  end_lost_translator(now);
  if (inbound_) watch_inbound(now);
  return !stop_;
}

// Whoever keeps what is denied, or does not hear what it is told, goes: with it goes all that it holds.
void Broker::end_lost_translator(base::Instant now) {
  if (uncut_) violation(Violation::kUncut, now);
  if (std::exchange(lane_lost_, false)) end_channels(now);
  uncut_ = false;
}

void Broker::drain(base::Instant now) {
  host_ = judge_.drain(now);
  drained_ = true;
  drain_due_ = host_ == HostChange::kStale ? now + kDrainRetry : base::Instant::never();
}

void Broker::on_control(base::Instant now) {
  constexpr int kMessages = 16;
  for (int i = 0; i < kMessages && !stop_; ++i) {
    auto message = control_.receive();
    if (!message) {
      // A launcher that is gone or talks nonsense: nobody is left to serve.
      stop_ = message.error() != ReceiveStop::kEmpty;
      return;
    }
    if (auto* fresh = std::get_if<control::NewTranslator>(&*message))
      adopt_channel(std::move(*fresh), now);
    else if (const auto* resolvers = std::get_if<control::Resolvers>(&*message))
      judge_.set_resolvers(resolvers->servers);
    else if (auto* policy = std::get_if<control::NewPolicy>(&*message))
      load_policy(std::move(*policy), now);
    else if (std::holds_alternative<control::NothingToLoad>(*message))
      judge_.on_nothing_to_load();
    else if (auto* client = std::get_if<control::NewClient>(&*message)) {
      if (attendant_ != nullptr) attendant_->adopt(std::move(client->socket), now);
    } else if (auto* sink = std::get_if<control::NewAuditSink>(&*message))
      judge_.set_audit_sink(std::move(sink->fd));
    else if (auto* other = std::get_if<control::RoleIsolation>(&*message))
      isolation_of_.at(other->of_launcher ? 0 : 1) = std::move(*other);
    else
      stop_ = true;
  }
}

// A guest without any policy never had a network: the start has failed.
void Broker::load_policy(control::NewPolicy fresh, base::Instant now) {
  loaded_ = true;
  const bool first = !judge_.has_policy();
  if (judge_.load_policy(std::move(fresh.bundle), fresh.cause, now) == PolicyLoad::kRejected && first)
    stop_ = rejected_ = true;
}

// The first channel of a translator ends all of the one before. A later one that does not follow its
// predecessor belongs to a translator that is gone already: closing it tells its worker.
void Broker::adopt_channel(control::NewTranslator fresh, base::Instant now) {
  if (fresh.worker == 0) end_channels(now);
  if (fresh.worker != lanes_.size() || fresh.worker >= options_.max_workers) return;
  const auto source = static_cast<std::uint32_t>(Source::kChannel) + fresh.worker;
  if (watch(fresh.channel.get(), EPOLLIN, source))
    lanes_.push_back({.channel = BrokerChannel{std::move(fresh.channel)}});
}

// Of a translator that is gone. What it said last is still in its channels: closes with their volumes, and
// its counters. Its requests have nobody to answer to, and nonsense is no reason to end its successor.
void Broker::end_channels(base::Instant now) {
  constexpr int kMost = 4096;  // more than the kernel queues
  for (std::uint32_t lane = 0; lane < lanes_.size(); ++lane)
    for (int i = 0; i < kMost; ++i) {
      auto message = lanes_[lane].channel.receive();
      if (!message) break;
      if (std::holds_alternative<FlowClose>(*message) || std::holds_alternative<FlowVolumes>(*message) ||
          std::holds_alternative<flow::PacketReport>(*message) ||
          std::holds_alternative<CounterReport>(*message))
        on_message(lane, *message, now);
    }
  drop_channels(now);
}

void Broker::drop_channels(base::Instant now) {
  for (const Lane& lane : lanes_) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, lane.channel.poll_fd(), nullptr);
  gone_counters_ = summed_counters();
  lanes_.clear();
  cut_all(now);
}

std::optional<std::uint32_t> Broker::lane_of_source(std::uint32_t source) {
  const auto first = static_cast<std::uint32_t>(Source::kChannel);
  if (source < first || source >= first + control::kMaxWorkers) return std::nullopt;
  return source - first;
}

void Broker::watch_channel(std::uint32_t lane, bool writable) {
  if (writable == lanes_[lane].writable_watched) return;
  lanes_[lane].writable_watched = writable;
  epoll_event event{};
  // While answers wait, requests wait too: otherwise the translator could make the queue grow without end.
  event.events = writable ? EPOLLOUT : EPOLLIN;
  event.data.u64 = static_cast<std::uint32_t>(Source::kChannel) + lane;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, lanes_[lane].channel.poll_fd(), &event);
}

void Broker::violation(Violation reason, base::Instant now) {
  ++counters_.violations;
  if (control_.send(control::KillTranslator{reason}) != SendStatus::kSent) stop_ = true;
  drop_channels(now);
}

void Broker::on_channel(std::uint32_t lane, base::Instant now) {
  for (int i = 0; i < kMessagesPerTurn && lane < lanes_.size() && lanes_[lane].answers.empty(); ++i) {
    auto message = lanes_[lane].channel.receive();
    if (message) {
      on_message(lane, *message, now);
      continue;
    }
    if (message.error() == ReceiveStop::kViolation)
      violation(lanes_[lane].channel.violation(), now);
    else if (message.error() == ReceiveStop::kClosed)
      end_channels(now);
    return;
  }
}

void Broker::on_message(std::uint32_t lane, FromTranslator& message, base::Instant now) {
  // From here on slots are the broker's; one outside of the lane's range stays outside of the table.
  const auto ours = [&](flow::Id id) {
    id.slot = id.slot < options_.max_slots ? lane * options_.max_slots + id.slot : table_.max_slots();
    return id;
  };
  if (auto* request = std::get_if<FlowRequest>(&message)) {
    request->id = ours(request->id);
    on_request(*request, now);
  } else if (auto* close = std::get_if<FlowClose>(&message)) {
    close->id = ours(close->id);
    on_close(*close, now);
  } else if (auto* report = std::get_if<FlowVolumes>(&message)) {
    report->id = ours(report->id);
    on_volumes(*report, now);
  } else if (const auto* spoof = std::get_if<flow::PacketReport>(&message)) {
    judge_.on_packet(*spoof, now);
  } else if (const auto* counters = std::get_if<CounterReport>(&message)) {
    lanes_[lane].counters = counters->values;
    judge_.on_counters(summed_counters(), now);
  } else if (auto* claim = std::get_if<FlowClaim>(&message)) {
    claim->id = ours(claim->id);
    on_claim(*claim, now);
  } else {
    on_decline(std::get<FlowDecline>(message), now);
  }
}

// The totals of all workers, of translators that are gone too: they never fall.
CounterValues Broker::summed_counters() const {
  CounterValues sum = gone_counters_;
  for (const Lane& lane : lanes_)
    for (std::size_t i = 0; i < sum.size(); ++i) sum.at(i) += lane.counters.at(i);
  return sum;
}

void Broker::tick(base::Instant now) {
  if (now >= next_timeout_scan_) {
    time_out(now);
    next_timeout_scan_ = now + kTimeoutScan;
  }
  if (pending_ == 0)
    next_timeout_scan_ = base::Instant::never();
  else if (next_timeout_scan_ == base::Instant::never())
    next_timeout_scan_ = now + kTimeoutScan;
  if (now >= judge_.tick_due()) judge_.on_tick(now);
  // Nobody may ask while the host state is unknown, yet live flows wait for it.
  if (now >= drain_due_) drain(now);
  if (now >= path_due_) give_up_lost_paths(now);
  if (inbound_ && now >= inbound_->offers_due) time_out_offers(now);
  if (now >= meter_due_) meter(now);
  watch_memory(now);
}

SendStatus Broker::send(Lane& lane, const Answer& answer) {
  const flow::Id theirs{answer.id.slot % options_.max_slots, answer.id.generation};
  switch (answer.kind) {
    case Answer::Kind::kGrant: {
      BrokerFlow* flow = table_.find(answer.id);
      if (flow == nullptr || flow->state != BrokerFlow::State::kGranted)
        return SendStatus::kSent;  // closed since
      const SendStatus status =
          lane.channel.send_grant(theirs, flow->socket.get(), answer.path_mtu, 0, flow->shaping);
      flow->grant_waits = status == SendStatus::kFull;
      return status;
    }
    case Answer::Kind::kOffer: return send_offer(lane, answer.id.generation);
    case Answer::Kind::kRefuse: return lane.channel.send_refuse(theirs, answer.how);
    case Answer::Kind::kRevoke: return lane.channel.send_revoke(theirs, answer.how);
    case Answer::Kind::kReshape: {
      BrokerFlow* flow = table_.find(answer.id);
      if (flow == nullptr || flow->state != BrokerFlow::State::kGranted) return SendStatus::kSent;
      const SendStatus status = lane.channel.send_reshape(theirs, flow->shaping);
      flow->reshape_waits = status == SendStatus::kFull;
      return status;
    }
  }
  return SendStatus::kSent;
}

void Broker::answer(const Answer& answer) {
  const std::uint32_t index = answer.id.slot / options_.max_slots;
  if (index >= lanes_.size()) return;
  Lane& lane = lanes_[index];
  if (lane.answers.empty()) {
    const SendStatus status = send(lane, answer);
    lane_lost_ |= status == SendStatus::kClosed;
    if (status != SendStatus::kFull) return;
  }
  if (BrokerFlow* flow = table_.find(answer.id)) {
    flow->grant_waits |= answer.kind == Answer::Kind::kGrant;
    flow->reshape_waits |= answer.kind == Answer::Kind::kReshape;
  }
  lane.answers.push_back(answer);
  watch_channel(index, true);
}

void Broker::flush_answers(std::uint32_t index) {
  Lane& lane = lanes_[index];
  while (!lane.answers.empty()) {
    const SendStatus status = send(lane, lane.answers.front());
    if (status == SendStatus::kFull) return;
    lane_lost_ |= status == SendStatus::kClosed;
    lane.answers.pop_front();
  }
  watch_channel(index, false);
}

}  // namespace cordon::sandbox
