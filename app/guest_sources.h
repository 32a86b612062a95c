// The broker's own answer to "was the guest given this source address": the translator's word is not taken.
#pragma once

#include <optional>
#include <vector>

#include "app/options.h"
#include "core/lan/slaac_table.h"
#include "core/net/prefix.h"

namespace cordon::app {

class GuestSources {
 public:
  explicit GuestSources(const GuestPlan& plan);

  // The plan's addresses; where SLAAC is offered also those the guest made in its /64, as long as there are
  // few (core/lan/slaac_table.h). Never an address of our side.
  [[nodiscard]] bool admit(const net::IpAddress& source, base::Instant now);

 private:
  std::vector<FamilyPlan> families_;
  std::optional<net::Prefix> self_made_prefix_;
  lan::SlaacTable self_made_;
};

}  // namespace cordon::app
