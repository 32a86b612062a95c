#include "sandbox/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "sandbox/descriptors.h"

namespace cordon::sandbox {

base::Result<int> Supervisor::run() {
  CORDON_TRY(prepare());
  CORDON_TRY(look_ahead());
  CORDON_TRY(start_broker());
  load_policy(control::LoadCause::kStart);  // while the guest is set up
  if (auto started = start_guest(); !started) {
    // Policy errors are the better answer when both failed.
    if (const auto refusal = broker_refusal()) return *refusal;
    return std::unexpected(std::move(started).error());
  }
  // A virtual machine's translator comes with its connection.
  if (auto started = config_.vm ? base::Result<void>{} : start_translator(); !started) {
    if (const auto refusal = broker_refusal()) return *refusal;
    return std::unexpected(std::move(started).error());
  }
  while (!result_) CORDON_TRY(turn());
  stop();
  return *result_;
}

base::Result<void> Supervisor::prepare() {
  begun_ = base::monotonic_now();
  CORDON_TRY(signals_.open());
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return base::fail_errno("prctl", "child subreaper");
  executable_ = base::Fd{::open(config_.executable.c_str(), O_PATH | O_CLOEXEC)};
  if (!executable_) return base::fail_errno("open", config_.executable);
  self_ = base::Fd{open_pidfd(::getpid())};
  if (!self_) return base::fail_errno("pidfd_open", "Linux 5.11 or newer is needed");
  epoll_ = base::Fd{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll_) return base::fail_errno("epoll_create");
  watch(signals_.poll_fd());
  if (config_.side_fd >= 0) watch(config_.side_fd);
  if (!config_.watched_files.empty()) {
    policy_watch_.emplace(config_.watched_files);
    CORDON_TRY(policy_watch_->start());
    watch(policy_watch_->poll_fd());
  }
  if (const auto watching = resolvers_.start(); !watching)
    say(base::describe(watching.error()));
  else
    watch(resolvers_.poll_fd());
  if (config_.audit_path.empty()) return {};
  if (const auto watching = log_watch_.start(config_.audit.get()); !watching)
    say(base::describe(watching.error()));
  else if (log_watch_.poll_fd() >= 0)
    watch(log_watch_.poll_fd());
  return {};
}

base::Result<void> Supervisor::start_broker() {
  auto pair = CORDON_TRY(make_packet_pair());
  base::Fd null;
  if (!config_.audit) null = base::Fd{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  std::vector<std::string> arguments = config_.arguments;
  if (config_.loader_arguments && !config_.loader_arguments(control::LoadCause::kStart).empty())
    arguments.insert(arguments.begin(), std::string{kAwaitsPolicy});
  std::vector<int> listeners;
  for (const base::Fd& listener : config_.listeners) listeners.push_back(listener.get());
  broker_ = CORDON_TRY(spawn({.role = Role::kBroker,
                              .executable = executable_.get(),
                              .arguments = std::move(arguments),
                              .control = pair.second.get(),
                              .second = config_.audit ? config_.audit.get() : null.get(),
                              .listeners = std::move(listeners),
                              .launcher = self_.get(),
                              .diagnostics = STDERR_FILENO}));
  config_.listeners.clear();  // the ports end with the broker
  control_.emplace(std::move(pair.first));
  watch(control_->poll_fd());
  send_resolvers();
  trace("broker started");
  return {};
}

base::Result<void> Supervisor::start_guest() {
  auto started = CORDON_TRY(guest_.start());
  command_ = started.command;
  has_command_ = command_ > 0;
  if (!has_command_ && guest_.end_fd() >= 0) watch(guest_.end_fd());
  taps_ = std::move(started.taps);
  bulk_queues_ = started.bulk_queues;
  trace("guest interface ready");
  return {};
}

base::Result<void> Supervisor::start_translator() {
  std::vector<ChannelPair> channels;
  std::vector<WorkerFds> workers;
  const std::size_t half = taps_.size() / 2;
  const bool bulk = bulk_queues_ && half > 0;
  const auto tap = [this](std::size_t i) { return i < taps_.size() ? taps_[i].get() : -1; };
  const std::size_t count = config_.vm ? config_.vm->workers() : bulk ? half : taps_.size();
  for (std::size_t i = 0; i < count; ++i) {
    channels.push_back(CORDON_TRY(make_channel_pair()));
    workers.push_back({channels.back().translator.get(), tap(i), bulk ? tap(half + i) : -1});
  }
  const base::Fd diagnostics = CORDON_TRY(diagnostics_.open());
  watch(diagnostics_.poll_fd());
  std::array<int, 2> output{};
  if (::pipe2(output.data(), O_CLOEXEC | O_NONBLOCK) != 0) return base::fail_errno("pipe");
  translator_words_.clear();
  translator_output_ = base::Fd{output[0]};
  const base::Fd output_end{output[1]};
  watch(translator_output_.get());
  translator_ = CORDON_TRY(spawn({.role = Role::kTranslator,
                                  .executable = executable_.get(),
                                  .arguments = config_.arguments,
                                  .control = workers.front().channel,
                                  .second = workers.front().tap,
                                  .third = workers.front().bulk,
                                  .more_workers = {workers.begin() + 1, workers.end()},
                                  .launcher = self_.get(),
                                  .input = config_.capture.get(),
                                  .output = output_end.get(),
                                  .diagnostics = diagnostics.get()}));
  for (std::uint32_t worker = 0; worker < channels.size(); ++worker)
    if (control_->send_new_translator(channels[worker].broker.get(), worker) != SendStatus::kSent)
      return base::fail("translator", "the broker does not take its channel");
  trace("translator started");
  return {};
}

std::optional<int> Supervisor::broker_refusal() {
  if (!broker_.running() || !control_) return result_;
  // One that has closed its socket is about to be a zombie.
  pollfd socket{control_->poll_fd(), 0, 0};
  const bool closed = ::poll(&socket, 1, 0) == 1 && (socket.revents & POLLHUP) != 0;
  pollfd end{broker_.pidfd.get(), POLLIN, 0};
  if (::poll(&end, 1, closed ? 200 : 0) == 1) reap_children();
  return result_;
}

base::Result<Process> Supervisor::spawn(SpawnRequest request) {
  request.strict = config_.strict;
  auto process = CORDON_TRY(spawn_role(request));
  note_refused(process.refused);
  return process;
}

void Supervisor::note_refused(const std::vector<NamespaceGrant::Refusal>& refused) {
  for (const auto& one : refused) {
    missing_layers_ |= layer_bit(one.name);
    if (refusal_ == 0) refusal_ = one.error;
  }
}

// A virtual machine's translator is started when it connects; whether it can be had is said, or refused, now.
base::Result<void> Supervisor::look_ahead() {
  if (!config_.vm) return {};
  const auto grant = find_namespaces(Role::kTranslator);
  note_refused(grant.refused);
  if (!config_.strict || grant.refused.empty()) return {};
  return std::unexpected(strict_refusal(grant.refused));
}

void Supervisor::warn_of_missing_layers() {
  if (missing_layers_ == 0 || config_.quiet) return;
  say("warning: reduced isolation, without " + layer_names(missing_layers_) +
      ": less holds the process that reads the guest's frames, should it be taken over (its system call "
      "filter, "
      "Landlock and limits do); " +
      (refusal_ != 0 ? explain_refusal(refusal_).context
                     : "a security module or a container forbids mounts") +
      "; --isolation strict refuses to start so");
}

void Supervisor::trace(const char* what) const {
  if (!config_.verbose) return;
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - begun_);
  std::fprintf(stderr, "cordon: start: %s after %.1f ms\n", what,
               static_cast<double>(micros.count()) / 1000.0);
}

}  // namespace cordon::sandbox
