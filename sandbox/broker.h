// The broker: the process that opens every host socket, and the only one that can.
//
// It reads flow requests from a translator it takes for hostile, asks the Judge (judge.h), opens and connects
// the socket itself, checks again once the connection stands, and hands over a descriptor of which it keeps a
// duplicate, so that it can cut the flow later. One thread, one epoll set: control (launcher), channel
// (translator), the judge's netlink socket, and those connects that did not finish at once.
//
// One flow: request -> limits -> drain, judge -> socket, options, bind to the interface the FIB names ->
// connect -> [epoll] -> drain, judge again if anything changed, look at the socket itself -> grant. The
// requests of one wake-up are worked as a batch that shares both drains. That keeps the order the proof
// needs: each connection stands (or has failed: a refusal tells something too) before a drain, and the guest
// learns of it only after that drain. So no payload byte ever goes to, or comes from, a TCP service on an
// address that became the host's in between.
//
// Nothing a stranger sent to a UDP or echo socket between bind() and connect() is read as the peer's, and how
// sockets are cut: see broker_socket.cc. Around each batch of cuts the launcher is told, and kills the
// translator when the cuts do not finish in time.
//
// Live flows are judged again when policy or host change, and those end whose way out is gone: see
// broker_review.cc.
//
// Answers that find the channel full wait in order, and no further requests are read meanwhile.
//
// A translator has a channel for each of its workers. Slot numbers on a channel are its worker's own; inside
// the broker a flow's slot is `worker * max_slots + slot`, put on and taken off where messages come and go,
// so no worker can name another one's flows. When one channel ends, all of them do.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "sandbox/attendant.h"
#include "sandbox/broker_budget.h"
#include "sandbox/broker_inbound.h"
#include "sandbox/broker_socket.h"
#include "sandbox/broker_table.h"
#include "sandbox/channel.h"
#include "sandbox/control.h"
#include "sandbox/judge.h"

namespace cordon::sandbox {

struct BrokerOptions {
  std::uint32_t max_workers = 1;    // channels a translator may have
  std::uint32_t max_slots = 65536;  // slot numbers each of them may use
  std::uint32_t max_flows = 16384;  // live and pending together
  std::uint32_t max_pending = 4096;
  double new_flows_per_second = 50'000;
  double new_flows_burst = 20'000;
  std::uint32_t descriptor_reserve = 64;  // kept free below RLIMIT_NOFILE
  base::Duration connect_timeout = std::chrono::seconds{75};
  // A TCP flow outlives the loss of its path for so long: a renewed lease, a link that flaps.
  base::Duration path_grace = std::chrono::seconds{2};
  std::uint64_t socket_memory = 0;  // bytes of kernel memory that all sockets may hold; 0: by the machine
  // Tests: called when a connect() has an outcome and the second check has not begun.
  std::function<void(const flow::Tuple&)> before_second_check;
};

struct BrokerCounters {
  std::uint64_t requests = 0;
  std::uint64_t granted = 0;
  std::uint64_t denied = 0;       // by the judge, before anything was opened
  std::uint64_t denied_late = 0;  // by the second check
  std::uint64_t unreachable = 0;
  std::uint64_t limited = 0;
  std::uint64_t cut = 0;
  std::uint64_t closed = 0;
  std::uint64_t aborted = 0;        // pending when the guest, or its translator, gave up
  std::uint64_t unknown_close = 0;  // crossed a refusal, or nonsense
  std::uint64_t violations = 0;
};

// A flow as an operator sees it; valid during the call.
struct FlowEntry {
  flow::Id id;  // the slot is the broker's own number
  FlowView flow;
  bool inbound = false;
  BrokerFlow::State state = BrokerFlow::State::kGranted;
  std::optional<net::IpAddress> local;  // the socket's own address, once granted
  std::uint32_t interface = 0;          // it is bound to it; 0: to none
  std::uint32_t worker = 0;
};

class Broker {
 public:
  Broker(BrokerOptions options, Judge& judge, base::Fd control);

  // Published ports, with sockets that listen already; before start().
  void publish(InboundOptions options, std::vector<Listener> listeners);
  // Served in the same loop; before start(). The broker does not own it.
  void attend(Attendant& attendant) { attendant_ = &attendant; }
  // For the attendant, and from its serve() only: asks the launcher.
  void ask_launcher(const control::FromBroker& message);
  // Makes the epoll set; before lockdown.
  base::Result<void> start();
  enum class End : std::uint8_t { kStopped, kNoPolicy };
  // Says Ready as soon as the judge has a policy, and serves until Stop or until the launcher is gone.
  // kNoPolicy: the first policy was rejected.
  base::Result<End> run(std::uint32_t missing_layers = 0);
  // One turn of the loop; waits at most `wait_ms` (-1: until something happens). False: stop.
  base::Result<bool> turn(int wait_ms);

  [[nodiscard]] const BrokerCounters& counters() const { return counters_; }
  [[nodiscard]] InboundCounters inbound_counters() const {
    return inbound_ ? inbound_->counters : InboundCounters{};
  }
  [[nodiscard]] std::size_t offers() const { return inbound_ ? inbound_->offers.size() : 0; }
  // What the launcher said of itself and of the translator; an empty summary: nothing yet.
  [[nodiscard]] std::span<const control::RoleIsolation> isolation_of_others() const { return isolation_of_; }
  [[nodiscard]] bool has_translator() const { return !lanes_.empty(); }
  [[nodiscard]] std::uint32_t flows() const { return table_.size(); }
  [[nodiscard]] std::size_t metered() const { return metered_; }

  // broker_operator.cc: for the attendant, from its serve().
  //
  // A page of live flows in the order of their slots, which they keep while they live: `cursor` is 0 at
  // first, then what came back; nullopt: that was the last page. `visit` is called at most `max` times.
  std::optional<std::uint32_t> list_flows(std::uint32_t cursor, std::uint32_t max,
                                          const std::function<void(const FlowEntry&)>& visit) const;
  // Payload bytes of each so far, both directions, where the kernel counts them: granted TCP flows.
  [[nodiscard]] std::vector<std::optional<std::uint64_t>> volumes_of(std::span<const flow::Id> flows);
  // Cuts the flows that `chosen` says, some per turn (Cut::kOperator). How many they are.
  std::size_t kill(const std::function<bool(const FlowEntry&)>& chosen);
  [[nodiscard]] std::uint32_t pending() const { return pending_; }
  [[nodiscard]] std::uint32_t flow_limit() const { return flow_limit_; }
  [[nodiscard]] std::size_t leaving() const { return leaving_.size(); }

 private:
  struct Answer {
    flow::Id id;  // kOffer: the generation is the offer, the slot says only which lane
    enum class Kind : std::uint8_t { kGrant, kRefuse, kRevoke, kOffer, kReshape } kind;
    flow::RefuseHow how;
    std::uint32_t path_mtu;
  };
  // kChannel: the first of kMaxWorkers values.
  enum class Source : std::uint32_t {
    kControl = 0xfffffff0U,
    kJudge,
    kInbound,
    kAttendant,
    kClock,
    kChannel = 0xffffff00U
  };
  // One worker of the translator.
  struct Lane {
    BrokerChannel channel;
    std::deque<Answer> answers{};  // found the channel full
    CounterValues counters{};      // its last report
    bool writable_watched = false;
    bool readable = false;  // in this turn
  };

  // Closed by the guest: the socket's end waits for the end of the turn.
  struct Ended {
    base::Fd socket;
    flow::Protocol protocol;
    net::Family family;
    flow::CloseHow how;
  };

  // broker.cc: the loop and its sources
  base::Result<void> watch(int fd, std::uint32_t events, std::uint64_t data);
  [[nodiscard]] static std::optional<std::uint32_t> lane_of_source(std::uint32_t source);
  void watch_channel(std::uint32_t lane, bool writable);
  void on_control(base::Instant now);
  void on_channel(std::uint32_t lane, base::Instant now);
  void on_message(std::uint32_t lane, FromTranslator& message, base::Instant now);
  [[nodiscard]] CounterValues summed_counters() const;
  void violation(Violation reason, base::Instant now);
  void load_policy(control::NewPolicy fresh, base::Instant now);
  void adopt_channel(control::NewTranslator fresh, base::Instant now);
  void drop_channels(base::Instant now);
  void end_channels(base::Instant now);
  void end_lost_translator(base::Instant now);
  void tick(base::Instant now);
  void drain(base::Instant now);
  [[nodiscard]] int wait_time(int wait_ms, base::Instant now) const;

  // broker_flows.cc: the life of a flow
  void on_request(const FlowRequest& request, base::Instant now);
  std::optional<Limit> over_limit(base::Instant now);
  void open_flow(flow::Id id, const flow::Tuple& tuple, const Verdict& verdict, base::Instant now);
  void on_connect_event(std::uint32_t slot, std::uint32_t generation);
  void finish(std::uint32_t slot, BrokerFlow& flow, int error);
  void check_finished(base::Instant now);
  void second_check(std::uint32_t slot, BrokerFlow& flow, base::Instant now);
  void refuse_late(std::uint32_t slot, BrokerFlow& flow, const Verdict& verdict, Cut why, base::Instant now);
  void on_close(const FlowClose& close, base::Instant now);
  void on_abort(const BrokerFlow& flow, base::Instant now);
  void end_later(BrokerFlow& flow, flow::CloseHow how);
  void cut(int socket, flow::Protocol protocol);
  void end_sockets();
  void stop_waiting(BrokerFlow& flow);
  void time_out(base::Instant now);
  void cut_all(base::Instant now);

  // broker_review.cc: live flows after a change of policy or host
  struct Ending {
    std::uint32_t slot;
    Verdict verdict;
    Cut why;
  };
  [[nodiscard]] bool review_due() const;
  [[nodiscard]] bool translator_keeps_up() const;
  void review(base::Instant now);
  void review_flow(std::uint32_t slot, BrokerFlow& flow, base::Instant now);
  void give_up_lost_paths(base::Instant now);
  void end_flows(base::Instant now);

  // broker_operator.cc
  [[nodiscard]] FlowEntry entry(std::uint32_t slot, const BrokerFlow& flow) const;
  std::size_t kill_offers(const std::function<bool(const FlowEntry&)>& chosen);
  void kill_some(base::Instant now);

  // broker_limits.cc: flows under the policy's limits
  void keep_account(BrokerFlow& flow, const Verdict& verdict);  // once the flow has its socket
  void forget(std::uint32_t slot);                              // releases and erases
  void drop_account(const BrokerFlow& flow);
  // A flow that goes on by `verdict`: its limits now. True: others than before.
  bool readmit(BrokerFlow& flow, Verdict verdict);
  void apply_limits(std::span<const std::uint32_t> slots, base::Instant now);
  void enforce_limits(const BrokerFlow& flow);
  void limit_pace(const BrokerFlow& flow);
  std::uint64_t measure(const BrokerFlow& flow, bool with_queued = false);
  void on_volumes(const FlowVolumes& report, base::Instant now);
  void meter_soon(base::Instant now);
  void meter(base::Instant now);

  // broker_inbound.cc: offers and what becomes of them
  base::Result<void> start_inbound();
  [[nodiscard]] bool can_accept(base::Instant now) const;
  void watch_inbound(base::Instant now);
  void pause_inbound(base::Duration how_long, base::Instant now);
  [[nodiscard]] SendStatus send_offer(Lane& lane, std::uint32_t number);
  void on_claim(const FlowClaim& claim, base::Instant now);
  void on_decline(const FlowDecline& decline, base::Instant now);
  void review_offers(base::Instant now);
  void cut_offers(std::span<const std::uint32_t> numbers, base::Instant now);
  void time_out_offers(base::Instant now);
  void drop_offers();
  void leave_inbound(const InboundPart& part);
  void forget_offer(std::uint32_t number);

  // broker_arrival.cc: what comes to a listener
  struct Arrival {
    std::uint32_t listener;
    net::Endpoint peer;
    net::Endpoint local;
    std::uint32_t scope_id;
    std::uint32_t interface;  // it came by; 0: not known
  };
  void serve_inbound(base::Instant now);
  bool accept_one(std::uint32_t listener, base::Instant now);
  bool receive_one(std::uint32_t listener, base::Instant now);
  void on_connection(const Arrival& arrival, base::Fd socket, base::Instant now);
  void on_newcomer(const Arrival& arrival, base::Bytes payload, base::Instant now);
  void on_late_datagram(const PeerRef& peer, base::Bytes payload);
  std::optional<Verdict> let_in(const flow::Tuple& seen, base::Instant now);
  [[nodiscard]] flow::Tuple seen_tuple(const Arrival& arrival) const;
  // What the guest sees where it is not `seen`; false: no port is free.
  [[nodiscard]] bool shown_tuple(const flow::Tuple& seen, std::optional<flow::Tuple>& shown);
  void offer(const Arrival& arrival, const flow::Tuple& seen, const Verdict& verdict, base::Fd socket,
             base::Bytes first, base::Instant now);
  void collect_port_sockets(flow::Protocol protocol, net::Port port, net::Family family);

  // broker_memory.cc: the kernel memory of all sockets
  struct Leaving {  // ended, with bytes still to be sent
    base::Fd fd;
    std::uint32_t queued;
    base::Instant since;  // of the last progress
  };
  void prepare_memory();  // before lockdown
  // Whose memory is counted.
  [[nodiscard]] std::size_t sockets() const { return table_.size() + leaving_.size() + offers(); }
  [[nodiscard]] std::optional<std::uint64_t> machine_socket_memory() const;
  void watch_memory(base::Instant now);
  void look_at_memory(base::Instant now);
  void limit_memory(BrokerFlow& flow);
  void end_granted(Ended& ended);
  void see_off(base::Instant now);

  void answer(const Answer& answer);
  [[nodiscard]] SendStatus send(Lane& lane, const Answer& answer);
  void flush_answers(std::uint32_t lane);

  BrokerOptions options_;
  std::array<control::RoleIsolation, 2> isolation_of_{};
  Judge& judge_;
  Attendant* attendant_ = nullptr;
  control::BrokerControl control_;
  std::vector<Lane> lanes_;  // empty: no translator
  base::Fd epoll_;
  std::array<base::Fd, 2> datagram_offload_;
  BrokerTable table_;
  std::vector<flow::Id> finished_;  // have an outcome, wait for the second check at the end of the turn
  std::vector<Ended> ended_;
  std::vector<int> port_sockets_;   // scratch
  std::optional<Inbound> inbound_;  // nothing is published: none
  BrokerCounters counters_;
  CounterValues gone_counters_{};  // of translators that ended
  double tokens_ = 0;
  base::Instant tokens_at_;
  base::Instant next_timeout_scan_ = base::Instant::never();
  std::uint32_t pending_ = 0;
  std::uint32_t flow_limit_ = 0;
  std::uint32_t review_left_ = 0;  // entries of table_.live(), from the front, still to be judged again
  std::uint32_t reviewed_epoch_ = 0;
  base::Instant review_after_;                        // while the translator does not keep up
  std::uint32_t awaiting_ = 0;                        // cut, and not closed yet
  std::vector<std::uint32_t> relimited_;              // scratch
  std::vector<Ending> endings_;                       // scratch
  std::vector<flow::Id> killed_;                      // by the operator, still to be cut
  base::Instant path_due_ = base::Instant::never();   // when to look at flows without a path again
  base::Instant drain_due_ = base::Instant::never();  // the host state is unknown: when to read it again
  base::Instant meter_due_ = base::Instant::never();  // when to measure flows under a byte budget
  base::Duration meter_period_{};
  std::uint64_t meter_seen_ = 0;    // sum of the volumes of this pass
  std::uint64_t meter_before_ = 0;  // and of the one before
  std::uint32_t meter_left_ = 0;    // entries of table_.live() still to be measured
  std::uint32_t metered_ = 0;       // flows under a byte budget
  SocketBudget budget_{0, 1};
  base::Fd sockstat_;
  std::vector<Leaving> leaving_;
  base::Instant memory_due_ = base::Instant::never();
  base::Instant leaving_due_ = base::Instant::never();
  std::uint64_t memory_seen_ = 0;  // by the pass under way
  std::uint32_t memory_left_ = 0;  // entries of table_.live() that it has not asked yet
  bool memory_limited_ = false;    // some sockets have a share's limits
  std::uint32_t revoke_serial_ = 0;
  HostChange host_ = HostChange::kUnchanged;  // the last drain's answer
  bool drained_ = false;                      // since the last message of this turn was read
  bool stop_ = false;
  bool uncut_ = false;      // in this turn: a socket that the translator still holds could not be cut
  bool lane_lost_ = false;  // in this turn: a channel that took an answer no more
  bool rejected_ = false;   // the first policy
  bool loaded_ = false;     // policy files came in this turn
};

}  // namespace cordon::sandbox
