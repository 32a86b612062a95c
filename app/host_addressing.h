// --host-addressing: the guest takes the addresses, prefixes and gateways of this machine's default-route
// interface.
//
// Every role parses the same arguments again and must come to the same addresses, whatever happens to the
// machine's in between. So the launcher looks once, before it starts anybody, and replaces the option by the
// explicit --address, --gateway and --dns it stands for. That the guest has the host's own address opens
// nothing: policy denies it as `host`, and as an address of the guest's own link.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "app/options.h"
#include "netlink/default_interface.h"

namespace cordon::app {

struct HostAddresses {
  std::optional<netlink::DefaultInterface> ipv4;
  std::optional<netlink::DefaultInterface> ipv6;
};
// `interface`: of this one, whether or not it has a default route; "": of the default route's.
[[nodiscard]] base::Result<HostAddresses> find_host_addresses(const std::string& interface = {});

// `arguments` with the option replaced; a family the machine lacks is left out. An error when it has none of
// those the command line wants.
[[nodiscard]] std::expected<std::vector<std::string>, UsageError> with_host_addresses(
    const std::vector<std::string>& arguments, const HostAddresses& host);

}  // namespace cordon::app
