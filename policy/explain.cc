#include "policy/explain.h"

#include <algorithm>
#include <array>

#include "policy/match.h"
#include "policy/print.h"
#include "policy/special_purpose.h"
#include "policy/times.h"

namespace cordon::policy {
namespace {

using enum ExplainStep::Outcome;

// Rules that name the far end and still do not match are listed up to here, then counted like the others.
constexpr std::size_t kMaxNearMisses = 20;

std::string describe_route(const AddressFacts& facts) {
  if (facts.fib == FibType::kNone) return "no route";
  if (facts.fib == FibType::kOther) return "the kernel's route is of a kind not known here";
  if (facts.fib != FibType::kUnicast) return "the kernel's route is " + std::string{to_string(facts.fib)};
  return "route by interface " + std::to_string(facts.oif) +
         (facts.oif_is_uplink ? ", an uplink" : ", no uplink") +
         (facts.has_gateway ? ", through a gateway" : ", without a gateway");
}

std::string describe(const PortRange& port) { return to_string(port); }

std::string flow_port(const Query& query) {
  const auto port = query.direction == Direction::kEgress ? query.tuple.remote.port : query.tuple.guest.port;
  return describe({.protocol = query.tuple.protocol, .first = port.number(), .last = port.number()});
}

// What of `targets` names the far end.
std::string naming(const Targets& targets, const Query& query) {
  if (const auto word = word_of(query.dst_class); word && targets.words.contains(*word))
    return std::string{to_string(query.dst_class)};
  for (const auto& address : {query.remote.effective(), query.remote.dial})
    for (const net::Prefix& prefix : targets.prefixes)
      if (prefix.contains(address)) return net::to_string(prefix);
  return "it";
}

class Walk {
 public:
  Walk(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts, Direction direction)
      : policy_(policy),
        out_{.decision = direction == Direction::kEgress ? decide(policy, tuple, facts)
                                                         : decide_ingress(policy, tuple, facts)},
        query_{.tuple = tuple,
               .facts = facts,
               .direction = direction,
               .remote = normalise(tuple.remote.address),
               .dst_class = out_.decision.dst_class} {}

  Explanation take() {
    tell();
    const Decision& d = out_.decision;
    if (d.layer != Decision::kFloor) {
      const Ruleset& file = policy_.files()[static_cast<std::size_t>(d.layer)];
      out_.decided_by = d.rule == Decision::kNoRule ? file.path : place_of(file, rule_of(file, d.rule));
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool because(Reason reason) const { return out_.decision.reason == reason; }
  [[nodiscard]] bool egress() const { return query_.direction == Direction::kEgress; }
  [[nodiscard]] const Rule& rule_of(const Ruleset& file, std::int16_t rule) const {
    return file.rules(query_.direction)[static_cast<std::size_t>(rule)];
  }
  static std::string place_of(const Ruleset& file, const Rule& rule) {
    return file.path + ":" + std::to_string(rule.at.line);
  }
  void add(std::string_view stage, ExplainStep::Outcome outcome, std::string text) {
    out_.steps.push_back({std::string{stage}, outcome, {}, {}, std::move(text)});
  }

  void tell() {
    if (!tell_source() || !tell_destination()) return;
    if (!query_.facts.dns_forwarder || !egress()) {
      if (!tell_floor() || !tell_guarded()) return;
    }
    tell_files();
  }

  bool tell_source() {
    const auto guest = net::to_string(query_.tuple.guest.address);
    const bool good = query_.facts.source_assigned;
    add("source", good ? kPassed : kDenies,
        guest + (good ? " is the guest's address" : " is no address of this guest"));
    return good;
  }

  bool tell_destination() {
    const auto text = net::to_string(query_.tuple.remote.address);
    const Destination& remote = query_.remote;
    if (egress() && query_.facts.dns_forwarder) {
      add("destination", kPassed, text + " is the built-in DNS forwarder, no address of the host's network");
      return true;
    }
    if (remote.unreadable_embedding) {
      add("destination", kDenies, text + " carries an IPv4 address that cannot be read for certain");
      return false;
    }
    add("destination", kPassed,
        remote.embedded ? text + " carries " + net::to_string(*remote.embedded) + ", which decides"
        : remote.dial != query_.tuple.remote.address ? text + " is " + net::to_string(remote.dial)
                                                     : text + " carries no other address");
    return true;
  }

  [[nodiscard]] std::string why_special() const {
    if (query_.facts.sandbox_address) return "an address of our own side of the guest's network";
    const auto about = query_.remote.effective();
    if (kind_of(about) == AddressKind::kFloor) {
      const SpecialPrefix* row = special_prefix_of(about);
      return row == nullptr ? "not assigned as unicast (IANA)"
                            : std::string{row->what} + " (" + std::string{row->source} + ")";
    }
    for (const auto* facts : {&query_.facts.dial, &query_.facts.embedded})
      if (is_group_route(facts->fib)) return describe_route(*facts);
    return "an address of ours in an IPv6 wrapping";
  }

  bool tell_floor() {
    const auto about = net::to_string(query_.remote.effective());
    const DstClass place = query_.dst_class;
    const auto stop = [&](std::string text) {
      add("floor", kDenies, std::move(text));
      return false;
    };
    if (because(Reason::kSpecialAddress)) return stop(about + " is " + why_special() + "; no file opens it");
    if (because(Reason::kTenantIsolation) && (other_tenant() || !egress()))
      return stop(about + " is a guest" + (egress() ? " of another tenant" : "") + "; no file opens it");
    if (because(Reason::kMetadata) && !egress())
      return stop(about + " is a metadata endpoint, which starts no connections; no file opens it");
    if (because(Reason::kRouteBlocked) && place != DstClass::kHost) return stop(blocked());
    add("floor", kPassed,
        about + " is " + std::string{to_string(place)} +
            (place == DstClass::kHost ? "" : "; " + describe_route(query_.facts.dial)));
    return true;
  }
  [[nodiscard]] bool other_tenant() const {
    return query_.facts.dial.guest == GuestRelation::kOtherTenant ||
           (query_.remote.embedded && query_.facts.embedded.guest == GuestRelation::kOtherTenant);
  }
  [[nodiscard]] std::string blocked() const {
    const AddressFacts& dial = query_.facts.dial;
    if (!egress()) return describe_route(dial) + "; no way back to the peer";
    const bool outer = dial.fib != FibType::kUnicast || !dial.oif_is_uplink;
    return (outer || !query_.remote.embedded
                ? describe_route(dial)
                : "for the carried address: " + describe_route(query_.facts.embedded)) +
           "; only unicast routes by an uplink lead out";
  }

  // Of egress: what opens only by its own word in the operator's file.
  bool tell_guarded() {
    if (!egress() || !is_guarded(query_.dst_class)) return true;
    const std::string word{to_string(query_.dst_class)};
    if (policy_.files().empty()) {
      add("guarded", kDenies, word + " opens by its own word only, and there is no file");
      return false;
    }
    const Ruleset& site = policy_.files().front();
    const bool denied = out_.decision.layer <= 0 && !out_.decision.allow &&
                        (because(Reason::kExpired) || because(Reason::kHostAddress) ||
                         because(Reason::kMetadata) || because(Reason::kTenantIsolation));
    if (denied) {
      if (!because(Reason::kExpired)) tell_rules(site, out_.decision.rules[0]);
      out_.steps.push_back({"guarded", kDenies, site.name, site.path,
                            because(Reason::kExpired)
                                ? "the operator's file expired at " + policy::to_string(site.expires)
                                : word + " opens by its own word in the operator's file only"});
      return false;
    }
    if (because(Reason::kRouteBlocked)) {
      add("guarded", kPassed, "the operator's file opens " + word);
      add("floor", kDenies, blocked());
      return false;
    }
    add("guarded", kPassed, "the operator's file opens " + word);
    return true;
  }

  void tell_files() {
    if (policy_.files().empty()) add("file", kDenies, "there is no file, and without one nothing is allowed");
    for (std::size_t i = 0; i < policy_.files().size(); ++i) {
      if (!out_.decision.allow && static_cast<std::int16_t>(i) > out_.decision.layer) break;
      tell_file(policy_.files()[i], out_.decision.rules[i]);
    }
    if (out_.decision.allow) tell_limits();
  }

  void tell_file(const Ruleset& file, std::int16_t rule) {
    const bool expired = has_ended(file.expires, query_.facts.now);
    if (!expired) tell_rules(file, rule);
    const bool allowed = !expired && allows(file, query_, rule);
    ExplainStep step{"file", kAllows, file.name, file.path, {}};
    if (!allowed) step.outcome = file.mode == Mode::kAudit ? kWouldDeny : kDenies;
    if (expired)
      step.text = "expired at " + policy::to_string(file.expires) + " and denies everything since";
    else if (rule == Decision::kNoRule)
      step.text = "no rule matches";
    else
      step.text = (allowed ? "allowed by " : "denied by ") + quoted(rule_of(file, rule));
    if (!allowed && file.mode == Mode::kAudit) step.text += "; it is in audit mode and only notes that";
    out_.steps.push_back(std::move(step));
  }
  static std::string quoted(const Rule& rule) { return "\"" + rule.name + "\""; }

  // The rules in their order, up to the one that decides.
  void tell_rules(const Ruleset& file, std::int16_t deciding) {
    const auto& rules = file.rules(query_.direction);
    const std::size_t end = deciding == Decision::kNoRule ? rules.size() : static_cast<std::size_t>(deciding);
    std::size_t elsewhere = 0;
    std::size_t near = 0;
    std::size_t unlisted = 0;
    for (std::size_t i = 0; i < end; ++i) {
      const auto why = answer(rules[i], query_);
      if (why == RuleAnswer::kOtherPlace)
        ++elsewhere;
      else if (++near > kMaxNearMisses)
        ++unlisted;
      else
        add_rule(file, rules[i], kNoMatch, why);
    }
    if (elsewhere + unlisted != 0) {
      std::string text = count(elsewhere) + " for other " + (egress() ? "destinations" : "sources");
      if (unlisted != 0) text += ", " + std::to_string(unlisted) + " more that do not match";
      out_.steps.push_back({"rule", kNoMatch, {}, file.path, std::move(text)});
    }
    if (deciding != Decision::kNoRule) {
      const Rule& rule = rules[end];
      add_rule(file, rule, rule.action == Action::kAllow ? kAllows : kDenies, RuleAnswer::kMatches);
    }
  }
  static std::string count(std::size_t rules) {
    return std::to_string(rules) + (rules == 1 ? " rule is" : " rules are");
  }

  void add_rule(const Ruleset& file, const Rule& rule, ExplainStep::Outcome outcome, RuleAnswer why) {
    out_.steps.push_back({"rule", outcome, rule.name, place_of(file, rule), text_of(rule, why)});
  }
  [[nodiscard]] std::string text_of(const Rule& rule, RuleAnswer why) const {
    const std::string verb = rule.action == Action::kAllow ? "allows " : "denies ";
    const std::string what = verb + naming(rule.to, query_);
    switch (why) {
      case RuleAnswer::kMatches: return what + " on " + flow_port(query_);
      case RuleAnswer::kOtherPlace: return verb + "other places";
      case RuleAnswer::kGuarded:
        return what + ", but no address opens " + std::string{to_string(query_.dst_class)};
      case RuleAnswer::kDnsPort:
        return what + ", which leaves out ports 53 and 853; name resolvers by address";
      case RuleAnswer::kOtherPort: return what + ", but not on " + flow_port(query_);
      case RuleAnswer::kExcepted: return what + ", except " + naming(rule.except, query_);
      case RuleAnswer::kEnded: return what + ", but only until " + policy::to_string(rule.until);
    }
    return what;
  }

  void tell_limits() {
    const auto tell = [&](const Ruleset& file, const Limits& limits, const std::string& whose) {
      if (limits.empty() || file.mode == Mode::kAudit) return;
      out_.steps.push_back(
          {"limits", kPassed, whose, file.path + ":" + std::to_string(limits.at.line), to_string(limits)});
    };
    for (std::size_t i = 0; i < policy_.files().size(); ++i) {
      const Ruleset& file = policy_.files()[i];
      tell(file, file.limits, file.name);
      if (const auto rule = out_.decision.rules[i]; rule != Decision::kNoRule)
        tell(file, rule_of(file, rule).limits, rule_of(file, rule).name);
    }
  }

  const PolicySet& policy_;
  Explanation out_;
  Query query_;
};

}  // namespace

Explanation explain(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts,
                    Direction direction) {
  return Walk{policy, tuple, facts, direction}.take();
}

std::string_view to_string(ExplainStep::Outcome outcome) {
  switch (outcome) {
    case kPassed: return "passed";
    case kNoMatch: return "no-match";
    case kAllows: return "allows";
    case kDenies: return "denies";
    case kWouldDeny: return "would-deny";
  }
  return "passed";
}

}  // namespace cordon::policy
