#include "policy/prefix_nest.h"

#include <algorithm>

namespace cordon::policy {

PrefixNest::PrefixNest(std::vector<net::Prefix> prefixes) {
  std::ranges::sort(prefixes);  // by family, address and length
  prefixes.erase(std::ranges::unique(prefixes).begin(), prefixes.end());
  keys_.reserve(prefixes.size());
  parents_.reserve(prefixes.size());
  lengths_.reserve(prefixes.size());
  std::vector<Number> around;  // those the next one may lie in, outermost first
  for (const net::Prefix& prefix : prefixes) {
    if (prefix.address().is_v4()) first_v6_ = static_cast<Number>(keys_.size() + 1);
    if (keys_.size() == first_v6_) around.clear();  // the first of IPv6 lies in none of IPv4
    const AddressKey key = key_of(prefix.address());
    while (!around.empty() && !contains(around.back(), key, prefix.length())) around.pop_back();
    parents_.push_back(around.empty() ? kNone : around.back());
    around.push_back(static_cast<Number>(keys_.size()));
    keys_.push_back(key);
    lengths_.push_back(static_cast<std::uint8_t>(prefix.length()));
  }
}

bool PrefixNest::contains(Number number, const AddressKey& key, unsigned length) const {
  return lengths_[number] <= length && share_prefix(keys_[number], key, lengths_[number]);
}

PrefixNest::Number PrefixNest::search(net::Family family, const AddressKey& key, unsigned length) const {
  const auto middle = keys_.begin() + first_v6_;
  const auto begin = family == net::Family::kIpv4 ? keys_.begin() : middle;
  const auto end = family == net::Family::kIpv4 ? middle : keys_.end();
  const auto after = std::upper_bound(begin, end, key);
  if (after == begin) return kNone;
  // The last one that does not begin behind the address: if it does not contain it, one of its parents is the
  // longest that does.
  auto at = static_cast<Number>(after - keys_.begin() - 1);
  while (at != kNone && !contains(at, key, length)) at = parents_[at];
  return at;
}

PrefixNest::Number PrefixNest::longest(const net::IpAddress& address) const {
  return search(address.family(), key_of(address), address.bit_count());
}

PrefixNest::Number PrefixNest::longest(const net::Prefix& prefix) const {
  return search(prefix.family(), key_of(prefix.address()), prefix.length());
}

}  // namespace cordon::policy
