// Questions of ours for the guest's MAC: an ARP request, a neighbour solicitation. For a guest whose MAC is
// not known; what it answers is a frame like any other and is learnt from that (guest_mac.h).
#pragma once

#include <cstddef>

#include "core/lan/addresses.h"
#include "core/lan/answer.h"
#include "core/net/ip_address.h"

namespace cordon::lan {

// To everybody, for the guest's address of this family; the frame's length, 0: it has none of this family.
[[nodiscard]] std::size_t put_neighbour_query(const LanConfig& config, net::Family family, ReplyBuffer out);

}  // namespace cordon::lan
