# Over QEMU's stream socket.
. "$(dirname "$0")/../vm.sh"
. "$(dirname "$0")/../basics.sh"
basics
finish
