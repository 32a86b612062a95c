#include "app/options_vm.h"

#include <climits>

#include "app/option_values.h"
#include "sandbox/control.h"
#include "sandbox/socket_file.h"

namespace cordon::app {
namespace {

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

struct FrontEndName {
  std::string_view name;
  vhost::FrontEnd front_end;
};
constexpr FrontEndName kFrontEnds[] = {{"qemu", vhost::FrontEnd::kQemu},
                                       {"cloud-hypervisor", vhost::FrontEnd::kCloudHypervisor},
                                       {"crosvm", vhost::FrontEnd::kCrosvm}};

std::expected<void, UsageError> fill_device(const RawVm& raw, VmOptions& vm) {
  if (!raw.vhost_user) {
    if (!raw.queues.empty()) return usage("--queues " + raw.queues + " is for --vhost-user");
    if (!raw.front_end.empty()) return usage("--front-end " + raw.front_end + " is for --vhost-user");
    return {};
  }
  vm.protocol = VmOptions::Protocol::kVhostUser;
  if (!raw.queues.empty()) {
    const auto queues = parse_number(raw.queues);
    if (!queues || *queues < 1 || *queues > sandbox::control::kMaxWorkers)
      return usage("--queues " + raw.queues + ": give a number of queue pairs from 1 to " +
                   std::to_string(sandbox::control::kMaxWorkers));
    vm.queues = static_cast<std::uint32_t>(*queues);
  }
  if (raw.front_end.empty()) return {};
  for (const FrontEndName& known : kFrontEnds) {
    if (known.name != raw.front_end) continue;
    vm.front_end = known.front_end;
    return {};
  }
  return usage("--front-end " + raw.front_end + ": give qemu, cloud-hypervisor or crosvm");
}

}  // namespace

const char* RawVm::given() const {
  if (!socket.empty()) return "--socket";
  if (!fd.empty()) return "--fd";
  if (one_off) return "--one-off";
  if (!queues.empty()) return "--queues";
  if (!front_end.empty()) return "--front-end";
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
  if (auto done = fill_device(raw, vm); !done) return std::unexpected(done.error());
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
