#include "policy/lint.h"

#include <algorithm>
#include <array>

#include "policy/special_purpose.h"

namespace cordon::policy {
namespace {

bool covers(const PortRange& outer, const PortRange& inner) {
  return outer.protocol == inner.protocol && outer.first <= inner.first && inner.last <= outer.last;
}

// `first` is matched whenever `second` is. A deny also looks at wrapped forms, guarded places and DNS ports
// that an allow leaves out (decide.cc, covered()), so an allow hides a deny only by words that have no such
// difference.
bool hides(const Rule& first, const Rule& second) {
  if (!first.except.empty() || !first.to.words.contains(second.to.words)) return false;
  const bool wider_second = first.action == Action::kAllow && second.action == Action::kDeny;
  if (wider_second && (!second.to.prefixes.empty() || second.to.words.contains(Word::kInternet)))
    return false;
  const bool places = std::ranges::all_of(second.to.prefixes, [&](const net::Prefix& inner) {
    return std::ranges::any_of(first.to.prefixes,
                               [&](const net::Prefix& outer) { return outer.contains(inner); });
  });
  return places && std::ranges::all_of(second.ports, [&](const PortRange& inner) {
           return std::ranges::any_of(first.ports,
                                      [&](const PortRange& outer) { return covers(outer, inner); });
         });
}

}  // namespace

std::string never_reached(const net::Prefix& prefix) {
  static const std::array kWrappings{*net::parse_prefix("64:ff9b::/96"), *net::parse_prefix("64:ff9b:1::/48"),
                                     *net::parse_prefix("2002::/16"), *net::parse_prefix("2001::/32"),
                                     *net::parse_prefix("::/96")};
  for (const auto& row : special_prefixes()) {
    const auto whole = net::Prefix::containing(row.address, row.length);
    if (row.kind == AddressKind::kMetadata && whole == prefix)
      return "a metadata endpoint (" + std::string{row.source} + "), which only the word `metadata` opens";
  }
  for (const auto& wrapping : kWrappings)
    if (wrapping.contains(prefix) && prefix.length() > 0 && !net::is_unspecified(prefix.address()) &&
        prefix != net::Prefix::single(*net::parse_ip("::1")))
      return "an IPv4 address in IPv6 form; the IPv4 address decides, so write that";
  for (const auto& row : special_prefixes()) {
    const auto whole = net::Prefix::containing(row.address, row.length);
    const bool exception_inside = std::ranges::any_of(special_prefixes(), [&](const SpecialPrefix& other) {
      return other.kind != AddressKind::kFloor && prefix.contains(other.address);
    });
    if (row.kind == AddressKind::kFloor && whole.contains(prefix) && !exception_inside &&
        kind_of(prefix.address()) == AddressKind::kFloor)
      return std::string{row.what} + " (" + std::string{row.source} + "), which no rule opens";
  }
  return {};
}

void report_shadowed(const Ruleset& ruleset, Report& report) {
  for (std::size_t j = 1; j < ruleset.egress.size(); ++j) {
    for (std::size_t i = 0; i < j; ++i) {
      const Rule& first = ruleset.egress[i];
      const Rule& second = ruleset.egress[j];
      if (!hides(first, second)) continue;
      report.add(Code::kShadowed, second.at,
                 "rule " + quote(second.name) + " can never match: all of it is decided by " +
                     quote(first.name) + " in line " + std::to_string(first.at.line));
      break;
    }
  }
}

}  // namespace cordon::policy
