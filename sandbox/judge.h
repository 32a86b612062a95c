// What the broker asks. The broker (broker.h) owns sockets and order of operations; the judge owns meaning:
// policy, host state, routes, resolvers, audit. `app` implements it; tests use a fake.
//
// A decision is a function of (tuple, policy, host state, routes). epoch() changes whenever one of those
// inputs may have changed, so a flow judged in this epoch after a drain() need not be judged again. For every
// flow the broker calls drain(), judge(), connects, and when the connection stands drain() again, judge() if
// the epoch moved, and route_is_remote() when the socket itself looks like a local one. kStale means the host
// state is not known (netlink overrun, not yet read again): the broker then refuses what it would have
// granted.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/flow/gate.h"
#include "core/flow/types.h"
#include "sandbox/control.h"

namespace cordon::sandbox {

enum class HostChange : std::uint8_t { kUnchanged, kChanged, kStale };

struct Verdict {
  bool allow = false;
  // Denied for want of a route alone: not a matter of policy, and it may come back.
  bool no_route = false;
  // The destination is a service of this host, and allowed to be (resolver forwarding, the word `host`): the
  // socket is not bound to an interface and the checks for a destination that became local do not apply.
  bool local_service = false;
  flow::RefuseHow how = flow::RefuseHow::kReject;  // when denied
  net::Endpoint dial;  // where the socket connects; differs from the tuple for the guest's DNS address
  std::uint32_t bind_interface = 0;      // interface index the socket is bound to; 0: none
  std::uint32_t scope_id = 0;            // for link-local IPv6
  std::optional<net::IpAddress> source;  // the socket's own address; nullopt: the kernel's choice
  std::uint64_t token = 0;  // the judge's own: kept with the flow and handed back with every audit call
  // The judge's own, from judge() to admit(): which limits the flow falls under.
  static constexpr std::size_t kMaxScopes = 16;
  std::array<std::uint16_t, kMaxScopes> scopes{};
  // Filled by admit(); kept with the flow.
  std::uint32_t account = 0;  // to be released when the flow's record dies; 0: nothing is counted for it
  bool metered = false;       // under a byte budget: its volume is measured
  flow::Shaping shaping;
};

// What the network still does for a live flow that policy has nothing against.
enum class Path : std::uint8_t {
  kGood,   // it is the way that a new flow would take
  kWorse,  // it works, but a new flow would take another
  kLost,   // it does not work now, but the same way may come back
  kGone    // it never comes back: the interface was deleted, the resolver is not one any more
};
struct PathQuery {
  const flow::Tuple& tuple;
  const net::Endpoint& dialed;
  std::optional<net::IpAddress> local;  // the socket's own address
  std::uint32_t interface = 0;          // the socket is bound to it; 0: to none
  bool local_service = false;
};

// Why the broker itself refused or cut, where it was not the judge's verdict.
enum class Limit : std::uint8_t { kConnections, kNewFlows, kDescriptors, kMemory };
enum class Cut : std::uint8_t {
  kVerdict,      // judged again and denied now: policy or host state changed, or a date passed
  kLimit,        // a byte budget is used up
  kBecameLocal,  // the connection ended at this host although the decision named a remote destination
  kPathLost,     // the network under it went away
  kMoved,        // a datagram flow makes room for its successor on another path; nothing is denied
  kTranslatorGone,
  kOperator  // `cordon ctl kill`
};
// What became of the files of a NewPolicy. kUnchanged: they say what is in force already.
enum class PolicyLoad : std::uint8_t { kInForce, kRejected, kUnchanged };

// A flow as audit calls see it; valid during the call.
struct FlowView {
  const flow::Tuple& tuple;
  const net::Endpoint& dialed;
  std::uint64_t token = 0;
  base::Instant started;  // when the request came
};

class Judge {
 public:
  virtual ~Judge() = default;

  // Readable when drain() has work; -1: none.
  [[nodiscard]] virtual int poll_fd() const = 0;
  // Readable when on_clock() has work; -1: none.
  [[nodiscard]] virtual int clock_fd() const { return -1; }
  // The wall clock reached a date of the policy or was set. Moves the epoch when that changes anything.
  virtual void on_clock(base::Instant /*now*/) {}
  // One system call when nothing is queued.
  virtual HostChange drain(base::Instant now) = 0;
  [[nodiscard]] virtual std::uint32_t epoch() const = 0;
  [[nodiscard]] virtual Verdict judge(const flow::Tuple& tuple, base::Instant now) = 0;
  // The same for a connection or datagram from outside: `seen.remote` is the peer as the listening socket saw
  // it (no translation), `seen.guest` where the forward leads. `dial` of the verdict is the peer, un-mapped.
  [[nodiscard]] virtual Verdict judge_inbound(const flow::Tuple& seen, base::Instant now) = 0;
  // A live flow under the policy and host state of now. Other than judge() it may let a flow live on for a
  // while that would not begin any more (`reload: drain`).
  [[nodiscard]] virtual Verdict judge_again(const FlowView& flow, bool inbound, base::Instant now) {
    return inbound ? judge_inbound(flow.tuple, now) : judge(flow.tuple, now);
  }
  // The flow goes on by `verdict`: its limits are those of the policy of now. Never refuses (over_budget()
  // tells later); fills metered and shaping, and account where it changed. The first on_volume() after an
  // account became metered says what had passed before, which is charged to nobody.
  virtual void readmit(const FlowView& /*flow*/, std::uint32_t /*account*/, Verdict& /*verdict*/) {}
  // New policy files. Moves the epoch when they are in force; otherwise all stays as it was.
  virtual PolicyLoad load_policy(base::Fd /*bundle*/, control::LoadCause /*cause*/, base::Instant /*now*/) {
    return PolicyLoad::kInForce;
  }
  // Somebody asked for a reload, and there is no file: what is in force stays.
  virtual void on_nothing_to_load() {}
  // False: no policy was ever in force, and every flow is denied. The broker is Ready when it is true.
  [[nodiscard]] virtual bool has_policy() const { return true; }
  // Every live flow was judged in this epoch or a later one: no flow goes on by what an older policy said.
  virtual void on_reviewed(std::uint32_t /*epoch*/) {}
  // The log was rotated: records go there from now on.
  virtual void set_audit_sink(base::Fd /*fd*/) {}
  // Asks the kernel, not a cache: would a packet to `dial` leave this machine now?
  [[nodiscard]] virtual bool route_is_remote(const flow::Tuple& tuple, const Verdict& verdict) = 0;
  // `now_judged`: what judge() says of the flow's tuple in this epoch.
  [[nodiscard]] virtual Path path(const PathQuery& flow, const Verdict& now_judged) = 0;
  // Moves the epoch: flows to a resolver that is none any more end.
  virtual void set_resolvers(std::span<const control::Resolver> resolvers) = 0;

  // The policy's limits. admit() comes once for every new flow that judge() or judge_inbound() allowed, in
  // either direction, and never for a flow that is judged again. Over a limit it turns the verdict into a
  // refusal (to be handled as judge()'s own, on_denied() included); else it counts the flow, and release()
  // must follow exactly once, whatever becomes of it.
  virtual void admit(const flow::Tuple& tuple, Verdict& verdict, base::Instant now) = 0;
  virtual void release(std::uint32_t account) = 0;
  // Payload bytes of a metered flow so far, both directions. TCP: the kernel's count, several times a second
  // while bytes move and at the end. Datagrams: the translator's word.
  virtual void on_volume(std::uint32_t account, std::uint64_t total) = 0;
  // Set when a budget the flow falls under is used up: it is then cut with this verdict.
  [[nodiscard]] virtual std::optional<Verdict> over_budget(const FlowView& flow,
                                                           std::uint32_t account) const = 0;

  // Audit. Each call is one fact; the judge aggregates.
  virtual void on_denied(const flow::Tuple& tuple, const Verdict& verdict, base::Instant now) = 0;
  virtual void on_limit(const flow::Tuple& tuple, Limit limit, base::Instant now) = 0;
  // The same for a flow from outside; `seen` as for judge_inbound(). kConnections: also when the guest's side
  // had no room for it.
  virtual void on_inbound_limit(const flow::Tuple& seen, Limit limit, base::Instant now) = 0;
  // Granted: the fd is on its way. From outside: it was claimed.
  virtual void on_allowed(const FlowView& flow, base::Instant now) = 0;
  // socket(), bind() or connect() failed with `error`, or no answer came in time (ETIMEDOUT).
  virtual void on_unreachable(const FlowView& flow, int error, base::Instant now) = 0;
  // It was allowed and the connection was being opened when the guest gave up (or the translator went away):
  // neither granted nor refused.
  virtual void on_aborted(const FlowView& flow, base::Instant now) = 0;
  // Cut before (`granted` false: the guest was told what a denied guest is told) or after it was granted. For
  // UDP and echo `exposed` says that datagrams may have left for the host after its state changed; how many
  // at most comes with the flow's on_ended(kRevoked).
  virtual void on_cut(const FlowView& flow, const Verdict& verdict, Cut why, bool granted, bool exposed,
                      base::Instant now) = 0;
  virtual void on_ended(const FlowView& flow, flow::EndReason reason, const flow::Volumes& volumes,
                        base::Instant now) = 0;
  virtual void on_packet(const flow::PacketReport& report, base::Instant now) = 0;
  virtual void on_counters(const CounterValues& values, base::Instant now) = 0;
  // Summaries of aggregated records, expiry of remembered addresses. Called at tick_due() and before exit;
  // Instant::never(): nothing waits.
  virtual void on_tick(base::Instant now) = 0;
  [[nodiscard]] virtual base::Instant tick_due() const = 0;
};

}  // namespace cordon::sandbox
