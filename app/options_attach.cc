#include "app/options_attach.h"

#include <algorithm>
#include <climits>

#include "app/option_values.h"

namespace cordon::app {
namespace {

constexpr std::size_t kLongestInterface = 15;  // IFNAMSIZ without its end
constexpr std::string_view kNamedFolder = "/run/netns/";

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

// What the kernel takes, less what a shell, sysctl or a reader would stumble over.
bool is_interface_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  // "all" and "default" are folders of settings.
  return !name.empty() && name.size() <= kLongestInterface && std::ranges::all_of(name, plain) &&
         name.front() != '-' && name.front() != '.' && name != "lo" && name != "all" && name != "default";
}

}  // namespace

std::expected<AttachTarget, UsageError> attach_target(const RawAttach& raw,
                                                      std::span<const std::string> operands) {
  AttachTarget target;
  if (operands.empty() && raw.netns.empty())
    return usage(
        "cordon attach needs a process or a namespace, as in: cordon attach 1234, or cordon attach "
        "--netns NAME");
  if (!operands.empty() && !raw.netns.empty())
    return usage("PID " + operands.front() + " contradicts --netns " + raw.netns + "; drop one");
  if (operands.size() > 1)
    return usage("'" + operands[1] + "': cordon attach takes one PID and runs no command");
  if (!operands.empty()) {
    const auto pid = parse_number(operands.front());
    if (!pid || *pid == 0 || *pid > INT_MAX)
      return usage("PID " + operands.front() + ": give a process id, or a namespace with --netns " +
                   operands.front());
    target.pid = static_cast<int>(*pid);
  }
  if (!raw.netns.empty()) {
    const bool name = raw.netns.find('/') == std::string::npos;
    if (name && (raw.netns == "." || raw.netns == ".."))
      return usage("--netns " + raw.netns + ": give a name below " + std::string{kNamedFolder} +
                   " or a path");
    target.netns = name ? std::string{kNamedFolder} + raw.netns : raw.netns;
  }
  target.userns = raw.userns;
  return target;
}

std::expected<void, UsageError> apply(const RawStart& raw, RunOptions& options) {
  options.guest.interface = raw.interface.empty() ? "eth0" : raw.interface;
  if (!is_interface_name(options.guest.interface))
    return usage("--ifname " + raw.interface + ": use 1 to 15 of a-z, A-Z, 0-9, '_', '-' and '.'; not lo");
  if (!raw.ready_fd.empty()) {
    const auto fd = parse_number(raw.ready_fd);
    if (!fd || *fd < 3 || *fd > INT_MAX)
      return usage("--ready-fd " + raw.ready_fd + ": give the number of an open descriptor, from 3 up");
    options.ready_fd = static_cast<int>(*fd);
  }
  options.pid_file = raw.pid_file;
  return {};
}

}  // namespace cordon::app
