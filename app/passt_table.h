// The names of passt's and pasta's options. Both programs know all of them and refuse those of the other, so
// that what is an unambiguous beginning for one of them is so here.
#pragma once

#include <span>

#include "app/long_options.h"

namespace cordon::app {

[[nodiscard]] std::span<const LongOption> passt_options();

}  // namespace cordon::app
