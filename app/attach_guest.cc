#include "app/attach_guest.h"

#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "app/attach_namespace.h"
#include "app/guest_namespace.h"
#include "app/guest_notes.h"
#include "app/options_threads.h"

namespace cordon::app {
namespace {

base::Result<void> set_up(int channel, const RunOptions& options, pid_t launcher) {
  const auto namespaces = CORDON_TRY(open_target(*options.attach));
  CORDON_TRY(enter_scratch(namespaces, *options.attach));
  // Now and not earlier: a change of credentials clears it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) return base::fail("attach:", "the launcher is gone");
  const auto taps = CORDON_TRY(make_taps(options.guest.interface, 2 * queue_count(options)));
  CORDON_TRY(follow_interface(namespaces, options.guest));
  CORDON_TRY(set_up_network(options.guest));
  return send_note(channel, {.step = Step::kTap, .text = {}}, taps);
}

[[noreturn]] void set_up_and_exit(int channel, const RunOptions& options, pid_t launcher) {
  if (const auto done = set_up(channel, options, launcher); !done) send_failure(channel, done.error());
  std::_Exit(0);
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

base::Result<AttachGuest::Started> AttachGuest::start() {
  if (!options_.attach->netns.empty()) watch_path();
  auto [ours, theirs] = CORDON_TRY(make_note_pair());
  const pid_t launcher = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return base::fail_errno("fork", "for the guest's interface");
  if (pid == 0) {
    ours.reset();
    set_up_and_exit(theirs.get(), options_, launcher);
  }
  theirs.reset();
  auto tap = expect_note(ours.get(), Step::kTap);
  // With it goes the last descriptor of ours on the namespace.
  ::waitpid(pid, nullptr, 0);
  if (!tap) return std::unexpected(std::move(tap).error());
  if (tap->fds.empty()) return base::fail("attach:", "the tap did not arrive");
  return Started{.command = -1, .taps = std::move(tap->fds), .bulk_queues = true};
}

base::Result<void> AttachGuest::go() {
  if (options_.verbosity != Verbosity::kVerbose) return {};
  std::string line = "cordon: attached: " + options_.guest.interface;
  for (const auto& family : options_.guest.families())
    line += " " + net::to_string(family.address) + "/" + std::to_string(family.prefix_length);
  line += "; name server";
  for (const auto& family : options_.guest.families()) line += " " + net::to_string(family.dns);
  line += " (write it to a resolv.conf of your own: none was changed)";
  std::fprintf(stderr, "%s\n", line.c_str());
  return {};
}

// Before the child looks: a name that is deleted meanwhile is noticed. A folder that cannot be watched is not
// an error: the interface goes with the namespace all the same.
void AttachGuest::watch_path() {
  const std::string& path = options_.attach->netns;
  struct stat now{};
  if (::stat(path.c_str(), &now) != 0) return;  // the child will say so
  device_ = now.st_dev;
  inode_ = now.st_ino;
  inotify_ = base::Fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
  if (!inotify_) return;
  if (::inotify_add_watch(inotify_.get(), folder_of(path).c_str(),
                          IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR) < 0)
    inotify_.reset();
}

bool AttachGuest::ended() {
  alignas(inotify_event) std::array<char, 4096> events;
  // Bounded: a busy folder must not keep the launcher here; what is left wakes it again.
  for (int i = 0; i < 16 && ::read(inotify_.get(), events.data(), events.size()) > 0; ++i) {
  }
  struct stat now{};
  if (::stat(options_.attach->netns.c_str(), &now) != 0) return true;
  return now.st_dev != device_ || now.st_ino != inode_;
}

}  // namespace cordon::app
