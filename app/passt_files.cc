#include "app/passt_files.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <fstream>

#include "app/option_values.h"
#include "sandbox/descriptors.h"
#include "sandbox/socket_file.h"

namespace cordon::app {
namespace {

constexpr int kNames = 100;
constexpr int kLooks = 100;  // of 10 ms

// A user namespace that was given fewer users than there are is a container's: its root is nobody outside.
bool is_root_of_machine() {
  if (::getuid() != 0) return false;
  std::ifstream map{"/proc/self/uid_map"};
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  return map >> inside >> outside >> count && inside == 0 && outside == 0 && count >= UINT_MAX;
}

struct Who {
  uid_t user = 0;
  gid_t group = 0;
};

base::Result<Who> find_user(const std::string& runas) {
  const auto colon = runas.find(':');
  const std::string login = runas.substr(0, colon);
  Who who;
  if (const auto number = parse_number(login); number && *number < UINT_MAX) {
    who.user = static_cast<uid_t>(*number);
    who.group = static_cast<gid_t>(*number);
  } else {
    const passwd* const entry = ::getpwnam(login.c_str());
    if (entry == nullptr) return base::fail("--runas", "Unknown user name: " + login);
    who = {entry->pw_uid, entry->pw_gid};
  }
  if (colon == std::string::npos) return who;
  const std::string group = runas.substr(colon + 1);
  if (const auto number = parse_number(group); number && *number < UINT_MAX) {
    who.group = static_cast<gid_t>(*number);
  } else {
    const struct ::group* const entry = ::getgrnam(group.c_str());
    if (entry == nullptr) return base::fail("--runas", "Unknown group name: " + group);
    who.group = entry->gr_gid;
  }
  return who;
}

// Of root's privileges nothing is left but that one; and /proc/self belongs to the new user, so that it may
// map itself into namespaces of its own.
base::Result<void> keep_low_ports(uid_t user) {
  if (user == 0) return {};
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> kept{};
  kept[0].permitted = kept[0].effective = 1U << CAP_NET_BIND_SERVICE;
  if (::syscall(SYS_capset, &header, kept.data()) != 0) return base::fail_errno("capset");
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return base::fail_errno("prctl");
  return {};
}

bool is_free(const std::string& path) {
  auto file = sandbox::SocketFile::open("--socket", path);
  return file && file->has_value();  // and it is gone again with `file`
}

}  // namespace

base::Result<void> settle_descriptors(std::optional<int> kept) {
  const auto close_span = [](unsigned first, unsigned last) {
    return first > last || ::syscall(SYS_close_range, first, last, 0U) == 0;
  };
  constexpr unsigned kFirst = STDERR_FILENO + 1;
  const unsigned keep = kept ? static_cast<unsigned>(*kept) : UINT_MAX;
  const bool done =
      kept ? close_span(kFirst, keep - 1) && close_span(keep + 1, UINT_MAX) : close_span(kFirst, UINT_MAX);
  if (!done) return base::fail_errno("close_range");
  return sandbox::ensure_standard_fds();
}

base::Result<std::string> free_socket_name() {
  for (int n = 1; n <= kNames; ++n) {
    std::string path = "/tmp/passt_" + std::to_string(n) + ".socket";
    if (is_free(path)) return path;
  }
  return base::fail("--socket", "all of /tmp/passt_N.socket are in use; give a path");
}

void await_socket_name(const std::string& path) {
  for (int i = 0; i < kLooks && ::access(path.c_str(), F_OK) == 0 && !is_free(path); ++i)
    ::poll(nullptr, 0, 10);
}

base::Result<ClientPidFile> ClientPidFile::open(const std::string& path) {
  ClientPidFile file;
  file.path_ = path;
  file.fd_ = base::Fd{::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOCTTY, 0600)};
  if (!file.fd_) return base::fail_errno("PID file", path);
  return file;
}

base::Result<void> ClientPidFile::write(int pid) const {
  if (!fd_) return {};
  const std::string text = std::to_string(pid) + "\n";
  if (::write(fd_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return base::fail_errno("PID file", path_);
  return {};
}

base::Result<void> leave_root(const std::string& runas, bool quiet) {
  if (!is_root_of_machine()) {
    if (runas.empty()) return {};
    const Who who = CORDON_TRY(find_user(runas));
    if (who.user == ::getuid() && who.group == ::getgid()) return {};
    return base::fail("--runas", runas + ": only root can become another user");
  }
  if (runas.empty() && !quiet) std::fputs("passt: started as root, becoming nobody (--runas)\n", stderr);
  const Who who = CORDON_TRY(find_user(runas.empty() ? "nobody" : runas));
  // Ports below 1024 are the launcher's to open; it needs that one capability for a moment, and no process
  // that looks at foreign bytes has it.
  if (who.user != 0 && ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return base::fail_errno("prctl");
  if (::setgroups(0, nullptr) != 0 || ::setresgid(who.group, who.group, who.group) != 0 ||
      ::setresuid(who.user, who.user, who.user) != 0)
    return base::fail_errno("--runas", runas.empty() ? "nobody" : runas);
  return keep_low_ports(who.user);
}

}  // namespace cordon::app
