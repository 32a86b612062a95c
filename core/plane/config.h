// What a Worker is built from; plain values, fixed for the process's life.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/siphash.h"
#include "core/base/time.h"
#include "core/lan/addresses.h"
#include "core/lan/guest_mac.h"

namespace cordon::plane {

// Of stash for each slot, so that every slot can hold a TCP flow: the first flows are promised more than
// the last (tcp_driver.cc), together no more than this on the average.
inline constexpr std::size_t kStashPerFlow = std::size_t{32} << 10U;

struct Limits {
  std::uint32_t flows = 16384;     // slots, all protocols
  std::uint32_t udp_flows = 6144;  // caps within `flows`, so that datagrams never starve TCP
  std::uint32_t icmp_flows = 256;
  // Address space reserved, memory committed only while used.
  std::size_t ring_bytes = std::size_t{256}
                           << 20U;  // host -> guest, until the guest acks; all flows together
  std::size_t stash_bytes = std::size_t{256} << 20U;  // guest -> host, what the kernel did not take yet
  std::uint32_t ring_per_flow = 4U << 20U;
  std::uint32_t credit_start = 64U << 10U;       // window a new TCP flow may fill
  std::uint32_t credit_most = 1U << 20U;         // window a busy one grows to
  std::uint32_t turn_bytes = 512U << 10U;        // host -> guest bytes of one flow in one turn
  std::uint32_t shared_turn_bytes = 64U << 10U;  // the same while another flow is active
};

struct Timeouts {  // as conntrack's defaults
  base::Duration udp_one_way = std::chrono::seconds{30};
  base::Duration udp_stream = std::chrono::seconds{120};
  base::Duration icmp = std::chrono::seconds{30};
};

struct BusyPoll {
  base::Duration longest = std::chrono::microseconds{60};  // zero: never spin
};

class ShaperBank;

struct WorkerConfig {
  lan::LanConfig lan;  // addresses, MACs and MTU of the guest's link
  // Shared by all workers of a guest whose MAC is learnt (lan.guest_mac is zero then); nullptr: it is given.
  lan::GuestMac* guest_mac = nullptr;
  base::SipKey key;  // random per process: flow hash and initial sequence numbers
  Limits limits;
  Timeouts timeouts;
  BusyPoll busy_poll;
  ShaperBank* shapers = nullptr;  // shared by all workers of a guest; nullptr: this worker's own
};

}  // namespace cordon::plane
