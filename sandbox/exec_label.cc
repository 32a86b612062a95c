#include "sandbox/exec_label.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>

#include "core/base/fd.h"

namespace cordon::sandbox {
namespace {

constexpr std::string_view kOurs = "cordon";

std::string_view short_name(Role role) {
  const auto name = to_string(role);
  return name.substr(name.rfind('-') + 1);  // policy-reader: reader
}

// One line without the end that the modules disagree about.
std::string read_label(const std::string& path) {
  const base::Fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::array<char, 4096> text{};
  const ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : 0;
  std::string_view label{text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
  while (!label.empty() && (label.back() == '\n' || label.back() == '\0')) label.remove_suffix(1);
  return std::string{label};
}

// "user:role:type:range"; the range may have colons, and MLS may be off.
std::optional<LabelWish> selinux_label(std::string_view current, Role role) {
  const auto user = current.find(':');
  const auto type = user == current.npos ? user : current.find(':', user + 1);
  if (type == current.npos) return std::nullopt;
  const auto end = std::min(current.find(':', type + 1), current.size());
  const auto name = current.substr(type + 1, end - type - 1);
  if (name != "cordon_t" && name != "cordon_loader_t") return std::nullopt;
  return LabelWish{.wanted = std::string{current.substr(0, type + 1)} + "cordon_" +
                             std::string{short_name(role)} + "_t" + std::string{current.substr(end)},
                   .own = std::string{current}};
}

// "profile (mode)", "profile//child (mode)"; a stack or a namespace is not ours to change.
std::optional<LabelWish> apparmor_label(std::string_view current, Role role, bool no_new_privs) {
  const auto name = current.substr(0, current.find(" ("));
  if (name.find('&') != name.npos) return std::nullopt;
  const auto profile = name.substr(0, name.find("//"));
  if (profile != kOurs && !profile.starts_with("cordon-")) return std::nullopt;
  return LabelWish{.wanted = (no_new_privs ? "stack " : "exec ") + std::string{profile} + "//" +
                             std::string{short_name(role)},
                   .own = "exec " + std::string{name}};
}

}  // namespace

std::optional<LabelWish> label_for(std::string_view current, Role role, bool no_new_privs) {
  if (current.find(':') != current.npos) return selinux_label(current, role);
  return apparmor_label(current, role, no_new_privs);
}

ExecLabel ExecLabel::find(Role role, const std::string& attributes) {
  const bool no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  ExecLabel label;
  // AppArmor's own folder first: where modules are stacked, the other one may belong to somebody else.
  for (const std::string& folder : {attributes + "/apparmor", attributes}) {
    auto wish = label_for(read_label(folder + "/current"), role, no_new_privs);
    if (!wish) continue;
    label.file_ = folder + "/exec";
    label.wish_ = std::move(*wish);
    break;
  }
  return label;
}

bool ExecLabel::write(const std::string& text) const {
  if (text.empty()) return false;
  const int file = ::open(file_.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool taken = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  return taken;
}

std::string own_label(const std::string& attributes) {
  std::string label = read_label(attributes + "/apparmor/current");
  if (label.empty()) label = read_label(attributes + "/current");
  return label == "unconfined" ? std::string{} : label;
}

}  // namespace cordon::sandbox
