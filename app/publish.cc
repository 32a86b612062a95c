#include "app/publish.h"

namespace cordon::app {

std::uint32_t listeners_of(const RunOptions& options) {
  return options.forwards.empty() ? 0
                                  : sandbox::count_listeners(options.forwards, sandbox::ephemeral_ports());
}

base::Result<std::vector<base::Fd>> open_privileged_ports(const RunOptions& options) {
  if (options.forwards.empty()) return std::vector<base::Fd>{};
  return sandbox::open_privileged(options.forwards, sandbox::ephemeral_ports());
}

base::Result<Published> open_published(const RunOptions& options, std::vector<base::Fd> inherited) {
  Published out;
  out.options.rules = options.forwards;
  for (const FamilyPlan& family : options.guest.families()) {
    // A neighbour that we stand in for is answered by its own address; else by way of the gateway.
    const unsigned length =
        options.guest.map.real_gateway ? family.address.bit_count() : family.prefix_length;
    out.options.links.push_back({.on_link = net::Prefix::containing(family.address, length),
                                 .gateway = family.gateway,
                                 .dns = family.dns,
                                 .guest = {family.address}});
    for (const AddressAndLength& more : family.more) out.options.links.back().guest.push_back(more.address);
  }
  out.listeners =
      CORDON_TRY(sandbox::open_listeners(options.forwards, sandbox::ephemeral_ports(), std::move(inherited)));
  return out;
}

}  // namespace cordon::app
