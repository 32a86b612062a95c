// Which worker owns a flow.
//
// Theory of operation. A flow's owner is a keyed hash of its protocol, addresses and ports, so every worker
// comes to the same answer from a frame of the guest, from a tuple the broker names or from the packet that
// an ICMP error quotes, without a word between them; and a guest that does not know the key cannot send all
// its flows to one worker. Frames are judged here before anything has checked them: whatever cannot be read
// stays with the worker that read it, whose ingress counts the fault. What belongs to the link rather than to
// a flow (ARP, neighbour discovery, DHCP, groups) is the first worker's, who alone keeps the link's state.
// Fragments say no ports: the worker of their datagram puts them together, then the whole has its owner.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/base/bytes.h"
#include "core/base/siphash.h"
#include "core/flow/types.h"

namespace cordon::plane {

class Owners {
 public:
  static constexpr std::uint32_t kLinkOwner = 0;

  Owners(const base::SipKey& key, std::uint32_t workers);

  [[nodiscard]] std::uint32_t of(const flow::Tuple& tuple) const;
  // `frame`: from the Ethernet header on. nullopt: whoever read it.
  [[nodiscard]] std::optional<std::uint32_t> of(base::Bytes frame) const;

 private:
  [[nodiscard]] std::optional<std::uint32_t> of_v4(base::Bytes ip) const;
  [[nodiscard]] std::optional<std::uint32_t> of_v6(base::Bytes ip) const;
  [[nodiscard]] std::optional<std::uint32_t> of_packet(std::uint8_t protocol, base::Bytes source,
                                                       base::Bytes destination, base::Bytes l4) const;
  [[nodiscard]] std::optional<std::uint32_t> of_quoted(base::Bytes ip) const;
  [[nodiscard]] std::uint32_t of_fragment(base::Bytes source, base::Bytes destination,
                                          std::uint32_t id) const;
  [[nodiscard]] std::uint32_t of_flow(std::uint8_t protocol, base::Bytes guest, std::uint16_t guest_port,
                                      base::Bytes remote, std::uint16_t remote_port) const;
  [[nodiscard]] std::uint32_t pick(base::Bytes words) const;

  base::SipKey key_;
  std::uint32_t workers_;
};

}  // namespace cordon::plane
