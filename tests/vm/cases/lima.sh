# As Lima's user-v2 network: QEMU knows no socket's name, it is given a connected descriptor (-netdev socket,fd=).
. "$(dirname "$0")/../vm.sh"
. "$(dirname "$0")/../steps.sh"
world
LINK=descriptor
network a -t $PORT -u $PORT
boot a
configures a 65520
expect "traffic" works a
asks_for_names a
serves a
ends a
finish
