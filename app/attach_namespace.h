// What the child of `cordon attach` does to itself, in this order. Each error says what is missing and what
// to do about it.
#pragma once

#include "app/options.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

struct TargetNamespaces {
  base::Fd network;
  base::Fd user;  // invalid: our own, nothing to join
};

[[nodiscard]] base::Result<TargetNamespaces> open_target(const AttachTarget& target);
// Joins the user namespace and makes a scratch network namespace in it, which lives as long as a tap that is
// opened there.
[[nodiscard]] base::Result<void> enter_scratch(const TargetNamespaces& namespaces,
                                               const AttachTarget& target);
// Moves the interface from the scratch namespace to the target's and follows it there.
[[nodiscard]] base::Result<void> follow_interface(const TargetNamespaces& namespaces, const GuestPlan& plan);

}  // namespace cordon::app
