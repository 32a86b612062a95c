// The label that a security module gives a role. All roles are one binary, so a rule about its path cannot
// tell them apart: whoever starts a role asks the kernel for the role's own label at the next exec
// (/proc/self/attr/exec), when it runs under one of ours itself (contrib/apparmor, contrib/selinux).
//
//   AppArmor   cordon, cordon-drop-in ...      -> cordon//broker, cordon-drop-in//broker ...
//   SELinux    cordon_t, cordon_loader_t       -> cordon_broker_t ...; user, role and range stay
//
// Asking is all: without a module, under other labels, or when the module has no such label, nothing changes
// and the role runs under the label of its parent. Should the module refuse the exec because of what was
// asked, the parent's own label is asked for instead.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sandbox/stages.h"

namespace cordon::sandbox {

// What to write for `role`, and to take it back, given the text of attr/current. Under no_new_privs AppArmor
// lets a label get narrower only: the role's is laid over ours then (both must allow).
struct LabelWish {
  std::string wanted;
  std::string own;
};
[[nodiscard]] std::optional<LabelWish> label_for(std::string_view current, Role role, bool no_new_privs);

class ExecLabel {
 public:
  // Looks at the label we have; `attributes` is /proc/self/attr but for tests.
  [[nodiscard]] static ExecLabel find(Role role, const std::string& attributes = "/proc/self/attr");
  // Between clone and exec: system calls only.
  void ask() const { write(wish_.wanted); }
  // After an exec that failed: true when it is worth another try.
  [[nodiscard]] bool take_back() const { return write(wish_.own); }

 private:
  bool write(const std::string& text) const;  // true: taken
  std::string file_;
  LabelWish wish_;
};

// The label of this process for a report; empty: none.
[[nodiscard]] std::string own_label(const std::string& attributes = "/proc/self/attr");

}  // namespace cordon::sandbox
