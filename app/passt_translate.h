// From passt's command line to cordon's own: `cordon vm ...` with the options that make it behave as passt
// does. The result is what every role parses again (options.h), so what the host is like is found out once,
// here, and written out.
//
// What passt does that cordon vm does not do by itself:
// - the guest has this machine's own address and gateway, and its name servers, which it asks directly;
// - the gateway's address leads to this machine's loopback (--map), or with --no-map-gw to the gateway;
// - everything may be reached, this machine too (--default-policy=passt), unless --no-map-host says no.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "app/host_addressing.h"
#include "app/passt_options.h"

namespace cordon::app {

// What the command line does not say.
struct PasstHost {
  HostAddresses addresses;
  std::vector<net::IpAddress> name_servers;
  std::vector<std::string> search;
};
// resolv.conf(5) -> the last two members.
void read_resolv_conf(std::string_view text, PasstHost& host);

// `command`: to serve, with its socket or fd settled.
[[nodiscard]] std::expected<std::vector<std::string>, UsageError> translate_passt(const PasstCommand& command,
                                                                                  const PasstHost& host);

}  // namespace cordon::app
