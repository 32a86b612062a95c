// `cordon ctl`: asks a running instance and prints the answer. Exit status: 0; 1 when what was asked was
// refused or did nothing; 2 when nobody answers.
#pragma once

#include "app/options.h"

namespace cordon::app {

[[nodiscard]] int run_ctl(const CtlOptions& options);

}  // namespace cordon::app
