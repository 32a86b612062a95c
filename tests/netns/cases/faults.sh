# Loss, duplication and reordering on the guest's link: content stays whole, endings stay what they are.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
LIMIT=120
SOME=$((BYTES / 64))
seed=1
for faults in loss=1% loss=5%,reorder=5% duplicate=5%,reorder=5% loss=1%,duplicate=1%,reorder=1%; do
  for address in $SERVER4 $SERVER6; do
    for mtu in 1500 65520; do
      spec=$faults,seed=$seed
      seed=$((seed + 1))
      expect "to $address, MTU $mtu, $spec" guest --mtu $mtu --link-faults $spec -- $TRAFFIC send $address $PORT $SOME
      expect "from $address, MTU $mtu, $spec" \
        guest --mtu $mtu --link-faults $spec -- $TRAFFIC receive $address $PORT $SOME
    done
    for command in half-close-client half-close-server; do
      expect "$command with $address, $faults" \
        guest --link-faults $faults,seed=$seed -- $TRAFFIC $command $address $PORT
    done
  done
done
finish
