#include "app/publish.h"

namespace cordon::app {

std::uint32_t listeners_of(const RunOptions& options) {
  return options.forwards.empty() ? 0
                                  : sandbox::count_listeners(options.forwards, sandbox::ephemeral_ports());
}

base::Result<Published> open_published(const RunOptions& options) {
  Published out;
  out.options.rules = options.forwards;
  for (const FamilyPlan& family : options.guest.families())
    out.options.links.push_back({.on_link = net::Prefix::containing(family.address, family.prefix_length),
                                 .gateway = family.gateway,
                                 .dns = family.dns,
                                 .guest = {family.address}});
  out.listeners = CORDON_TRY(sandbox::open_listeners(options.forwards, sandbox::ephemeral_ports()));
  return out;
}

}  // namespace cordon::app
