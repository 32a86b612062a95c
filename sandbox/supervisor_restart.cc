// Translators after the first: on the kept taps, at the pace that restart_pace.h sets.
#include "sandbox/supervisor.h"

namespace cordon::sandbox {

void Supervisor::restart_later(const std::string& detail) {
  const auto now = base::monotonic_now();
  const auto answer = pace_.on_end(now);
  if (policy_waits_ && ready_) {
    translator_held_ = true;
    report(LauncherEvent::Kind::kTranslatorHeld,
           "translator: " + detail + ": not started again before the broker has the policy", detail);
    return;
  }
  if (answer.pause == base::Duration::zero()) {
    report(LauncherEvent::Kind::kTranslatorRestarted,
           "translator: " + detail + ": started again, open connections are lost", detail);
    return start_again();
  }
  restart_due_ = now + answer.pause;
  if (answer.tell)
    report(LauncherEvent::Kind::kTranslatorLooping,
           "translator: " + detail +
               ": it ends again and again; started again after pauses of up to 8 s, and "
               "the next line comes when it has lived for 10 s",
           detail);
}

// What keeps it from being started (processes, descriptors, memory) may pass as well.
void Supervisor::start_again() {
  restart_due_ = base::Instant::never();
  if (const auto again = start_translator(); !again) {
    if (!control_) return;  // the broker has ended, and is about to be reaped
    if (translator_.running()) return kill_translator(base::describe(again.error()));
    return restart_later(base::describe(again.error()));
  }
  pace_.on_start(base::monotonic_now());
}

void Supervisor::work_restart() {
  const auto now = base::monotonic_now();
  if (now >= restart_due_ && !result_ && !broker_gone_ && !translator_.running() && !translator_held_)
    start_again();
  if (now >= pace_.steady_at()) tell_settled("it lives");
}

void Supervisor::tell_settled(const std::string& how) {
  const std::uint32_t untold = pace_.settled();
  const std::string detail = how + ", after " + std::to_string(untold) + " more ends";
  report(LauncherEvent::Kind::kTranslatorSettled, "translator: " + detail, detail);
}

}  // namespace cordon::sandbox
