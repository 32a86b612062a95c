#include "policy/rule_index.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace cordon::policy {
namespace {

// Below this many rules and addresses the plain evaluator needs about as long.
constexpr std::size_t kShortList = 64;

}  // namespace

RuleIndex::Key RuleIndex::key_of(const net::IpAddress& address) {
  Key key;
  const auto bytes = address.bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint64_t& half = i < 8 ? key.high : key.low;
    half |= std::uint64_t{bytes[i]} << (56U - 8U * (i % 8U));
  }
  return key;
}

bool RuleIndex::contains(const Key& prefix, unsigned length, const Key& address) {
  const auto differ = [](std::uint64_t a, std::uint64_t b, unsigned bits) {
    return bits != 0 && ((a ^ b) >> (64U - bits)) != 0;
  };
  return !differ(prefix.high, address.high, std::min(length, 64U)) &&
         (length <= 64 || !differ(prefix.low, address.low, length - 64U));
}

// For echo all ports are one.
std::uint32_t RuleIndex::port_key(flow::Protocol protocol, std::uint16_t port) {
  switch (protocol) {
    case flow::Protocol::kTcp: return port;
    case flow::Protocol::kUdp: return 0x10000U + port;
    case flow::Protocol::kIcmpEcho: break;
  }
  return 0x20000U;
}

bool RuleIndex::pays(std::span<const Rule> rules) {
  std::size_t work = 0;
  for (const Rule& rule : rules) work += 1 + rule.to.prefixes.size() / 2;
  return work > kShortList;
}

// One question. The lowest rule found so far bounds what is still worth asking.
class RuleIndex::Search {
 public:
  Search(const RuleIndex& index, std::span<const Rule> rules, const Query& query, Visits* visits)
      : index_(index),
        rules_(rules),
        query_(query),
        visits_(visits),
        port_(port_key(query.tuple.protocol, service_port(query).number())),
        best_(rules.size()) {}

  [[nodiscard]] std::int16_t result() const {
    return best_ == rules_.size() ? Decision::kNoRule : static_cast<std::int16_t>(best_);
  }

  void look_up(const std::array<Table, 2>& tables, const net::IpAddress& address) {
    const Table& table = tables[address.is_v4() ? 0 : 1];
    const Key key = key_of(address);
    const auto after = std::ranges::upper_bound(table.keys, key);
    if (after == table.keys.begin()) return;
    auto at = static_cast<std::uint32_t>(after - table.keys.begin() - 1);
    // The first one on the way up that contains the address; so do all above it.
    while (at != kNoNode && !contains(table.keys[at], table.nodes[at].length, key))
      at = table.nodes[at].parent;
    for (; at != kNoNode; at = table.nodes[at].parent) ask(table.nodes[at].slots);
  }

  void ask(const Slots& slots) {
    if (visits_ != nullptr) ++visits_->nodes;
    const auto begin = index_.slots_.begin() + slots.begin;
    const auto end = index_.slots_.begin() + slots.end;
    const auto slot = std::partition_point(begin, end, [&](const Slot& s) { return s.last < port_; });
    if (slot == end || port_ < slot->first) return;
    std::size_t next = 0;  // the rule after the last one asked
    for (std::size_t i = 0; i < slot->count; ++i) {
      const std::uint16_t candidate = index_.candidates_[slot->list + i];
      const std::size_t rule = candidate & ~std::size_t{kUnconditional};
      if (rule >= best_) return;
      if ((candidate & kUnconditional) != 0 || matches(rule)) {
        best_ = rule;
        return;
      }
      next = rule + 1;
    }
    if (!slot->goes_on) return;
    while (next < best_ && !matches(next)) ++next;
    best_ = std::min(best_, next);
  }

 private:
  bool matches(std::size_t rule) {
    if (visits_ != nullptr) ++visits_->asked;
    return policy::matches(rules_[rule], query_);
  }

  const RuleIndex& index_;
  std::span<const Rule> rules_;
  const Query& query_;
  Visits* visits_;
  std::uint32_t port_;
  std::size_t best_;
};

std::int16_t RuleIndex::first_match(std::span<const Rule> rules, const Query& query, Visits* visits) const {
  Search search{*this, rules, query, visits};
  if (const auto word = word_of(query.dst_class))
    search.ask(words_[static_cast<std::size_t>(std::countr_zero(static_cast<std::uint8_t>(*word)))]);
  if (query.dst_class == DstClass::kDns) return search.result();
  search.look_up(is_guarded(query.dst_class) ? denies_ : all_, query.remote.effective());
  if (query.remote.embedded) search.look_up(denies_, query.remote.dial);
  return search.result();
}

std::size_t RuleIndex::bytes() const {
  std::size_t sum = sizeof(*this) + slots_.capacity() * sizeof(Slot) + candidates_.capacity() * 2;
  for (const auto* tables : {&all_, &denies_})
    for (const Table& table : *tables)
      sum += table.keys.capacity() * sizeof(Key) + table.nodes.capacity() * sizeof(Node);
  return sum;
}

}  // namespace cordon::policy
