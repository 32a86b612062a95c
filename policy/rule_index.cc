#include "policy/rule_index.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace cordon::policy {
namespace {

// Below this many rules and addresses the plain evaluator needs about as long.
constexpr std::size_t kShortList = 64;

}  // namespace

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

  void look_up(const Table& table, const net::IpAddress& address) {
    for (auto at = table.prefixes.longest(address); at != PrefixNest::kNone; at = table.prefixes.parent(at))
      ask(table.slots[at]);
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
  for (const Table* table : {&all_, &denies_})
    sum += table->prefixes.bytes() + table->slots.capacity() * sizeof(Slots);
  return sum;
}

}  // namespace cordon::policy
