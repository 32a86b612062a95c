#include "app/options_forward.h"

#include <algorithm>

#include "app/forward_spec.h"

namespace cordon::app {
namespace {

using sandbox::ForwardRule;
using Rules = std::vector<ForwardRule>;
using Planned = std::expected<Rules, UsageError>;

constexpr std::size_t kMaxRules = 1024;

constexpr std::string_view name_of(flow::Protocol protocol) {
  return protocol == flow::Protocol::kTcp ? "--tcp-ports" : "--udp-ports";
}

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

const std::optional<FamilyPlan>& plan_of(const GuestPlan& guest, net::Family family) {
  return family == net::Family::kIpv4 ? guest.ipv4 : guest.ipv6;
}

std::string_view no_option(net::Family family) {
  return family == net::Family::kIpv4 ? "--no-ipv4" : "--no-ipv6";
}

// A wildcard covers its family; [::] of both families covers everything.
bool addresses_meet(const ForwardRule& a, const ForwardRule& b) {
  if (a.dual_stack || b.dual_stack) return true;
  if (a.address.family() != b.address.family()) return false;
  return a.address == b.address || net::is_unspecified(a.address) || net::is_unspecified(b.address);
}

bool overlap(const ForwardRule& a, const ForwardRule& b) {
  if (a.protocol != b.protocol || a.last < b.first || b.last < a.first) return false;
  if (!a.interface.empty() && !b.interface.empty() && a.interface != b.interface) return false;
  return addresses_meet(a, b);
}

std::expected<ForwardRule, UsageError> make_rule(const GuestPlan& guest, const ForwardSpec& spec,
                                                 const PortRange& range, ForwardRule rule) {
  const auto family = range.to       ? std::optional{range.to->family()}
                      : spec.address ? std::optional{spec.address->family()}
                                     : std::nullopt;
  if (range.to && spec.address && spec.address->family() != range.to->family())
    return usage(rule.text + ": it listens on " + to_string(*spec.address) + " and leads to " +
                 to_string(*range.to) + "; give two addresses of one family");
  if (family && !plan_of(guest, *family))
    return usage(rule.text + " needs an address that " + std::string{no_option(*family)} +
                 " leaves out; drop one of them");
  if (range.to && !plan_of(guest, *family)->is_guest(*range.to))
    return usage(rule.text + ": " + to_string(*range.to) + " is not an address of the guest; it has " +
                 to_string(plan_of(guest, *family)->address));
  if (!family || *family == net::Family::kIpv4)
    if (guest.ipv4) rule.target_v4 = range.to.value_or(guest.ipv4->address);
  if (!family || *family == net::Family::kIpv6)
    if (guest.ipv6) rule.target_v6 = range.to.value_or(guest.ipv6->address);
  rule.dual_stack = !spec.address && rule.target_v4 && rule.target_v6;
  rule.address = spec.address     ? *spec.address
                 : rule.target_v6 ? net::IpAddress{net::Ipv6Address{}}
                                  : net::IpAddress{net::Ipv4Address{}};
  rule.interface = spec.interface;
  rule.first = range.first;
  rule.last = range.last;
  rule.target = range.target;
  rule.weak = range.weak;
  return rule;
}

std::expected<void, UsageError> add(const GuestPlan& guest, flow::Protocol protocol, const std::string& text,
                                    Rules& rules) {
  const std::string option{name_of(protocol)};
  const auto spec = parse_forward_spec(text);
  if (!spec) return usage(describe(option, text, spec.error()));
  if (spec->none) {
    for (const ForwardRule& earlier : rules)
      if (earlier.protocol == protocol)
        return usage(option + " none contradicts " + earlier.text + ", which comes before it; drop one");
    return {};
  }
  for (const PortRange& range : spec->ranges) {
    auto rule = make_rule(guest, *spec, range, {.protocol = protocol, .text = option + " " + text});
    if (!rule) return std::unexpected(std::move(rule.error()));
    for (const ForwardRule& earlier : rules) {
      if (!overlap(earlier, *rule)) continue;
      const auto port = std::to_string(std::max(earlier.first, rule->first));
      if (earlier.text == rule->text) return usage(rule->text + ": port " + port + " is in it twice");
      return usage(rule->text + " and " + earlier.text + " both publish port " + port +
                   "; leave it out of one (~" + port + ")");
    }
    if (rules.size() == kMaxRules)
      return usage(rule->text + ": more than " + std::to_string(kMaxRules) + " separate ranges");
    rules.push_back(std::move(*rule));
  }
  return {};
}

}  // namespace

Planned ForwardOptions::plan(const GuestPlan& guest) const {
  Rules rules;
  for (const auto& text : tcp)
    if (auto done = add(guest, flow::Protocol::kTcp, text, rules); !done)
      return std::unexpected(std::move(done.error()));
  for (const auto& text : udp)
    if (auto done = add(guest, flow::Protocol::kUdp, text, rules); !done)
      return std::unexpected(std::move(done.error()));
  return rules;
}

}  // namespace cordon::app
