#include "policy/ruleset.h"

#include <algorithm>

#include "core/base/check.h"
#include "policy/digest.h"
#include "policy/print.h"
#include "policy/rule_index.h"

namespace cordon::policy {

PolicySet::PolicySet(std::vector<Ruleset> files, std::uint64_t generation, Indexing indexing)
    : files_(std::move(files)), generation_(generation) {
  CORDON_CHECK(files_.size() <= kMaxFiles);
  drops_ = std::ranges::any_of(files_, &Ruleset::drop);
  for (std::size_t i = 0; i < files_.size() && indexing != Indexing::kNone; ++i)
    for (const Direction direction : {Direction::kEgress, Direction::kIngress})
      if (const auto& rules = files_[i].rules(direction);
          indexing == Indexing::kAll || RuleIndex::pays(rules))
        indexes_[2 * i + static_cast<std::size_t>(direction)] = RuleIndex::build(rules, direction);
  if (generation_ == 0) return;
  std::string canonical;
  for (const auto& file : files_) canonical += print(file) + "---\n";
  hash_ = "sha256:" + sha256_hex(canonical);
}

}  // namespace cordon::policy
