#include "policy/ruleset.h"

#include <algorithm>

#include "core/base/check.h"
#include "policy/digest.h"
#include "policy/print.h"

namespace cordon::policy {

PolicySet::PolicySet(std::vector<Ruleset> files, std::uint64_t generation)
    : files_(std::move(files)), generation_(generation) {
  CORDON_CHECK(files_.size() <= kMaxFiles);
  drops_ = std::ranges::any_of(files_, &Ruleset::drop);
  std::string canonical;
  for (const auto& file : files_) canonical += print(file) + "---\n";
  hash_ = "sha256:" + sha256_hex(canonical);
}

}  // namespace cordon::policy
