// What one rule says in vain, seen by itself.
#include <algorithm>
#include <array>

#include "policy/lint.h"

namespace cordon::policy {
namespace {

// Ports an allow by `internet` leaves out (match.cc), and where the forwarder answers.
constexpr std::array<std::uint16_t, 2> kResolverPorts{53, 853};
constexpr net::Port kDnsPort{53};

constexpr std::array kAllWords{Word::kInternet, Word::kPrivate,  Word::kOnlink, Word::kHost,
                               Word::kGuests,   Word::kMetadata, Word::kDns};

WordSet only(Word word) {
  WordSet set;
  set.add(word);
  return set;
}

bool share_a_word(WordSet a, WordSet b) {
  return std::ranges::any_of(kAllWords, [&](Word word) { return a.contains(word) && b.contains(word); });
}

bool overlap(const net::Prefix& a, const net::Prefix& b) { return a.contains(b) || b.contains(a); }

bool inside_any(const net::Prefix& inner, std::span<const net::Prefix> outers) {
  return std::ranges::any_of(outers, [&](const net::Prefix& outer) { return outer.contains(inner); });
}

bool is_resolver_port(const PortRange& range) {
  return range.protocol != flow::Protocol::kIcmpEcho && range.first == range.last &&
         std::ranges::find(kResolverPorts, range.first) != kResolverPorts.end();
}

bool serves_dns(const PortRange& range) {
  return range.contains(flow::Protocol::kUdp, kDnsPort) || range.contains(flow::Protocol::kTcp, kDnsPort);
}

}  // namespace

std::string why_never(const Rule& rule, Direction direction) {
  const bool by_word_alone = rule.to.prefixes.empty();
  if (!rule.except.empty() && rule.except.words.contains(rule.to.words) &&
      std::ranges::all_of(rule.to.prefixes,
                          [&](const net::Prefix& p) { return inside_any(p, rule.except.prefixes); }))
    return "\"except\" takes away all that it names";
  if (direction == Direction::kIngress || !by_word_alone) return {};
  if (rule.to.words == only(Word::kDns) && std::ranges::none_of(rule.ports, serves_dns))
    return "`dns` answers at udp/53 and tcp/53, which are not among its ports";
  if (rule.to.words == only(Word::kInternet) && rule.action == Action::kAllow &&
      std::ranges::all_of(rule.ports, is_resolver_port))
    return "`internet` leaves ports 53 and 853 out; write `dns` for the built-in forwarder, or the addresses "
           "of a resolver";
  return {};
}

bool has_no_effect(const Rule& rule, const net::Prefix& excepted) {
  WordSet places = rule.to.words;  // of which each may hold any address, but for the forwarder
  if (!places.empty() && places != only(Word::kDns)) return false;
  return std::ranges::none_of(rule.to.prefixes, [&](const net::Prefix& p) { return overlap(p, excepted); });
}

bool has_no_effect(const Rule& rule, WordSet excepted) {
  if (share_a_word(rule.to.words, excepted)) return false;
  return rule.to.prefixes.empty() || excepted == only(Word::kDns);
}

}  // namespace cordon::policy
