// What each role is told, derived from the one command line that all of them parse.
#pragma once

#include "app/options.h"
#include "sandbox/translator_process.h"

namespace cordon::app {

[[nodiscard]] sandbox::TranslatorConfig translator_config(const RunOptions& options);

}  // namespace cordon::app
