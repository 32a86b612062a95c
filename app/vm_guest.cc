#include "app/vm_guest.h"

#include <cstdio>

namespace cordon::app {

base::Result<void> VmGuest::go() {
  const VmOptions& vm = *options_.vm;
  if (options_.verbosity == Verbosity::kQuiet || vm.socket.empty()) return {};
  if (vm.protocol == VmOptions::Protocol::kVhostUser)
    std::fprintf(
        stderr,
        "cordon: waiting for a virtual machine: qemu-system-... -chardev socket,id=c0,path=%s -netdev "
        "vhost-user,id=n0,chardev=c0 -device virtio-net-pci,netdev=n0, with shared memory "
        "(-object memory-backend-memfd,...,share=on)\n",
        vm.socket.c_str());
  else
    std::fprintf(stderr,
                 "cordon: waiting for a virtual machine: qemu-system-... -netdev "
                 "stream,id=n0,server=off,addr.type=unix,addr.path=%s -device virtio-net-pci,netdev=n0\n",
                 vm.socket.c_str());
  return {};
}

base::Result<sandbox::VmPort> open_vm_port(const VmOptions& vm) {
  if (vm.fd) return sandbox::VmPort::adopt(*vm.fd);
  return sandbox::VmPort::listen(vm.socket, vm.one_off);
}

}  // namespace cordon::app
