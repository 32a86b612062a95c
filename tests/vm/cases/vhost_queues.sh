# Over vhost-user with two queue pairs, each served by a thread of its own.
. "$(dirname "$0")/../vm.sh"
. "$(dirname "$0")/../steps.sh"
. "$(dirname "$0")/../vhost.sh"
QUEUES=2
vhost_life
finish
