#include "core/plane/worker.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/base/check.h"
#include "core/plane/context.h"
#include "core/plane/datagram_driver.h"
#include "core/plane/ingress.h"
#include "core/plane/tcp_driver.h"

namespace cordon::plane {
namespace {

constexpr base::Duration kTrimAfter = std::chrono::seconds{1};
constexpr base::Duration kRetryLink = std::chrono::milliseconds{1};
constexpr std::size_t kFrames = 64;
constexpr std::size_t kSharedFrames = 1;  // of bulk, while others wait
constexpr std::uint32_t kLinkEvents = EPOLLIN;
// Token::slot of the link's queues.
constexpr std::uint32_t kMainQueue = 0;
constexpr std::uint32_t kBulkQueue = 1;
constexpr loop::Token kBulkToken{loop::Token::Kind::kLink, kBulkQueue, 0};
const Clock kMonotonic;

}  // namespace

class Worker::Core {
 public:
  Core(const WorkerConfig& config, link::Link& link, flow::Gate& gate, const Clock& clock)
      : clock_(clock),
        context_(config, link, gate, clock.now()),
        tcp_(context_),
        datagrams_(context_),
        ingress_(context_, tcp_, datagrams_) {
    CORDON_CHECK(context_.poller.add(link.poll_fd(), kLinkEvents, {loop::Token::Kind::kLink}));
    if (link.bulk_fd() >= 0) CORDON_CHECK(context_.poller.add(link.bulk_fd(), kLinkEvents, kBulkToken));
    if (link.wake_fd() >= 0)
      CORDON_CHECK(context_.poller.add(link.wake_fd(), EPOLLIN | EPOLLET, {loop::Token::Kind::kLink}));
  }

  void run_once(base::Duration max_wait);
  void add_poll_source(int fd, PollHandler& handler);
  void want_output(int fd, bool wanted);
  void remove_poll_source(int fd);

  void on_grant(flow::Grant grant);
  void on_refuse(flow::Id id, flow::RefuseHow how);
  void on_inbound(flow::Inbound inbound);
  void on_late_datagram(const flow::LateDatagram& datagram);
  void on_revoke(flow::Id id, flow::RefuseHow how);
  void on_reshape(flow::Id id, const flow::Shaping& shaping);
  void on_gate_writable() { context_.retry_gate(); }

  void want_guest() { context_.guest_wanted = true; }

  [[nodiscard]] const Context& context() const { return context_; }
  bool stopped = false;

 private:
  struct Source {
    int fd = -1;
    PollHandler* handler = nullptr;
  };
  [[nodiscard]] base::Duration patience(base::Duration max_wait) const;
  void watch_link();
  std::span<const epoll_event> look(base::Duration wait, bool& input);
  void dispatch(const epoll_event& event);
  void on_link(std::uint32_t events, std::uint32_t queue);
  void count_refused();
  void on_flow(loop::Token token, std::uint32_t events);
  void run_ready(std::uint32_t waiting);
  void run_flow(std::uint32_t slot);
  void on_timer(std::uint32_t slot);
  void trim();
  // Waiting for the gate's answer.
  [[nodiscard]] bool asked(flow::Id id);
  [[nodiscard]] bool is_tcp(std::uint32_t slot) const {
    return context_.table.tuple(slot).protocol == flow::Protocol::kTcp;
  }
  std::size_t source_of(int fd) const;

  const Clock& clock_;
  Context context_;
  TcpDriver tcp_;
  DatagramDriver datagrams_;
  Ingress ingress_;
  std::array<link::Frame, kFrames> frames_{};
  std::array<Source, 8> sources_{};
  std::uint32_t link_events_ = kLinkEvents;
  link::Refused refused_;  // as far as it has been counted
  bool trim_due_ = false;
};

void Worker::Core::run_once(base::Duration max_wait) {
  context_.now = clock_.now();
  context_.link_blocked = false;
  context_.timers.fire_until(context_.now, [this](std::uint32_t slot) { on_timer(slot); });
  if (!context_.knows_guest()) ingress_.seek_guest();
  ingress_.on_timer();
  tcp_.transmit_dirty();
  context_.link.flush();
  watch_link();
  const base::Duration wait = patience(max_wait);
  // Of the link, and no event tells of it.
  bool input = context_.link.before_wait(wait > base::Duration::zero()) || context_.link.pending();
  const auto events = look(input ? base::Duration::zero() : wait, input);
  context_.link.after_wait();
  const base::Instant woken = clock_.now();
  if (events.empty() && trim_due_ && woken - context_.now >= kTrimAfter) trim();
  context_.now = woken;
  if (context_.closes_overdue()) context_.tell_closes();
  trim_due_ = trim_due_ || input || !events.empty();
  const std::uint32_t waiting = context_.ready.size();
  std::optional<std::uint32_t> bulk;
  for (const epoll_event& event : events) {
    if (loop::Token::unpack(event.data.u64) == kBulkToken)
      bulk = event.events;  // after all others
    else
      dispatch(event);
  }
  if (input) on_link(0, kMainQueue);
  run_ready(waiting);
  tcp_.transmit_dirty();
  if (bulk) on_link(*bulk, kBulkQueue);
  context_.table.end_turn();
  context_.link.flush();
}

// Room in a full link is an event like others: a guest that has been stopped wakes nobody.
void Worker::Core::watch_link() {
  const std::uint32_t events = kLinkEvents | context_.link.waits_for();
  if (events == link_events_) return;
  link_events_ = events;
  CORDON_CHECK(context_.poller.modify(context_.link.poll_fd(), events, {loop::Token::Kind::kLink}));
}

std::span<const epoll_event> Worker::Core::look(base::Duration wait, bool& input) {
  link::Link& link = context_.link;
  const auto events = context_.poller.spin(wait, [&link] { return link.pending(); });
  if (!events.empty() || wait <= base::Duration::zero()) return events;
  input = link.pending();
  if (!input) {
    context_.tell_closes();
    input = link.before_sleep();
  }
  return input ? events : context_.poller.sleep(wait);
}

base::Duration Worker::Core::patience(base::Duration max_wait) const {
  if (!context_.ready.empty()) return base::Duration::zero();
  base::Duration wait = max_wait;
  const base::Instant due = std::min(context_.timers.next_deadline(), ingress_.next_deadline());
  if (due != base::Instant::never())
    wait = std::min(wait, std::max(due - context_.now, base::Duration::zero()));
  if (context_.link_blocked && !context_.link.tells_room()) wait = std::min(wait, kRetryLink);
  if (trim_due_) wait = std::min(wait, kTrimAfter);
  return wait;
}

void Worker::Core::dispatch(const epoll_event& event) {
  const auto token = loop::Token::unpack(event.data.u64);
  switch (token.kind) {
    case loop::Token::Kind::kLink: return on_link(event.events, token.slot);
    case loop::Token::Kind::kFlow: return on_flow(token, event.events);
    case loop::Token::Kind::kSource: {
      const Source& source = sources_[token.slot];
      if (source.handler != nullptr && token.generation == static_cast<std::uint32_t>(source.fd))
        source.handler->on_ready(event.events, context_.now);
      return;
    }
  }
}

// One batch a turn: level-triggered, so what is left is reported again, and host sockets get their turn in
// between.
void Worker::Core::on_link(std::uint32_t events, std::uint32_t queue) {
  const std::size_t n =
      queue == kBulkQueue
          ? context_.link.receive_bulk(std::span(frames_).first(context_.shared() ? kSharedFrames : kFrames))
          : context_.link.receive(frames_);
  count_refused();
  // Whoever copied them, another worker perhaps, may have copied zeros.
  if (n > 0 && !context_.link.intact()) return;
  for (std::size_t i = 0; i < n; ++i) ingress_.on_frame(frames_[i]);
  datagrams_.end_batch();
  tcp_.end_batch();
  if (n == 0 && (events & (EPOLLERR | EPOLLHUP)) != 0) stopped = true;
}

// Frames like others, with an outcome like others.
void Worker::Core::count_refused() {
  const link::Refused now = context_.link.refused();
  const std::uint64_t length = now.length - refused_.length;
  const std::uint64_t offload = now.offload - refused_.offload;
  if (length + offload == 0) return;
  refused_ = now;
  context_.counters.add(Counter::kFramesFromGuest, length + offload);
  context_.counters.add(Counter::kDropMalformed, length);
  context_.counters.add(Counter::kDropOffload, offload);
}

void Worker::Core::on_flow(loop::Token token, std::uint32_t events) {
  if (!context_.table.live({token.slot, token.generation}) || !context_.open(token.slot))
    return context_.counters.add(Counter::kStaleEvents);
  context_.note_active(token.slot);
  if (is_tcp(token.slot))
    tcp_.on_events(token.slot, events);
  else
    datagrams_.on_events(token.slot, events);
}

// The first `waiting` of the ready list have had a turn already: behind those who have just come.
void Worker::Core::run_ready(std::uint32_t waiting) {
  const std::uint32_t behind = waiting;
  for (; waiting > 0; --waiting) context_.ready.push(*context_.ready.pop());
  if (context_.ring_pool.used() < context_.ring_pool.total())
    while (const auto slot = context_.starved.pop()) context_.ready.push(*slot);
  // Those that push themselves again have used up this turn's budget.
  for (std::uint32_t n = context_.ready.size(); n > 0; --n) {
    if (n == behind) tcp_.transmit_dirty();
    run_flow(*context_.ready.pop());
  }
}

void Worker::Core::run_flow(std::uint32_t slot) {
  if (!context_.table.live(context_.table.id(slot)) || !context_.open(slot)) return;
  if (is_tcp(slot))
    tcp_.on_ready(slot);
  else
    datagrams_.on_ready(slot);
}

void Worker::Core::on_timer(std::uint32_t slot) {
  if (slot >= context_.config.limits.flows)
    return context_.shapers.serve(slot, context_.now, [this](std::uint32_t next) { run_flow(next); });
  if (is_tcp(slot))
    tcp_.on_timer(slot);
  else
    datagrams_.on_timer(slot);
}

void Worker::Core::trim() {
  trim_due_ = false;
  context_.ring_pool.trim();
  context_.stash_pool.trim();
  context_.link.trim();
  datagrams_.trim();
}

std::size_t Worker::Core::source_of(int fd) const {
  const auto at =
      std::find_if(sources_.begin(), sources_.end(), [fd](const Source& s) { return s.fd == fd; });
  CORDON_CHECK(at != sources_.end());
  return static_cast<std::size_t>(at - sources_.begin());
}

void Worker::Core::add_poll_source(int fd, PollHandler& handler) {
  const std::size_t i = source_of(-1);
  sources_[i] = {fd, &handler};
  CORDON_CHECK(context_.poller.add(
      fd, EPOLLIN,
      {loop::Token::Kind::kSource, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(fd)}));
}

void Worker::Core::want_output(int fd, bool wanted) {
  const std::size_t i = source_of(fd);
  CORDON_CHECK(context_.poller.modify(
      fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN,
      {loop::Token::Kind::kSource, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(fd)}));
}

void Worker::Core::remove_poll_source(int fd) {
  sources_[source_of(fd)] = {};
  context_.poller.remove(fd);
}

bool Worker::Core::asked(flow::Id id) {
  if (context_.table.live(id) && context_.flows[id.slot].phase == Phase::kAsked) return true;
  context_.counters.add(Counter::kStaleEvents);
  return false;
}

void Worker::Core::on_grant(flow::Grant grant) {
  // A stale grant's socket closes here; the broker drops its dup on the close message that is under way.
  if (!asked(grant.id)) return;
  context_.counters.add(Counter::kFlowsGranted);
  context_.shape(grant.id.slot, grant.shaping);
  if (is_tcp(grant.id.slot))
    tcp_.on_grant(grant.id.slot, std::move(grant.socket), grant.receive_window);
  else
    datagrams_.on_grant(grant.id.slot, std::move(grant.socket), grant.path_mtu);
}

void Worker::Core::on_refuse(flow::Id id, flow::RefuseHow how) {
  if (!asked(id)) return;
  context_.counters.add(Counter::kFlowsRefused);
  if (is_tcp(id.slot))
    tcp_.on_refuse(id.slot, how);
  else
    datagrams_.on_refuse(id.slot, how);
}

void Worker::Core::on_inbound(flow::Inbound inbound) {
  const flow::Tuple& tuple = inbound.tuple;
  const bool v6 = tuple.guest.address.is_v6();
  const bool reachable = (v6 ? context_.config.lan.v6 : context_.config.lan.v4).has_value() &&
                         tuple.remote.address.is_v6() == v6;
  bool claimed = false;
  if (reachable && tuple.protocol == flow::Protocol::kTcp) claimed = tcp_.on_inbound(inbound);
  if (reachable && tuple.protocol == flow::Protocol::kUdp) claimed = datagrams_.on_inbound(inbound);
  // The socket closes here; the broker, whose dup is the last one, resets the peer.
  if (!claimed) context_.decline(inbound.offer);
}

void Worker::Core::on_late_datagram(const flow::LateDatagram& datagram) {
  const flow::Id id = datagram.id;
  if (!context_.table.live(id) || !context_.open(id.slot) || is_tcp(id.slot))
    return context_.counters.add(Counter::kStaleEvents);
  datagrams_.on_late_datagram(id.slot, datagram.payload);
}

void Worker::Core::on_revoke(flow::Id id, flow::RefuseHow how) {
  if (!context_.table.live(id) || !context_.open(id.slot))
    return context_.counters.add(Counter::kStaleEvents);
  context_.counters.add(Counter::kFlowsRevoked);
  if (is_tcp(id.slot))
    tcp_.on_revoke(id.slot);
  else
    datagrams_.on_revoke(id.slot, how);
}

void Worker::Core::on_reshape(flow::Id id, const flow::Shaping& shaping) {
  if (!context_.table.live(id) || !context_.open(id.slot))
    return context_.counters.add(Counter::kStaleEvents);
  context_.reshape(id.slot, shaping);
}

Worker::Worker(const WorkerConfig& config, link::Link& link, flow::Gate& gate)
    : Worker(config, link, gate, kMonotonic) {}
Worker::Worker(const WorkerConfig& config, link::Link& link, flow::Gate& gate, const Clock& clock)
    : core_(std::make_unique<Core>(config, link, gate, clock)) {}
Worker::~Worker() = default;

void Worker::add_poll_source(int fd, PollHandler& handler) { core_->add_poll_source(fd, handler); }
void Worker::want_output(int fd, bool wanted) { core_->want_output(fd, wanted); }
void Worker::remove_poll_source(int fd) { core_->remove_poll_source(fd); }
void Worker::want_guest() { core_->want_guest(); }
void Worker::run_once(base::Duration max_wait) { core_->run_once(max_wait); }
void Worker::run() {
  while (!core_->stopped) core_->run_once(std::chrono::hours{1});
}
void Worker::stop() { core_->stopped = true; }
void Worker::on_grant(flow::Grant grant) { core_->on_grant(std::move(grant)); }
void Worker::on_inbound(flow::Inbound inbound) { core_->on_inbound(std::move(inbound)); }
void Worker::on_late_datagram(const flow::LateDatagram& datagram) { core_->on_late_datagram(datagram); }
void Worker::on_refuse(flow::Id id, flow::RefuseHow how) { core_->on_refuse(id, how); }
void Worker::on_revoke(flow::Id id, flow::RefuseHow how) { core_->on_revoke(id, how); }
void Worker::on_reshape(flow::Id id, const flow::Shaping& shaping) { core_->on_reshape(id, shaping); }
void Worker::on_gate_writable() { core_->on_gate_writable(); }
const Counters& Worker::counters() const { return core_->context().counters; }
std::uint32_t Worker::live_flows() const { return core_->context().table.size(); }

}  // namespace cordon::plane
