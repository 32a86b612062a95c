#include "policy/lint.h"

#include <algorithm>
#include <array>

#include "core/flow/gate.h"
#include "policy/limit_scopes.h"
#include "policy/special_purpose.h"

namespace cordon::policy {
std::string shadow_message(const Rule& first, const Rule& second) {
  const bool contrary = first.action != second.action;
  return "rule " + quote(second.name) + " can never match: all of it is decided by " + quote(first.name) +
         " in line " + std::to_string(first.at.line) +
         (contrary ? std::string{", which "} + (first.action == Action::kDeny ? "denies" : "allows") +
                         "; the first match decides"
                   : "");
}

std::string never_reached(const net::Prefix& prefix) {
  static const std::array kWrappings{*net::parse_prefix("64:ff9b::/96"), *net::parse_prefix("64:ff9b:1::/48"),
                                     *net::parse_prefix("2002::/16"), *net::parse_prefix("2001::/32"),
                                     *net::parse_prefix("::/96")};
  const SpecialPrefix* row = special_prefix_of(prefix.address());
  if (row != nullptr && row->kind == AddressKind::kMetadata && row->length == prefix.length())
    return "a metadata endpoint (" + std::string{row->source} + "), which only the word `metadata` opens";
  for (const auto& wrapping : kWrappings)
    if (wrapping.contains(prefix) && prefix.length() > 0 && !net::is_unspecified(prefix.address()) &&
        prefix != net::Prefix::single(*net::parse_ip("::1")))
      return "an IPv4 address in IPv6 form; the IPv4 address decides, so write that";
  if (row == nullptr || row->kind != AddressKind::kFloor || row->length > prefix.length()) return {};
  const bool exception_inside = std::ranges::any_of(special_prefixes(), [&](const SpecialPrefix& other) {
    return other.kind != AddressKind::kFloor && prefix.contains(other.address);
  });
  return exception_inside
             ? std::string{}
             : std::string{row->what} + " (" + std::string{row->source} + "), which no rule opens";
}

std::string never_comes(const net::Prefix& prefix) {
  const net::IpAddress& address = prefix.address();
  if (prefix.length() >= 8 && net::is_loopback(address))
    return "loopback; a connection from there is the host's own, which only the word `host` lets in";
  if (net::is_link_local(address) && prefix.length() >= 10 && kind_of(address) == AddressKind::kFloor)
    return {};  // a neighbour, once it is no destination
  return never_reached(prefix);
}

std::string_view looser(const Limits& rule, const Limits& file) {
  const auto above = [](auto mine, auto whole) { return whole != 0 && mine > whole; };
  if (above(rule.connections, file.connections)) return "connections";
  if (rule.fresh.seconds == file.fresh.seconds && above(rule.fresh.count, file.fresh.count)) return "new";
  if (above(rule.rate, file.rate)) return "rate";
  return above(rule.bytes, file.bytes) ? "bytes" : "";
}

void check_rates(std::span<const Ruleset> files, std::size_t index, Report& report) {
  const auto rule_with_rate = [](const Ruleset& file) -> const Rule* {
    if (file.mode == Mode::kAudit) return nullptr;  // its limits are not applied
    for (const auto* rules : {&file.egress, &file.ingress})
      for (const Rule& rule : *rules)
        if (rule.limits.rate != 0) return &rule;
    return nullptr;
  };
  const Rule* here = rule_with_rate(files[index]);
  if (here == nullptr) return;
  for (std::size_t i = 0; i < index; ++i)
    if (const Rule* other = rule_with_rate(files[i])) {
      report.add(Code::kRatesInTwoFiles, here->limits.at,
                 "rule " + quote(here->name) + " has a rate, and so has rule " + quote(other->name) + " in " +
                     files[i].path + ":" + std::to_string(other->at.line) +
                     "; rates in rules belong into one file, others may limit the rate at their head");
      return;
    }
  if (count_shapers(files.first(index + 1)) > flow::kMaxShapers)
    report.add(Code::kTooMany, here->limits.at,
               "more than " + std::to_string(flow::kMaxShapers) + " rates in all files together");
}

}  // namespace cordon::policy
