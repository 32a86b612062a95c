# Over QEMU's stream socket, with MTU 1500.
. "$(dirname "$0")/../vm.sh"
. "$(dirname "$0")/../steps.sh"
world
network a --mtu 1500 -t $PORT -u $PORT
boot a
configures a 1500
reaches a $MIB "0 1 1000 1472 4000 30000"
asks_for_names a
serves a
restarts a 1500
expect "and it works" works a
cheats a
ends a
finish
