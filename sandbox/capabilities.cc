#include "sandbox/capabilities.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/base/fd.h"

namespace cordon::sandbox {
namespace {

// <linux/landlock.h> of Linux 6.12; Debian 12's is older.
struct LandlockRuleset {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};
constexpr long kLandlockCreate = 444;
constexpr long kLandlockRestrict = 446;
constexpr unsigned kLandlockVersion = 1;
constexpr std::uint64_t kScopeAbstractSockets = 1;
constexpr std::uint64_t kScopeSignals = 2;

long landlock_abi() { return ::syscall(kLandlockCreate, nullptr, 0, kLandlockVersion); }

LandlockRuleset landlock_rules(Role role, long abi) {
  LandlockRuleset rules;
  // File rights known to each ABI: 13 in the first, then REFER, TRUNCATE and (ABI 5) IOCTL_DEV.
  const int bits = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
  rules.handled_access_fs = (std::uint64_t{1} << static_cast<unsigned>(bits)) - 1;
  if (abi >= 4 && is_secluded(role)) rules.handled_access_net = 0b11;  // bind and connect, TCP
  if (abi >= 6) rules.scoped = kScopeAbstractSockets | kScopeSignals;
  return rules;
}

IsolationReport::State restrict_self(const LandlockRuleset& rules, long abi, std::string& detail) {
  const base::Fd ruleset{static_cast<int>(::syscall(kLandlockCreate, &rules, sizeof rules, 0))};
  detail = "ABI " + std::to_string(abi);
  if (!ruleset || ::syscall(kLandlockRestrict, ruleset.get(), 0) != 0) {
    detail += ", errno " + std::to_string(errno);
    return IsolationReport::State::kFailed;
  }
  return IsolationReport::State::kActive;
}

}  // namespace

bool has_capability(unsigned capability) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> sets{};
  return ::syscall(SYS_capget, &header, sets.data()) == 0 &&
         (sets.at(capability / 32).effective & (1U << (capability % 32))) != 0;
}

base::Result<void> bound_capabilities() {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return base::fail_errno("prctl", "clear the ambient capabilities");
  for (unsigned capability = 0; capability < 64; ++capability)
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the kernel's last one
      return base::fail_errno("prctl", "drop the bounding set");
    }
  constexpr unsigned long kBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                  SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                  SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (::prctl(PR_SET_SECUREBITS, kBits, 0, 0, 0) != 0) return base::fail_errno("prctl", "securebits");
  return {};
}

base::Result<void> drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return base::fail_errno("capset");
  return {};
}

base::Result<void> set_no_new_privs() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::fail_errno("prctl", "no_new_privs");
  return {};
}

IsolationReport::State refuse_new_code() {
  constexpr int kSetMdwe = 65;  // PR_SET_MDWE
  constexpr unsigned long kRefuseExecGain = 1;
  if (::prctl(kSetMdwe, kRefuseExecGain, 0, 0, 0) == 0) return IsolationReport::State::kActive;
  return errno == EINVAL ? IsolationReport::State::kUnavailable : IsolationReport::State::kFailed;
}

IsolationReport::State apply_landlock(Role role, std::string& detail) {
  const long abi = landlock_abi();
  if (abi <= 0) {
    detail = "not in this kernel";
    return IsolationReport::State::kUnavailable;
  }
  return restrict_self(landlock_rules(role, abi), abi, detail);
}

IsolationReport::Layer keep_signals_inside() {
  using State = IsolationReport::State;
  IsolationReport::Layer layer{"signal-scope", State::kUnavailable, {}};
  const long abi = landlock_abi();
  if (abi < 6) {
    layer.detail = "not in this kernel, Linux 6.12 has it: the command can signal what its user runs outside";
    return layer;
  }
  LandlockRuleset rules;
  rules.scoped = kScopeSignals;
  layer.state = restrict_self(rules, abi, layer.detail);
  return layer;
}

}  // namespace cordon::sandbox
