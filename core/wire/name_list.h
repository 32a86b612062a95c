// Domain names on the wire (RFC 1035 section 3.1): plain for DHCPv6, router advertisements and FQDN options,
// with compression pointers for DHCP's search list (RFC 3397).
#pragma once

#include <span>

#include "core/net/domain_name.h"
#include "core/wire/option_writer.h"

namespace cordon::wire {

// Each name followed by its zero label. False: not all of them fit; whole names only are written.
bool put_names(OptionWriter& out, std::span<const net::DomainName> names);
// The same, where a name's end that occurred before becomes a pointer to it; offsets count from the writer's
// position at the call (RFC 3397 section 2: from the start of the aggregated option data).
bool put_names_compressed(OptionWriter& out, std::span<const net::DomainName> names);

}  // namespace cordon::wire
