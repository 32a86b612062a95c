#include "app/options_vm.h"

#include <climits>

#include "app/option_values.h"
#include "sandbox/socket_file.h"

namespace cordon::app {
namespace {

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

}  // namespace

const char* RawVm::given() const {
  if (!socket.empty()) return "--socket";
  if (!fd.empty()) return "--fd";
  if (one_off) return "--one-off";
  return vhost_user ? "--vhost-user" : nullptr;
}

std::expected<VmOptions, UsageError> vm_options(const RawVm& raw, std::span<const std::string> operands) {
  if (!operands.empty())
    return usage("'" + operands.front() +
                 "': cordon vm runs no command; start the virtual machine beside it");
  if (raw.socket.empty() && raw.fd.empty())
    return usage("cordon vm needs --socket PATH, where the virtual machine connects, or --fd N");
  if (!raw.socket.empty() && !raw.fd.empty())
    return usage("--socket " + raw.socket + " contradicts --fd " + raw.fd + "; drop one");
  VmOptions vm;
  if (raw.vhost_user) vm.protocol = VmOptions::Protocol::kVhostUser;
  vm.one_off = raw.one_off;
  if (!raw.socket.empty()) {
    if (raw.socket.size() > sandbox::kMostSocketName)
      return usage("--socket " + raw.socket + ": a socket's name has at most " +
                   std::to_string(sandbox::kMostSocketName) + " bytes; give a shorter one");
    vm.socket = raw.socket;
    return vm;
  }
  const auto fd = parse_number(raw.fd);
  if (!fd || *fd > INT_MAX)
    return usage("--fd " + raw.fd + ": give the number of a connected socket's descriptor");
  vm.fd = static_cast<int>(*fd);
  vm.one_off = true;
  return vm;
}

}  // namespace cordon::app
