#include <algorithm>
#include <bit>
#include <set>

#include "core/base/check.h"
#include "policy/rule_index.h"

namespace cordon::policy {
namespace {

// Rules that a list holds before it leaves the rest to the plain evaluator.
constexpr std::size_t kMaxCandidates = 8;
// A rule with more ranges of ports than this is filed under all ports of their protocols.
constexpr std::size_t kMaxRanges = 16;

struct Stretch {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
};

// Sorted, without overlap and without neighbours that touch.
std::vector<Stretch> merged(std::vector<Stretch> stretches) {
  std::ranges::sort(stretches, {}, &Stretch::first);
  std::vector<Stretch> out;
  for (const Stretch& s : stretches) {
    if (!out.empty() && s.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, s.last);
    else
      out.push_back(s);
  }
  return out;
}

std::vector<Stretch> without(const std::vector<Stretch>& stretches, std::uint32_t port) {
  std::vector<Stretch> out;
  for (const Stretch& s : stretches) {
    if (port < s.first || s.last < port) {
      out.push_back(s);
      continue;
    }
    if (s.first < port) out.push_back({s.first, port - 1});
    if (port < s.last) out.push_back({port + 1, s.last});
  }
  return out;
}

// An allow by `internet` leaves resolvers out.
std::vector<Stretch> without_resolvers(std::vector<Stretch> stretches) {
  for (const auto protocol : {flow::Protocol::kTcp, flow::Protocol::kUdp})
    for (const auto port : kResolverPorts)
      stretches = without(stretches, RuleIndex::port_key(protocol, port));
  return stretches;
}

}  // namespace

class RuleIndexBuilder {
 public:
  RuleIndexBuilder(std::span<const Rule> rules, Direction direction) : rules_(rules), direction_(direction) {}

  bool gather() {
    for (std::size_t i = 0; i < rules_.size(); ++i)
      if (!gather(i)) return false;
    return true;
  }

  std::unique_ptr<const RuleIndex> build() {
    auto out = std::make_unique<RuleIndex>();
    index_ = out.get();
    for (std::size_t w = 0; w < words_.size(); ++w) index_->words_[w] = slots_of(words_[w]);
    index_->all_ = table_of(all_);
    index_->denies_ = table_of(denies_);
    index_->slots_.shrink_to_fit();
    index_->candidates_.shrink_to_fit();
    return out;
  }

 private:
  struct Atom {
    PrefixNest::Number prefix = 0;  // into prefixes_, then into the table's; of words 0
    std::uint16_t candidate = 0;    // the rule, and kUnconditional
    Stretch ports;
  };

  // The rule's ports, as stretches of port keys; false when it may match on fewer.
  static bool ports_of(const Rule& rule, std::vector<Stretch>& out) {
    for (const PortRange& range : rule.ports)
      out.push_back({RuleIndex::port_key(range.protocol, range.first),
                     RuleIndex::port_key(range.protocol, range.last)});
    out = merged(std::move(out));
    if (out.size() <= kMaxRanges) return true;
    out.clear();
    for (const PortRange& range : rule.ports)
      out.push_back({RuleIndex::port_key(range.protocol, 0), RuleIndex::port_key(range.protocol, 65535)});
    out = merged(std::move(out));
    return false;
  }

  bool gather(std::size_t number) {
    const Rule& rule = rules_[number];
    const bool allow = rule.action == Action::kAllow;
    std::vector<Stretch> ports;
    const bool exact = ports_of(rule, ports);
    const bool unconditional = exact && rule.except.empty() && rule.until == WallTime::max();
    const auto candidate =
        static_cast<std::uint16_t>(number | (unconditional ? RuleIndex::kUnconditional : 0U));
    const auto add = [&](std::vector<Atom>& atoms, const std::vector<Stretch>& on) {
      for (const Stretch& s : on)
        atoms.push_back({static_cast<PrefixNest::Number>(prefixes_.size()), candidate, s});
      count_ += on.size();
    };
    auto prefixes = rule.to.prefixes;
    std::ranges::sort(prefixes);
    prefixes.erase(std::ranges::unique(prefixes).begin(), prefixes.end());
    for (const net::Prefix& prefix : prefixes) {
      add(all_, ports);
      if (!allow) add(denies_, ports);
      prefixes_.push_back(prefix);
      if (count_ > RuleIndex::kMaxAtoms) return false;
    }
    for (std::size_t w = 0; w < words_.size(); ++w) {
      const auto word = static_cast<Word>(1U << w);
      if (!rule.to.words.contains(word)) continue;
      const bool no_dns = word == Word::kInternet && allow && direction_ == Direction::kEgress;
      add(words_[w], no_dns ? without_resolvers(ports) : ports);
    }
    return count_ <= RuleIndex::kMaxAtoms;
  }

  RuleIndex::Table table_of(std::vector<Atom>& atoms) {
    std::vector<net::Prefix> used;
    for (const Atom& atom : atoms) used.push_back(prefixes_[atom.prefix]);
    RuleIndex::Table table{PrefixNest{std::move(used)}, {}};
    for (Atom& atom : atoms) atom.prefix = table.prefixes.longest(prefixes_[atom.prefix]);
    std::ranges::sort(atoms, {}, &Atom::prefix);
    table.slots.reserve(table.prefixes.size());
    for (auto begin = atoms.begin(); begin != atoms.end();) {
      const auto end =
          std::find_if(begin, atoms.end(), [&](const Atom& a) { return a.prefix != begin->prefix; });
      table.slots.push_back(slots_of({begin, end}));
      begin = end;
    }
    return table;
  }

  // The boundaries of all atoms in order; between two of them the same rules hold.
  RuleIndex::Slots slots_of(std::span<const Atom> atoms) {
    struct Boundary {
      std::uint32_t at;
      bool opens;
      std::uint16_t candidate;
    };
    RuleIndex::Slots out;
    out.begin = static_cast<std::uint32_t>(index_->slots_.size());
    std::vector<Boundary> boundaries;
    for (const Atom& atom : atoms) {
      boundaries.push_back({atom.ports.first, true, atom.candidate});
      boundaries.push_back({atom.ports.last + 1, false, atom.candidate});
    }
    std::ranges::sort(boundaries, {}, &Boundary::at);
    const auto by_rule = [](std::uint16_t a, std::uint16_t b) {
      return (a & ~RuleIndex::kUnconditional) < (b & ~RuleIndex::kUnconditional);
    };
    std::set<std::uint16_t, decltype(by_rule)> open;
    for (std::size_t i = 0; i < boundaries.size();) {
      const std::uint32_t at = boundaries[i].at;
      for (; i < boundaries.size() && boundaries[i].at == at; ++i) {
        if (boundaries[i].opens)
          open.insert(boundaries[i].candidate);
        else
          open.erase(boundaries[i].candidate);
      }
      if (!open.empty()) add_slot({at, boundaries[i].at - 1}, open);
    }
    out.end = static_cast<std::uint32_t>(index_->slots_.size());
    return out;
  }

  template <class Open>
  void add_slot(Stretch ports, const Open& open) {
    auto& candidates = index_->candidates_;
    RuleIndex::Slot slot{
        .first = ports.first, .last = ports.last, .list = static_cast<std::uint32_t>(candidates.size())};
    for (const std::uint16_t candidate : open) {
      if (slot.count == kMaxCandidates) {
        slot.goes_on = true;
        break;
      }
      candidates.push_back(candidate);
      ++slot.count;
      if ((candidate & RuleIndex::kUnconditional) != 0) break;
    }
    index_->slots_.push_back(slot);
  }

  std::span<const Rule> rules_;
  Direction direction_;
  RuleIndex* index_ = nullptr;
  std::size_t count_ = 0;
  std::vector<net::Prefix> prefixes_;  // of all rules
  std::vector<Atom> all_;
  std::vector<Atom> denies_;
  std::array<std::vector<Atom>, 8> words_;
};

std::unique_ptr<const RuleIndex> RuleIndex::build(std::span<const Rule> rules, Direction direction) {
  CORDON_CHECK(rules.size() < kUnconditional);
  RuleIndexBuilder builder{rules, direction};
  return builder.gather() ? builder.build() : nullptr;
}

}  // namespace cordon::policy
