// Lines for whoever reads stderr, by processes on which the guest's network hangs: they must not wait for a
// terminal that was stopped (the guest may share it) or a pipe that nobody reads.
#pragma once

#include <string_view>

namespace cordon::base {

// What stderr does not take now is dropped.
void tell(std::string_view text);

}  // namespace cordon::base
