// One binary, several roles (docs/adr/0001). The first process is the launcher; it executes itself again as
// `cordon --role=broker ARGUMENTS` and `cordon --role=translator ARGUMENTS`, and each parses the same
// arguments.
#include <cstdio>
#include <string>
#include <vector>

#include "app/broker_process.h"
#include "app/options.h"
#include "app/roles.h"
#include "app/run.h"

namespace {

using namespace cordon;

int usage_error(std::string_view message) {
  std::fprintf(stderr, "cordon: %.*s\n", static_cast<int>(message.size()), message.data());
  return 2;
}

int play_role(std::string_view role, const app::RunOptions& options) {
  if (role == "broker") return app::run_broker(options);
  if (role == "translator") return sandbox::run_translator(app::translator_config(options));
  return usage_error("--role is for cordon's own processes");
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  constexpr std::string_view kRole = "--role=";
  std::string role;
  if (!arguments.empty() && arguments.front().starts_with(kRole)) {
    role = arguments.front().substr(kRole.size());
    arguments.erase(arguments.begin());
  }
  const auto invocation = app::parse(arguments);
  if (!invocation) return usage_error(invocation.error().message);
  if (const auto* options = std::get_if<app::RunOptions>(&*invocation))
    return role.empty() ? app::run(*options, arguments) : play_role(role, *options);
  if (!role.empty()) return usage_error("--role is for cordon's own processes");
  if (const auto* check = std::get_if<app::PolicyCheckOptions>(&*invocation))
    return app::check_policy(*check);
  if (const auto* show = std::get_if<app::ShowText>(&*invocation)) std::fputs(show->text.c_str(), stdout);
  return 0;
}

#ifdef CORDON_SANITIZED
// A report must get out of a process that may not open, ask for a terminal or start another process.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "color=never:symbolize=0:detect_leaks=0"; }
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() { return "color=never:symbolize=0:print_stacktrace=1"; }
#endif
