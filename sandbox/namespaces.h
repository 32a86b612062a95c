// Namespaces: which ones a role gets, its identity inside, and the empty root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "sandbox/stages.h"

namespace cordon::sandbox {

// clone flags: the translator and the policy reader get user, net, pid, ipc and uts, the policy loader none;
// the broker the same without net and pid,
// because it works in the host's network and is told apart by the launcher's signals only. The mount
// namespace comes with the empty root.
[[nodiscard]] std::uint64_t namespace_flags(Role role);

// What this process can give a role of that. Something refuses the rest: a container's seccomp profile, a
// limit, a security module.
struct NamespaceGrant {
  struct Refusal {
    std::string_view name;  // the layer's, as in IsolationReport
    int error = 0;
  };
  std::uint64_t flags = 0;
  std::vector<Refusal> refused;
};
// Tries each by a child that ends at once. Without a user namespace the others need CAP_SYS_ADMIN.
enum class UserNamespace : std::uint8_t { kWanted, kRefused };
[[nodiscard]] NamespaceGrant find_namespaces(Role role, UserNamespace user = UserNamespace::kWanted,
                                             int user_error = 0);
[[nodiscard]] bool is_namespace_refusal(int error);
// A role learns what it has not by one variable of its environment: "user-ns:1,net-ns:1".
inline constexpr std::string_view kRefusedVariable = "CORDON_REFUSED_NAMESPACES=";
[[nodiscard]] std::string to_text(const std::vector<NamespaceGrant::Refusal>& refused);
[[nodiscard]] std::vector<NamespaceGrant::Refusal> refused_namespaces();

// Who a role is on the host. Started by root, roles become `nobody` where the host lets them.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  bool lowered = false;  // uid is not the launcher's own
};
inline constexpr uid_t kNobody = 65534;
// `executable`: must be executable for others, or nobody could not run it.
[[nodiscard]] Identity choose_identity(int executable);
// Parent side, for a child cloned into a new user namespace: inside id 0 is the launcher's own (broker: it
// still has to read the policy) or the chosen one (translator); inside id 1 is the lowered one where there is
// one.
[[nodiscard]] base::Result<void> write_id_maps(pid_t child, Role role, const Identity& identity);

// What a refused clone or unshare means on this host and which setting to change.
[[nodiscard]] base::Error explain_refusal(int error);
[[nodiscard]] base::Error strict_refusal(const std::vector<NamespaceGrant::Refusal>& refused);

[[nodiscard]] base::Result<void> enter_mount_namespace();
// In it: an empty, read-only tmpfs becomes the root; nothing of the old tree stays reachable by path.
[[nodiscard]] base::Result<void> enter_empty_root();
// Leaves inside id 0 for `id` if that is mapped: 1 in a user namespace of ours, kNobody without. True: done.
[[nodiscard]] base::Result<bool> lower_identity(uid_t id);

}  // namespace cordon::sandbox
