// First match over long rule lists without asking every rule.
//
// Every rule is cut into atoms: one place (a word or a prefix) and one range of ports. Atoms with the same
// place share a node; a node holds, for each stretch of ports between two boundaries, the rules that name it,
// in order. Prefixes are nested or apart, never crossed, so all that contain an address lie on one path
// from the longest of them up through their parents: a decision is one binary search, then one look into each
// node of the path and into the node of the destination's word. The lowest rule found decides.
//
// A list ends with its first unconditional rule, one that matches whatever else the flow is: no `except`, no
// `until`. The rules before it are asked by the plain evaluator (match.h), which stays the reference. Lists
// are short; where one would be longer, the plain evaluator goes on from its last rule, so the memory is
// linear in the number of atoms, and that number is bounded.
//
// Where an allow may not see an address (guarded places, the outer form of a wrapped one) a second table that
// holds only the denies is asked.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "policy/match.h"
#include "policy/prefix_nest.h"

namespace cordon::policy {

class RuleIndex {
 public:
  // What tests and the bench look at.
  struct Visits {
    std::size_t nodes = 0;
    std::size_t asked = 0;  // rules given to the plain evaluator
  };
  static constexpr std::size_t kMaxAtoms = 32768;

  // False for a list that is read through faster than looked up.
  [[nodiscard]] static bool pays(std::span<const Rule> rules);
  // Null when it would take more than kMaxAtoms.
  [[nodiscard]] static std::unique_ptr<const RuleIndex> build(std::span<const Rule> rules,
                                                              Direction direction);

  // `rules` as given to build(). Index of the first that matches; Decision::kNoRule.
  [[nodiscard]] std::int16_t first_match(std::span<const Rule> rules, const Query& query,
                                         Visits* visits = nullptr) const;
  [[nodiscard]] std::size_t bytes() const;
  // The ports of all protocols, one behind the other.
  [[nodiscard]] static std::uint32_t port_key(flow::Protocol protocol, std::uint16_t port);

 private:
  friend class RuleIndexBuilder;
  struct Slots {  // a range of slots_
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  // One stretch of port keys.
  struct Slot {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::uint32_t list = 0;  // into candidates_
    std::uint16_t count = 0;
    bool goes_on = false;  // further rules may match: ask them one by one
  };
  struct Table {
    PrefixNest prefixes;
    std::vector<Slots> slots;  // by the prefix's number
  };
  static constexpr std::uint16_t kUnconditional = 0x8000;  // beside a rule's number in candidates_
  class Search;

  Table all_;
  Table denies_;                // the atoms of deny rules once more
  std::array<Slots, 8> words_;  // by bit of Word
  std::vector<Slot> slots_;
  std::vector<std::uint16_t> candidates_;
};

}  // namespace cordon::policy
