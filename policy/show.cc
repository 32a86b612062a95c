#include "policy/show.h"

#include <algorithm>

#include "policy/diagnostic.h"
#include "policy/match.h"
#include "policy/print.h"
#include "policy/text_table.h"
#include "policy/times.h"

namespace cordon::policy {
namespace {

constexpr unsigned kMinWidth = 72;
constexpr std::size_t kLabel = 10;

std::string plural(std::size_t count, std::string_view what) {
  return std::to_string(count) + " " + std::string{what} + (count == 1 ? "" : "s");
}

// One line with a label; nothing when there is no text.
std::string labelled(std::string_view label, const std::string& text) {
  if (text.empty()) return {};
  std::string out{label};
  out.resize(std::max(kLabel, out.size() + 1), ' ');
  return out + text + "\n";
}

std::string joined(const std::vector<std::string>& items) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

// "2000000000B" as "2GB".
std::string shortened(std::string value) {
  constexpr std::array kUnits{std::pair{"000000000B", "GB"}, std::pair{"000000B", "MB"},
                              std::pair{"000B", "KB"}};
  for (const auto& [zeros, unit] : kUnits)
    if (const auto at = value.find(zeros); at != std::string::npos)
      return value.replace(at, std::string_view{zeros}.size(), unit);
  return value;
}

// "connections 64", "rate 10MB/s", in the order of the keys.
std::vector<std::string> limit_texts(const Limits& limits) {
  std::vector<std::string> out;
  for (const auto& [key, value] : fields(limits)) out.push_back(std::string{key} + " " + shortened(value));
  return out;
}

std::string end_of(WallTime end, WallTime now) {
  if (end == WallTime::max()) return {};
  return to_string(end) + (has_ended(end, now) ? " (over)" : "");
}

std::string reload_text(const ReloadSettings& reload) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(reload.drain).count();
  return (seconds == 0
              ? "what is denied then is cut at once"
              : "what is denied then is cut after " + plural(static_cast<std::size_t>(seconds), "second")) +
         "; after an error " + (reload.deny_on_error ? "everything is denied" : "the policy before stays");
}

std::string head(const PolicySet& policy) {
  const auto files = policy.files();
  std::string out = labelled("policy", policy.hash());
  if (files.empty()) return out + labelled("files", "none; without a file everything is denied");
  out += labelled("files", std::to_string(files.size()) +
                               (files.size() == 1 ? "" : "; every file that enforces must allow a flow"));
  out += labelled("refuse", policy.drops() ? "drop" : "reject");
  const Ruleset& site = files.front();
  std::vector<std::string> uplinks;
  for (const auto& name : site.host.uplinks) uplinks.push_back(printable(name));
  out += labelled("uplinks", uplinks.empty() ? "the interfaces that carry a default route" : joined(uplinks));
  out += labelled("aliases", joined(to_strings({.prefixes = site.host.aliases})));
  out += labelled("tenant", site.tenant);
  const GuestLimits guest = guest_limits(policy);
  auto limits = limit_texts(guest.lowest);
  for (std::size_t i = 0, text = 0; i < guest.at.size(); ++i)
    if (!guest.at[i].empty()) limits[text++] += " (" + printable(guest.at[i]) + ")";
  out += labelled("limits", limits.empty() ? "none for the whole guest" : joined(limits));
  out += labelled("reload", reload_text(site.reload));
  if (site.require_tenant_policy) out += labelled("requires", "a file besides the operator's");
  return out;
}

std::string table(const Ruleset& file, Direction direction, const ShowOptions& options) {
  const auto& rules = file.rules(direction);
  std::string out = "\n" + std::string{direction == Direction::kEgress ? "egress" : "ingress"} + " of \"" +
                    file.name + "\" (" + printable(file.path) + ")" +
                    (file.mode == Mode::kAudit ? ", only audited" : "");
  if (const auto end = end_of(file.expires, options.now); !end.empty()) out += ", expires " + end;
  out += "\n";
  if (rules.empty()) return out + "  no rule: nothing is allowed\n";
  TextTable table{{"#", "RULE", "ACTION", direction == Direction::kEgress ? "TO" : "FROM", "EXCEPT", "PORTS",
                   "LIMITS", "UNTIL", "LOG", "LINE"}};
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const Rule& rule = rules[i];
    TextTable::Cell ports;
    for (const PortRange& range : rule.ports) ports.push_back(to_string(range));
    const auto one = [](std::string text) {
      return text.empty() ? TextTable::Cell{} : TextTable::Cell{std::move(text)};
    };
    table.add({{std::to_string(i + 1)},
               {rule.name},
               {rule.action == Action::kAllow ? "allow" : "deny"},
               to_strings(rule.to),
               to_strings(rule.except),
               std::move(ports),
               limit_texts(rule.limits),
               one(end_of(rule.until, options.now)),
               one(rule.log == LogMode::kNone ? "" : std::string{to_string(rule.log)}),
               {std::to_string(rule.at.line)}});
  }
  return out + table.render(std::max(options.width, kMinWidth), 2);
}

}  // namespace

std::string_view to_string(LogMode log) {
  switch (log) {
    case LogMode::kNone: return "none";
    case LogMode::kNew: return "new";
    case LogMode::kAll: return "all";
  }
  return "none";
}

GuestLimits guest_limits(const PolicySet& policy) {
  GuestLimits out;
  for (const Ruleset& file : policy.files()) {
    if (file.mode == Mode::kAudit) continue;  // its limits are not applied
    const auto take = [&](std::size_t which, auto& mine, const auto& other, auto&& amount) {
      if (amount(other) == 0 || (amount(mine) != 0 && amount(mine) <= amount(other))) return;
      mine = other;
      out.at[which] = file.path + ":" + std::to_string(file.limits.at.line);
    };
    const auto number = [](auto value) { return value; };
    const auto per_minute = [](const NewFlows& fresh) {
      return std::uint64_t{fresh.count} * 60 / fresh.seconds;
    };
    take(0, out.lowest.connections, file.limits.connections, number);
    take(1, out.lowest.fresh, file.limits.fresh, per_minute);
    take(2, out.lowest.rate, file.limits.rate, number);
    take(3, out.lowest.bytes, file.limits.bytes, number);
  }
  return out;
}

std::string show_table(const PolicySet& policy, const ShowOptions& options) {
  std::string out = head(policy);
  for (const Direction direction : {Direction::kEgress, Direction::kIngress})
    for (const Ruleset& file : policy.files()) out += table(file, direction, options);
  return out;
}

}  // namespace cordon::policy
