#include "app/vm_guest.h"

#include <cstdio>

namespace cordon::app {

base::Result<void> VmGuest::go() {
  if (options_.verbosity != Verbosity::kQuiet && !options_.vm->socket.empty())
    std::fprintf(stderr,
                 "cordon: waiting for a virtual machine: qemu-system-... -netdev "
                 "stream,id=n0,server=off,addr.type=unix,addr.path=%s -device virtio-net-pci,netdev=n0\n",
                 options_.vm->socket.c_str());
  return {};
}

base::Result<sandbox::VmPort> open_vm_port(const VmOptions& vm) {
  if (vm.fd) return sandbox::VmPort::adopt(*vm.fd);
  return sandbox::VmPort::listen(vm.socket, vm.one_off);
}

}  // namespace cordon::app
