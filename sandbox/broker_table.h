// The broker's flows, by the translator's slot number.
//
// Records live in chunks made on first use, so a hostile slot number costs at most the whole table (max_slots
// records) and an idle broker holds next to nothing. `live` lists the used slots densely for reviews. Flows
// that kept their guest's port are chained per (protocol, family, port), because a second one needs them.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/flow/types.h"
#include "sandbox/judge.h"

namespace cordon::sandbox {

// Who speaks to which published UDP port.
struct InboundPeer {
  std::uint32_t listener = 0;
  net::Endpoint peer;
  net::Endpoint local;  // the address it speaks to
  std::uint32_t scope_id = 0;
  friend auto operator<=>(const InboundPeer&, const InboundPeer&) = default;
};
// What only a flow from outside has (broker_inbound.h).
struct InboundPart {
  std::optional<InboundPeer> peer;   // UDP
  std::optional<flow::Tuple> shown;  // what the guest sees, where that is not the flow's own tuple
};

struct BrokerFlow {
  enum class State : std::uint8_t {
    kFree,
    kConnecting,    // in the epoll set
    kFinished,      // connect() has an outcome, the second check is to come in this turn
    kGranted,       // the translator has, or will have, a descriptor
    kAwaitingClose  // cut: the translator was told and has not answered yet
  };

  flow::Tuple tuple;  // from outside: the remote end is the peer as it is
  net::Endpoint dial;
  std::uint32_t generation = 0;
  std::uint32_t epoch = 0;  // of the judge, when last judged
  std::uint32_t scope_id = 0;
  std::uint32_t bind_interface = 0;
  std::uint32_t memory_share = 0;  // its buffers are limited to this; 0: they are not
  std::uint64_t token = 0;
  base::Instant started;
  base::Instant lost_since = base::Instant::never();  // its path does not work (broker_review.cc)
  std::optional<net::IpAddress> local;                // the socket's own address, once granted
  base::Fd socket;
  std::uint32_t account = 0;  // Verdict::account
  flow::Shaping shaping;
  std::unique_ptr<InboundPart> inbound;  // null: the guest began it
  int error = 0;                         // kFinished: outcome of connect()
  std::uint32_t live_index = 0;          // in live()
  std::uint32_t next_same_port = 0;      // slot + 1 of the next flow that kept the same port; 0: none
  State state = State::kFree;
  bool local_service = false;
  bool kept_port = false;
  bool peer_seen = false;      // OpenedSocket::peer_seen
  bool grant_waits = false;    // the channel was full
  bool reshape_waits = false;  // the same
  bool metered = false;        // Verdict::metered
  bool moved = false;          // kAwaitingClose: not because anything was denied
  bool killed = false;         // by the operator, who waits for the next turns
};
static_assert(sizeof(BrokerFlow) <= 256);

inline FlowView view(const BrokerFlow& flow) {
  return {.tuple = flow.tuple, .dialed = flow.dial, .token = flow.token, .started = flow.started};
}
inline void adopt(BrokerFlow& flow, const Verdict& verdict, std::uint32_t epoch) {
  flow.epoch = epoch;
  flow.token = verdict.token;
  flow.local_service = verdict.local_service;
}

class BrokerTable {
 public:
  explicit BrokerTable(std::uint32_t max_slots);

  [[nodiscard]] std::uint32_t max_slots() const { return max_slots_; }
  // nullptr: no such slot, or free, or another generation.
  [[nodiscard]] BrokerFlow* find(flow::Id id);
  [[nodiscard]] BrokerFlow* at(std::uint32_t slot);  // any state but kFree
  [[nodiscard]] const BrokerFlow* at(std::uint32_t slot) const {
    if (slot >= max_slots_ || !chunks_[slot / kChunk]) return nullptr;
    const BrokerFlow& flow = (*chunks_[slot / kChunk])[slot % kChunk];
    return flow.state == BrokerFlow::State::kFree ? nullptr : &flow;
  }
  // The first used slot from `slot` on; max_slots(): none.
  [[nodiscard]] std::uint32_t next_used(std::uint32_t slot) const;
  // The slot must be in range and free (CHECKed).
  BrokerFlow& insert(flow::Id id);
  // Closes the socket if one is left.
  void erase(std::uint32_t slot);

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(live_.size()); }
  [[nodiscard]] const std::vector<std::uint32_t>& live() const { return live_; }

  // First slot + 1 of the chain for this tuple's guest port; 0: none. TCP keeps no ports.
  [[nodiscard]] std::uint32_t same_port(const flow::Tuple& tuple, net::Family family) const {
    return ports_[port_index(tuple, family)];
  }
  void link_port(std::uint32_t slot);

 private:
  static constexpr std::uint32_t kChunk = 256;
  static std::size_t port_index(const flow::Tuple& tuple, net::Family family);
  void unlink_port(BrokerFlow& flow, std::uint32_t slot);

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::uint32_t max_slots_;
  std::vector<std::unique_ptr<std::array<BrokerFlow, kChunk>>> chunks_;
  std::vector<std::uint32_t> live_;
  std::unique_ptr<std::uint32_t[], Free> ports_;  // calloc: pages come with use
};

}  // namespace cordon::sandbox
