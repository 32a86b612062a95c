#include "app/run.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "app/announce.h"
#include "app/attach_guest.h"
#include "app/audit_open.h"
#include "app/control_open.h"
#include "app/guest_child.h"
#include "app/launcher_audit.h"
#include "app/options_threads.h"
#include "app/policy_loader.h"
#include "app/publish.h"
#include "app/vm_guest.h"
#include "core/base/stderr.h"
#include "core/link/capture_link.h"
#include "policy/load.h"
#include "sandbox/launcher.h"

namespace cordon::app {
namespace {

constexpr int kOwnFailure = 125;

class CommandGuest final : public sandbox::GuestStarter {
 public:
  explicit CommandGuest(const RunOptions& options) : options_(options) {}
  base::Result<Started> start() override {
    child_.emplace(CORDON_TRY(GuestChild::start(options_)));
    return Started{.command = child_->pid(), .taps = child_->take_taps(), .bulk_queues = true};
  }
  base::Result<void> go() override { return child_->go(); }

 private:
  const RunOptions& options_;
  std::optional<GuestChild> child_;
};

std::unique_ptr<sandbox::GuestStarter> make_guest(const RunOptions& options) {
  if (options.attach) return std::make_unique<AttachGuest>(options);
  if (options.vm) return std::make_unique<VmGuest>(options);
  return std::make_unique<CommandGuest>(options);
}

void say_default(const PolicyChoice& choice) {
  const bool everything = choice.base == PolicyChoice::Base::kEverything;
  std::fputs(
      !everything ? "cordon: no --policy: built-in internet-only applies (names and the public Internet; not "
                    "this machine, its networks or cloud metadata)\n"
      : choice.no_host
          ? "cordon: no --policy: the guest may reach everything but this machine (--no-map-host)\n"
          : "cordon: no --policy: the guest may reach everything, this machine too (--no-map-host: not "
            "this machine)\n",
      stderr);
}

base::Result<base::Fd> capture_of(const RunOptions& options, RunHooks& hooks) {
  if (options.pcap.empty() || hooks.capture) return std::move(hooks.capture);
  return open_capture(options.pcap);
}

int fail_line(const base::Error& error) {
  std::fprintf(stderr, "cordon: %s\n", base::describe(error).c_str());
  return kOwnFailure;
}

}  // namespace

base::Result<base::Fd> open_capture(const std::string& path) {
  base::Fd file{::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600)};
  const auto header = link::capture_header();
  if (!file || ::write(file.get(), header.data(), header.size()) != static_cast<ssize_t>(header.size()))
    return base::fail_errno("--pcap", path);
  return file;
}

int run(const RunOptions& options, const std::vector<std::string>& arguments, RunHooks hooks) {
  std::optional<sandbox::VmPort> vm;
  if (options.vm && options.vm->fd) {
    auto adopted = open_vm_port(*options.vm);
    if (!adopted) return fail_line(adopted.error());
    vm.emplace(std::move(*adopted));
  }
  ReadyFd ready;
  if (options.ready_fd) {
    auto taken = ReadyFd::take(*options.ready_fd);
    if (!taken) return fail_line(taken.error());
    ready = std::move(*taken);
  }
  PidFile pid_file;
  if (!options.pid_file.empty()) {
    auto created = PidFile::create(options.pid_file);
    if (!created) return fail_line(created.error());
    pid_file = std::move(*created);
  }
  const Links links = links_later(options.audit);
  auto audit = open_audit(options.audit);
  if (!audit) return fail_line(audit.error());
  auto control = open_control(options);
  if (!control) return fail_line(control.error());
  PolicyFiles policy_files{options};
  if (options.verbosity != Verbosity::kQuiet && policy_files.current().empty()) say_default(options.policy);
  auto listeners = open_privileged_ports(options);
  if (!listeners) return fail_line(listeners.error());
  if (options.vm && !vm) {
    auto listening = open_vm_port(*options.vm);
    if (!listening) return fail_line(listening.error());
    vm.emplace(std::move(*listening));
  }
  auto capture = capture_of(options, hooks);
  if (!capture) return fail_line(capture.error());
  LauncherAudit records{options, *audit};
  sandbox::LauncherConfig config;
  config.arguments = arguments;
  config.audit = std::move(*audit);
  config.audit_path = options.audit.path;
  config.reopen_audit = [&options, &records, links, told = false]() mutable {
    auto fresh = open_audit(options.audit, links);
    // Tried again and again; said once.
    if (!fresh && !std::exchange(told, true))
      base::tell("cordon: " + base::describe(fresh.error()) + ": records go on where they went\n");
    if (!fresh) return base::Fd{};
    told = false;
    records.set_sink(*fresh);
    return std::move(*fresh);
  };
  config.listeners = std::move(*listeners);
  config.loader_arguments = [&](sandbox::control::LoadCause cause) {
    const auto kind = cause == sandbox::control::LoadCause::kStart ? LoadKind::kFirst : LoadKind::kReload;
    return loader_arguments(options, kind, policy_files.current());
  };
  if (*control) config.control.emplace(std::move(**control));
  // Of the two protocols only vhost-user has more than one queue.
  if (vm && options.vm->protocol == VmOptions::Protocol::kVhostUser) vm->set_workers(queue_count(options));
  if (vm) config.vm.emplace(std::move(*vm));
  if (options.watch_policy) config.watched_files = policy_files.current();
  if (options.watch_policy && config.watched_files.empty() && options.verbosity != Verbosity::kQuiet)
    std::fputs("cordon: --watch-policy: there is no policy file to watch\n", stderr);
  config.verbose = options.verbosity == Verbosity::kVerbose;
  config.on_event = [&records](const sandbox::LauncherEvent& event) { records.note(event); };
  config.on_ready = [&ready, &hooks] {
    ready.tell();
    if (hooks.on_ready) hooks.on_ready();
  };
  config.quiet = options.verbosity == Verbosity::kQuiet;
  config.strict = options.isolation == Isolation::kStrict;
  config.capture = std::move(*capture);
  config.side_fd = hooks.log;
  config.on_side = std::move(hooks.on_log);
  const auto guest = make_guest(options);
  sandbox::Launcher launcher{std::move(config)};
  const auto status = launcher.run(*guest);
  if (!status) return fail_line(status.error());
  return *status;
}

}  // namespace cordon::app
