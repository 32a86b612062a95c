// One binary, several roles (docs/adr/0001). The first process is the launcher; it executes itself again as
// `cordon --role=broker ARGUMENTS` and `cordon --role=translator ARGUMENTS`, and each parses the same
// arguments.
#include <cstdio>
#include <string>
#include <vector>

#include "app/broker_process.h"
#include "app/control_client.h"
#include "app/host_addressing.h"
#include "app/options.h"
#include "app/passt.h"
#include "app/policy_loader.h"
#include "app/policy_tools.h"
#include "app/roles.h"
#include "app/run.h"
#include "sandbox/launcher.h"
#include "sandbox/stages.h"

namespace {

using namespace cordon;

int usage_error(std::string_view message) {
  std::fprintf(stderr, "cordon: %.*s\n", static_cast<int>(message.size()), message.data());
  return 2;
}

int play_role(std::string_view role, const app::RunOptions& options, bool awaits_policy) {
  if (role == "broker") return app::run_broker(options, awaits_policy);
  if (role == "translator") return sandbox::run_translator(app::translator_config(options));
  return usage_error("--role is for cordon's own processes");
}

// What needs no other process.
struct Tool {
  int operator()(const app::RunOptions& /*started elsewhere*/) const { return 0; }
  int operator()(const app::PolicyCheckOptions& options) const { return app::check_policy(options); }
  int operator()(const app::PolicyShowOptions& options) const { return app::show_policy(options); }
  int operator()(const app::PolicyExplainOptions& options) const { return app::explain_flow(options); }
  int operator()(const app::PolicySnapshotOptions& /*none*/) const { return app::print_snapshot(); }
  int operator()(const app::CtlOptions& options) const { return app::run_ctl(options); }
  int operator()(const app::ShowText& show) const {
    std::fputs(show.text.c_str(), stdout);
    return 0;
  }
};

// Replaces --host-addressing by what it stands for, for every role.
int take_host_addresses(std::vector<std::string>& arguments,
                        std::expected<app::Invocation, app::UsageError>& invocation) {
  const auto host = app::find_host_addresses();
  if (!host) {
    std::fprintf(stderr, "cordon: --host-addressing: %s\n", base::describe(host.error()).c_str());
    return 125;
  }
  auto explicit_arguments = app::with_host_addresses(arguments, *host);
  if (!explicit_arguments) return usage_error(explicit_arguments.error().message);
  arguments = std::move(*explicit_arguments);
  invocation = app::parse(arguments);
  return invocation ? 0 : usage_error(invocation.error().message);
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
  // The name decides, unless it is one of our own processes.
  if (role.empty() && argc > 0 && app::is_started_as_passt(argv[0], arguments))
    return app::run_passt(arguments);
  if (role.empty() && !arguments.empty() && arguments.front() == "passt")
    return app::run_passt({arguments.begin() + 1, arguments.end()});
  // These two read no options: their words are the launcher's.
  if (role == sandbox::to_string(sandbox::Role::kPolicyLoader)) return app::run_policy_loader(arguments);
  if (role == sandbox::to_string(sandbox::Role::kPolicyReader)) return app::run_policy_reader(arguments);
  const bool awaits_policy =
      !role.empty() && !arguments.empty() && arguments.front() == sandbox::kAwaitsPolicy;
  if (awaits_policy) arguments.erase(arguments.begin());
  auto invocation = app::parse(arguments);
  if (!invocation) return usage_error(invocation.error().message);
  if (const auto* options = std::get_if<app::RunOptions>(&*invocation);
      options != nullptr && options->host_addressing) {
    if (const int failed = take_host_addresses(arguments, invocation); failed != 0) return failed;
  }
  if (const auto* options = std::get_if<app::RunOptions>(&*invocation))
    return role.empty() ? app::run(*options, arguments) : play_role(role, *options, awaits_policy);
  if (!role.empty()) return usage_error("--role is for cordon's own processes");
  return std::visit(Tool{}, *invocation);
}

#ifdef CORDON_SANITIZED
// A report must get out of a process that may not open, ask for a terminal or start another process.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "color=never:symbolize=0:detect_leaks=0"; }
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() { return "color=never:symbolize=0:print_stacktrace=1"; }
#endif
