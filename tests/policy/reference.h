// A second evaluator, the reference page sentence by sentence: no table, no index, no bit set, nothing shared
// with decide() but the reading of an embedded address.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "policy/decide.h"
#include "policy/destination.h"

namespace cordon::policy::testing {

struct Question {
  flow::Tuple tuple;
  HostFacts facts;
  Direction direction = Direction::kEgress;
};

inline Decision decide(const PolicySet& policy, const Question& q) {
  return q.direction == Direction::kEgress ? policy::decide(policy, q.tuple, q.facts)
                                           : decide_ingress(policy, q.tuple, q.facts);
}

class Reference {
 public:
  Reference(const PolicySet& policy, const Question& question) : policy_(policy), q_(question) {
    const auto d = normalise(q_.tuple.remote.address);
    outer_ = d.dial;
    unreadable_ = d.unreadable_embedding;
    if (d.embedded) inner_ = net::IpAddress{*d.embedded};
  }

  Reason reason() { return q_.direction == Direction::kEgress ? egress() : ingress(); }
  // After reason(): the file that said no, and its rule; -1.
  int layer = -1;
  int rule = -1;

 private:
  using Prefixes = std::vector<net::Prefix>;

  Reason egress() {
    if (!q_.facts.source_assigned) return Reason::kSourceSpoof;
    if (q_.facts.dns_forwarder) place_ = "dns";
    if (place_ != "dns") {
      if (unreadable_) return Reason::kEmbeddedIpv4;
      if (q_.facts.sandbox_address || in_floor(about()) || group()) return Reason::kSpecialAddress;
      const bool host = ours(q_.facts.dial) || (inner_ && ours(q_.facts.embedded));
      if (any_guest(GuestRelation::kOtherTenant)) return Reason::kTenantIsolation;
      place_ = host ? "host" : any_guest(GuestRelation::kSameTenant) ? "guests" : address_place();
      if (!host && blocked()) return Reason::kRouteBlocked;
      if (guarded()) {
        if (!policy_.files().empty() && over(policy_.files()[0].expires)) return Reason::kExpired;
        const auto* opens = policy_.files().empty() ? nullptr : first(policy_.files()[0]);
        if (opens == nullptr || opens->action == Action::kDeny)
          return place_ == "host"       ? Reason::kHostAddress
                 : place_ == "metadata" ? Reason::kMetadata
                                        : Reason::kTenantIsolation;
        if (blocked()) return Reason::kRouteBlocked;
      }
    }
    return files();
  }

  Reason ingress() {
    if (!q_.facts.source_assigned) return Reason::kSpecialAddress;
    if (unreadable_) return Reason::kEmbeddedIpv4;
    static const Prefixes kLoopback = parsed({"127.0.0.0/8", "::1"});
    static const Prefixes kLinkLocal = parsed({"169.254.0.0/16", "fe80::/10"});
    const bool neighbour = !inner_ && within(outer_, kLinkLocal);
    if (!inner_ && (within(outer_, kLoopback) || ours(q_.facts.dial))) {
      place_ = "host";
    } else {
      if (inner_ && (ours(q_.facts.dial) || ours(q_.facts.embedded))) return Reason::kSpecialAddress;
      if (metadata()) return Reason::kMetadata;
      if (!neighbour && (in_floor(about()) || group())) return Reason::kSpecialAddress;
      if (!neighbour && (any_guest(GuestRelation::kOtherTenant) || any_guest(GuestRelation::kSameTenant)))
        return Reason::kTenantIsolation;
      place_ = neighbour ? "onlink" : address_place();
      if (q_.facts.dial.fib != FibType::kUnicast && !within(outer_, kLinkLocal)) return Reason::kRouteBlocked;
    }
    return files();
  }

  Reason files() {
    for (std::size_t i = 0; i < policy_.files().size(); ++i) {
      const Ruleset& file = policy_.files()[i];
      const Rule* found = over(file.expires) ? nullptr : first(file);
      if (file.mode == Mode::kAudit || (found != nullptr && found->action == Action::kAllow)) continue;
      layer = static_cast<int>(i);
      if (over(file.expires)) return Reason::kExpired;
      if (found == nullptr) return Reason::kNoRule;
      rule = static_cast<int>(found - file.rules(q_.direction).data());
      return Reason::kRuleDeny;
    }
    return policy_.files().empty() ? Reason::kNoRule : Reason::kNone;
  }

  static Prefixes parsed(std::initializer_list<std::string_view> texts) {
    Prefixes out;
    for (const auto text : texts) out.push_back(*net::parse_prefix(text));
    return out;
  }
  [[nodiscard]] static bool within(const net::IpAddress& address, const Prefixes& prefixes) {
    for (const auto& prefix : prefixes)
      if (prefix.family() == address.family() && net::Prefix::containing(address, prefix.length()) == prefix)
        return true;
    return false;
  }

  [[nodiscard]] net::IpAddress about() const { return inner_.value_or(outer_); }
  [[nodiscard]] bool metadata() const {
    static const Prefixes kMetadata = parsed({"169.254.169.254", "168.63.129.16", "fd00:ec2::254"});
    return within(about(), kMetadata);
  }
  [[nodiscard]] bool in_floor(const net::IpAddress& address) const {
    static const Prefixes kFloor =
        parsed({"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4",
                "::/127", "100::/64", "5f00::/16", "fe80::/10", "ff00::/8"});
    return !metadata() && within(address, kFloor);
  }
  [[nodiscard]] static bool ours(const AddressFacts& facts) {
    return facts.is_host || facts.fib == FibType::kLocal;
  }
  [[nodiscard]] bool group() const {
    for (const auto fib : {FibType::kBroadcast, FibType::kAnycast, FibType::kMulticast})
      if (q_.facts.dial.fib == fib || (inner_ && q_.facts.embedded.fib == fib)) return true;
    return false;
  }
  [[nodiscard]] bool any_guest(GuestRelation relation) const {
    return q_.facts.dial.guest == relation || (inner_ && q_.facts.embedded.guest == relation);
  }
  [[nodiscard]] bool guarded() const {
    return place_ == "host" || place_ == "guests" || place_ == "metadata";
  }
  [[nodiscard]] bool blocked() const {
    const auto fine = [&](const AddressFacts& f) {
      return (f.fib == FibType::kUnicast && f.oif_is_uplink) ||
             (place_ == "host" && f.fib == FibType::kLocal);
    };
    if (!fine(q_.facts.dial)) return true;
    return inner_ && q_.facts.embedded.fib == FibType::kUnicast && !q_.facts.embedded.oif_is_uplink;
  }
  [[nodiscard]] std::string_view address_place() const {
    static const Prefixes kDocumentation = parsed({"192.0.2.0/24", "198.18.0.0/15", "2001:db8::/32"});
    static const Prefixes kPrivate = parsed({"10.0.0.0/8", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"});
    if (metadata()) return "metadata";
    if (within(about(), kDocumentation)) return "documentation";
    const auto near = [](const AddressFacts& f) { return f.fib == FibType::kUnicast && !f.has_gateway; };
    if (near(q_.facts.dial) || (inner_ && near(q_.facts.embedded))) return "onlink";
    return within(about(), kPrivate) ? "private" : "internet";
  }
  [[nodiscard]] bool named(WordSet words) const {
    return (place_ == "internet" && words.contains(Word::kInternet)) ||
           (place_ == "private" && words.contains(Word::kPrivate)) ||
           (place_ == "onlink" && words.contains(Word::kOnlink)) ||
           (place_ == "host" && words.contains(Word::kHost)) ||
           (place_ == "guests" && words.contains(Word::kGuests)) ||
           (place_ == "metadata" && words.contains(Word::kMetadata)) ||
           (place_ == "dns" && words.contains(Word::kDns));
  }

  // `until` and `expires` are the first moment that is too late.
  [[nodiscard]] bool over(WallTime end) const { return end != WallTime::max() && q_.facts.now >= end; }
  [[nodiscard]] const Rule* first(const Ruleset& file) const {
    for (const auto& one : file.rules(q_.direction))
      if (hits(one)) return &one;
    return nullptr;
  }
  [[nodiscard]] bool hits(const Rule& one) const {
    if (over(one.until)) return false;
    const bool out = q_.direction == Direction::kEgress;
    const auto number = (out ? q_.tuple.remote.port : q_.tuple.guest.port).number();
    const bool echo = q_.tuple.protocol == flow::Protocol::kIcmpEcho;
    bool port = false;
    for (const auto& range : one.ports)
      port = port || (range.protocol == q_.tuple.protocol &&
                      (echo || (range.first <= number && number <= range.last)));
    if (!port) return false;
    const bool allow = one.action == Action::kAllow;
    const bool resolver = out && !echo && place_ == "internet" && (number == 53 || number == 853);
    bool to = named(one.to.words) && !(allow && resolver);
    bool except = named(one.except.words) && (allow || !resolver);
    if (place_ != "dns") {
      if (!(allow && guarded()))
        to = to || within(about(), one.to.prefixes) || (!allow && within(outer_, one.to.prefixes));
      except =
          except || within(about(), one.except.prefixes) || (allow && within(outer_, one.except.prefixes));
    }
    return to && !except;
  }

  const PolicySet& policy_;
  const Question& q_;
  net::IpAddress outer_;
  std::optional<net::IpAddress> inner_;
  bool unreadable_ = false;
  std::string_view place_;
};

}  // namespace cordon::policy::testing
