#include "sandbox/namespaces.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "core/base/fd.h"
#include "sandbox/capabilities.h"

namespace cordon::sandbox {
namespace {

base::Result<void> write_file(const std::string& path, std::string_view text) {
  const base::Fd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!file) return base::fail_errno("open", path);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return base::fail_errno("write", path);
  return {};
}

// The integer in a sysctl file, or `absent`.
long read_setting(const char* path, long absent) {
  const base::Fd file{::open(path, O_RDONLY | O_CLOEXEC)};
  std::array<char, 32> text{};
  if (!file || ::read(file.get(), text.data(), text.size() - 1) <= 0) return absent;
  return std::strtol(text.data(), nullptr, 10);
}

std::string map_lines(std::uint32_t own, std::uint32_t chosen, Role role) {
  if (chosen == own) return "0 " + std::to_string(own) + " 1\n";
  if (is_secluded(role)) return "0 " + std::to_string(chosen) + " 1\n";
  return "0 " + std::to_string(own) + " 1\n1 " + std::to_string(chosen) + " 1\n";
}

// Whether `id` means anyone in our own user namespace (root in a namespace of one id has nobody to become).
bool is_mapped(const char* map, std::uint32_t id) {
  std::ifstream file{map};
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  while (file >> inside >> outside >> count)
    if (id >= inside && id - inside < count) return true;
  return false;
}

struct Kind {
  std::string_view name;
  std::uint64_t flag;
};
constexpr Kind kKinds[] = {
    {"net-ns", CLONE_NEWNET}, {"pid-ns", CLONE_NEWPID}, {"ipc-ns", CLONE_NEWIPC}, {"uts-ns", CLONE_NEWUTS}};
constexpr std::string_view kUserNamespace = "user-ns";

// 0 or the errno.
int try_namespaces(std::uint64_t flags) {
  const long pid = ::syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) ::_exit(0);
  if (pid < 0) return errno;
  // A signal may come: the child ends all the same.
  while (::waitpid(static_cast<pid_t>(pid), nullptr, 0) < 0 && errno == EINTR) {
  }
  return 0;
}

}  // namespace

bool is_namespace_refusal(int error) {
  return error == EPERM || error == EACCES || error == ENOSYS || error == ENOSPC || error == EUSERS ||
         error == EINVAL;
}

NamespaceGrant find_namespaces(Role role, UserNamespace user, int user_error) {
  const std::uint64_t wanted = namespace_flags(role);
  NamespaceGrant grant;
  if (user == UserNamespace::kWanted && (wanted & CLONE_NEWUSER) != 0) {
    if (try_namespaces(wanted) == 0) return {.flags = wanted, .refused = {}};
    user_error = try_namespaces(CLONE_NEWUSER);
  }
  if (user_error == 0)
    grant.flags = wanted & CLONE_NEWUSER;
  else
    grant.refused.push_back({kUserNamespace, user_error});
  for (const Kind& kind : kKinds) {
    if ((wanted & kind.flag) == 0) continue;
    if (const int error = try_namespaces(grant.flags | kind.flag); error == 0)
      grant.flags |= kind.flag;
    else
      grant.refused.push_back({kind.name, error});
  }
  return grant;
}

std::string to_text(const std::vector<NamespaceGrant::Refusal>& refused) {
  std::string text;
  for (const auto& one : refused)
    text += (text.empty() ? "" : ",") + std::string{one.name} + ":" + std::to_string(one.error);
  return text;
}

std::vector<NamespaceGrant::Refusal> refused_namespaces() {
  const std::string name{kRefusedVariable.substr(0, kRefusedVariable.size() - 1)};
  const char* const value = std::getenv(name.c_str());
  std::vector<NamespaceGrant::Refusal> refused;
  const std::string text = "," + std::string{value != nullptr ? value : ""};
  const auto look_for = [&](std::string_view kind) {
    const auto at = text.find("," + std::string{kind} + ":");
    if (at == std::string::npos) return;
    int error = EPERM;
    std::from_chars(text.data() + at + kind.size() + 2, text.data() + text.size(), error);
    refused.push_back({kind, error});
  };
  look_for(kUserNamespace);
  for (const Kind& kind : kKinds) look_for(kind.name);
  return refused;
}

std::uint64_t namespace_flags(Role role) {
  constexpr std::uint64_t kShared = CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWUTS;
  if (role == Role::kPolicyLoader) return 0;
  return is_secluded(role) ? kShared | CLONE_NEWNET | CLONE_NEWPID : kShared;
}

Identity choose_identity(int executable) {
  Identity identity{.uid = ::geteuid(), .gid = ::getegid()};
  struct stat info{};
  if (identity.uid != 0 || ::fstat(executable, &info) != 0 || (info.st_mode & S_IXOTH) == 0) return identity;
  if (!has_capability(CAP_SETUID) || !has_capability(CAP_SETGID)) return identity;
  if (!is_mapped("/proc/self/uid_map", kNobody) || !is_mapped("/proc/self/gid_map", kNobody)) return identity;
  return {.uid = kNobody, .gid = kNobody, .lowered = true};
}

base::Result<void> write_id_maps(pid_t child, Role role, const Identity& identity) {
  const std::string base = "/proc/" + std::to_string(child);
  // Unprivileged gid maps need setgroups denied first (user_namespaces(7)); root does not mind.
  if (!identity.lowered) CORDON_TRY(write_file(base + "/setgroups", "deny"));
  CORDON_TRY(write_file(base + "/uid_map", map_lines(::geteuid(), identity.uid, role)));
  return write_file(base + "/gid_map", map_lines(::getegid(), identity.gid, role));
}

base::Error explain_refusal(int error) {
  std::string advice;
  if (read_setting("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0)
    advice = "run: sysctl kernel.unprivileged_userns_clone=1";
  else if (error == EAGAIN)
    advice = "too many processes: this user's limit (ulimit -u) or the container's is reached";
  else if (error == ENOSPC || error == EUSERS || read_setting("/proc/sys/user/max_user_namespaces", 1) == 0)
    advice = "raise user.max_user_namespaces (and max_net_namespaces, max_pid_namespaces), it is " +
             std::to_string(read_setting("/proc/sys/user/max_user_namespaces", -1));
  else if (read_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) != 0)
    advice =
        "install contrib/apparmor's profile, or run: sysctl kernel.apparmor_restrict_unprivileged_userns=0";
  else
    advice =
        "a container's seccomp profile or a security module forbids user namespaces: allow clone and unshare";
  return {"create namespaces", error, std::move(advice)};
}

base::Error strict_refusal(const std::vector<NamespaceGrant::Refusal>& refused) {
  std::string names;
  for (const auto& one : refused) names += (names.empty() ? "" : ", ") + std::string{one.name};
  base::Error error = explain_refusal(refused.empty() ? 0 : refused.front().error);
  return {kStrictRefusal, error.sys_errno, "no " + names + ": " + error.context};
}

base::Result<void> enter_mount_namespace() {
  // Only now: a program that was started inside would have its libraries mapped from the copy of the tree,
  // and those pages would keep every mount of the machine (they are locked to each other) as long as it runs:
  // file systems that the administrator unmounts, namespaces that are deleted.
  if (::unshare(CLONE_NEWNS) != 0) return base::fail_errno("unshare", "mount namespace");
  return {};
}

base::Result<void> enter_empty_root() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return base::fail_errno("mount",
                            "make / private; a security module may forbid mounts in user namespaces");
  // Any directory will do as the mount point, in our own mount namespace.
  constexpr unsigned long kFlags = MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY;
  const char* place = nullptr;
  for (const char* const candidate : {"/tmp", "/proc", "/run"})
    if (::mount("none", candidate, "tmpfs", kFlags, "size=4k,nr_inodes=2,mode=0555") == 0) {
      place = candidate;
      break;
    }
  if (place == nullptr) return base::fail_errno("mount", "tmpfs for the empty root");
  if (::chdir(place) != 0) return base::fail_errno("chdir", place);
  // Both arguments the same: the old root ends up on top of the new one and is detached from there.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return base::fail_errno("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return base::fail_errno("umount", "the old root");
  if (::chdir("/") != 0) return base::fail_errno("chdir", "/");
  return {};
}

base::Result<bool> lower_identity(uid_t id) {
  // Raw calls: glibc's versions signal every thread, and there is one.
  if (::syscall(SYS_setresgid, id, id, id) != 0) {
    if (errno == EINVAL) return false;  // it is not mapped: nothing to lower to
    return base::fail_errno("setresgid");
  }
  if (::syscall(SYS_setgroups, 0, nullptr) != 0) return base::fail_errno("setgroups");
  if (::syscall(SYS_setresuid, id, id, id) != 0) return base::fail_errno("setresuid");
  return true;
}

}  // namespace cordon::sandbox
