// One binary, several roles. The first process is the launcher; it executes itself again as
// `cordon --role=broker ARGUMENTS` and `cordon --role=translator ARGUMENTS`.
#include <cstdio>
#include <string>
#include <vector>

#include "app/options.h"

namespace {

int usage_error(const cordon::app::UsageError& error) {
  std::fprintf(stderr, "cordon: %s\n", error.message.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace cordon;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto invocation = app::parse(arguments);
  if (!invocation) return usage_error(invocation.error());
  if (const auto* show = std::get_if<app::ShowText>(&*invocation)) {
    std::fputs(show->text.c_str(), stdout);
    return 0;
  }
  return 0;
}
