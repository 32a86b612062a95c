// Any bytes as resolv.conf, by both of its readers: the launcher's, for the resolvers that are asked, and
// the passt front end's, for those that the guest is told.
#include "app/passt_translate.h"
#include "fuzz/input.h"
#include "sandbox/resolver_watch.h"

using namespace cordon;
using fuzz::require;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 16384) return 0;
  const std::string text(data, data + size);
  const auto resolvers = sandbox::parse_resolv_conf(text);
  require(resolvers.servers.size() <= sandbox::control::kMaxResolvers);
  app::PasstHost host;
  app::read_resolv_conf(text, host);
  // Of what both look at the launcher's reader takes at least as much, up to its limit.
  for (const auto& server : resolvers.servers) {
    require(server.scope_id == 0 || net::is_link_local(server.address));
    require(text.find("nameserver") != std::string::npos);
  }
  for (const std::string& name : host.search)
    require(!name.empty() && name.find_first_of(" \t\n") == std::string::npos);
  return 0;
}
