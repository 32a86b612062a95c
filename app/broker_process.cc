#include "app/broker_process.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "app/broker_judge.h"
#include "app/broker_policy.h"
#include "app/broker_source.h"
#include "app/control_server.h"
#include "app/options_threads.h"
#include "app/publish.h"
#include "core/plane/counters.h"
#include "sandbox/broker.h"
#include "sandbox/stages.h"

namespace cordon::app {
namespace {

constexpr int kFailed = 1;
constexpr int kBadPolicy = 2;
constexpr unsigned kOwnDescriptors = 128;  // all that is not a flow, with room

int report(const base::Error& error) {
  std::fprintf(stderr, "cordon: broker: %s\n", base::describe(error).c_str());
  return kFailed;
}

// As many descriptors as the flows may need, within what the administrator allows.
base::Result<unsigned> raise_descriptor_limit(std::uint32_t flows, std::uint32_t listeners) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return base::fail_errno("getrlimit", "RLIMIT_NOFILE");
  if (listeners > 0 && files.rlim_max < rlim_t{listeners} + kOwnDescriptors)
    return base::fail("publish",
                      std::to_string(listeners) + " ports need as many open files, and the limit is " +
                          std::to_string(files.rlim_max) + ": raise it (ulimit -Hn) or publish fewer");
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, rlim_t{flows} + listeners + kOwnDescriptors);
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return base::fail_errno("setrlimit", "RLIMIT_NOFILE");
  return static_cast<unsigned>(files.rlim_cur);
}

// What became of the guest's frames, one line, the zeros left out.
void print_counters(const sandbox::CounterValues& values) {
  std::string line = "cordon: counters:";
  for (std::size_t i = 0; i < plane::kCounters; ++i)
    if (values[i] != 0)
      line +=
          ' ' + std::string{plane::name(static_cast<plane::Counter>(i))} + '=' + std::to_string(values[i]);
  std::fprintf(stderr, "%s\n", line.c_str());
}

base::Result<sandbox::Broker::End> serve(const RunOptions& options, std::vector<base::Fd> inherited,
                                         std::shared_ptr<const policy::PolicySet> policy) {
  auto monitor = CORDON_TRY(netlink::Monitor::open(base::monotonic_now()));
  BrokerJudge judge{options.guest, std::move(policy), std::move(monitor), sandbox::control::kSecondFd,
                    options.audit.kind()};
  judge.set_outbound(options.outbound_interfaces, options.outbound);
  judge.set_layer(policy_layer(options));
  if (options.verbosity == Verbosity::kQuiet) judge.be_quiet();

  sandbox::BrokerOptions limits;
  if (options.max_flows != 0) limits.max_flows = options.max_flows;
  limits.max_workers = most_workers(options);
  limits.socket_memory = options.socket_memory;
  limits.max_slots = std::max(limits.max_slots, limits.max_flows);
  const unsigned descriptors = CORDON_TRY(raise_descriptor_limit(limits.max_flows, listeners_of(options)));
  sandbox::Broker broker{limits, judge, base::Fd{sandbox::control::kControlFd}};
  judge.on_sink_broken([&broker] { broker.ask_launcher(sandbox::control::ReopenAudit{}); });
  if (!options.forwards.empty()) {
    auto published = CORDON_TRY(open_published(options, std::move(inherited)));
    broker.publish(std::move(published.options), std::move(published.listeners));
  }
  BrokerSource source{options, broker, judge};
  const auto control = CORDON_TRY(ControlServer::make(source));
  broker.attend(*control);
  CORDON_TRY(broker.start());

  const auto isolation = CORDON_TRY(
      sandbox::lock_broker({.max_fds = descriptors, .strict = options.isolation == Isolation::kStrict}));
  if (options.verbosity == Verbosity::kVerbose)
    std::fprintf(stderr, "cordon: %s\n", isolation.summary().c_str());
  source.set_isolation(isolation);
  judge.look_for_backstop(base::monotonic_now());
  if (options.verbosity == Verbosity::kVerbose)
    std::fprintf(stderr, "cordon: backstop: %s\n", std::string{to_string(judge.backstop())}.c_str());

  const auto served = broker.run(isolation.missing());
  judge.finish(base::monotonic_now());
  if (options.verbosity == Verbosity::kVerbose) print_counters(judge.counters());
  return served;
}

}  // namespace

int run_broker(const RunOptions& options, bool awaits_policy) {
  if (const auto begun = sandbox::begin_role(sandbox::Role::kBroker); !begun) return report(begun.error());
  auto inherited = sandbox::take_inherited();
  auto policy = awaits_policy ? nullptr : builtin_policy(options);
  if (const auto served = serve(options, std::move(inherited), std::move(policy)); !served)
    return report(served.error());
  else if (*served == sandbox::Broker::End::kNoPolicy)
    return kBadPolicy;
  return 0;
}

}  // namespace cordon::app
