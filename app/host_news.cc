#include "app/host_news.h"

#include <algorithm>
#include <iterator>

namespace cordon::app {
namespace {

// What `from` has and `without` does not.
std::vector<std::string> only_in(const std::vector<std::string>& from,
                                 const std::vector<std::string>& without) {
  std::vector<std::string> out;
  std::ranges::set_difference(from, without, std::back_inserter(out));
  if (out.size() > HostNews::kMostNames) {
    const auto more = out.size() - HostNews::kMostNames;
    out.resize(HostNews::kMostNames);
    out.push_back("and " + std::to_string(more) + " more");
  }
  return out;
}

}  // namespace

HostNews::Facts HostNews::read(const netlink::HostState& state) {
  Facts facts;
  for (const net::Prefix& prefix : state.host_prefixes()) facts.addresses.push_back(net::to_string(prefix));
  for (const auto& [index, link] : state.links()) facts.links.push_back(link.name);
  for (const std::uint32_t index : state.uplinks())
    if (const netlink::Link* link = state.link(index)) facts.uplinks.push_back(link->name);
  for (auto* list : {&facts.addresses, &facts.links, &facts.uplinks}) std::ranges::sort(*list);
  return facts;
}

void HostNews::note(base::Instant now) {
  ++count_;
  if (due_ == base::Instant::never()) due_ = std::max(now + kSettle, quiet_until_);
}

std::optional<HostNews::News> HostNews::take(const netlink::HostState& state, base::Instant now) {
  if (now < due_) return std::nullopt;
  Facts facts = read(state);
  News news{.changes = {.addresses_gained = only_in(facts.addresses, told_.addresses),
                        .addresses_lost = only_in(told_.addresses, facts.addresses),
                        .links_gained = only_in(facts.links, told_.links),
                        .links_lost = only_in(told_.links, facts.links),
                        .uplinks = facts.uplinks},
            .count = count_};
  told_ = std::move(facts);
  count_ = 0;
  due_ = base::Instant::never();
  quiet_until_ = now + kWindow;
  return news;
}

}  // namespace cordon::app
