# Over vhost-user with one queue pair.
. "$(dirname "$0")/../vm.sh"
. "$(dirname "$0")/../steps.sh"
. "$(dirname "$0")/../vhost.sh"
QUEUES=1
vhost_life
finish
