# Several workers in the translator: every thread is confined, every flow works whichever queue its frames take, and
# what holds for one worker holds for three on two processors.
. "$(dirname "$0")/../world.sh"
CORDON_TEST_OPTIONS="--threads 3"
start server server $TRAFFIC server $PORT

line_is() { [ "$(sed -n "s/^$2:[[:space:]]*//p" $1/status)" = "$3" ] || { grep "^$2:" $1/status; return 1; }; }
threads_of() { ls -d /proc/"$1"/task/*; }
every_thread() {  # every_thread PID LINE VALUE
  local thread
  for thread in $(threads_of $1); do line_is "$thread" $2 "$3" || return 1; done
}
threads_are() { [ "$(threads_of $1 | wc -l)" = $2 ] || { echo "not $2:" $(threads_of $1); return 1; }; }
uids() { for thread in $(threads_of $1); do sed -n 's/^\([UG]id\|Groups\):/\1/p' $thread/status; done | sort -u | wc -l; }
all_confined() {
  local zero=0000000000000000 set
  expect "the translator has three threads" threads_are $translator 3
  expect "each has its final filter" every_thread $translator Seccomp 2
  expect "each has as many filters as it should" every_thread $translator Seccomp_filters $1
  expect "each is without new privileges" every_thread $translator NoNewPrivs 1
  for set in CapInh CapPrm CapEff CapBnd CapAmb; do expect "each has an empty $set" every_thread $translator $set $zero; done
  expect "all have one identity" [ "$(uids $translator)" = 3 ]
  expect "it can start no more" grep -Eq '^Max processes +0 +0 ' /proc/$translator/limits
}
connect="$TRAFFIC --timeout 5000 first $SERVER4 $PORT"
background held -- sh -c "$connect && echo ready; while ! [ -e $W/log/stop ]; do sleep 0.05; done; $connect"
translator=$(role translator)
all_confined 1

if [ "$(uname -m)" = x86_64 ]; then
  # Any thread, not the first alone: socket() ends the process.
  victim=$(basename "$(threads_of $translator | tail -n1)")
  expect "socket() in another thread than the first ends the translator" $TRAFFIC force "$victim" 41 2 1 0
  another() { local now; now=$(role translator) && [ "$now" != "$translator" ] && line_is /proc/$now Seccomp_filters 2; }
  expect "and another one takes its place" within 5 another
  translator=$(role translator)
  all_confined 2
fi
touch $W/log/stop
expect "the guest has its network again" wait "${pid_of[held]}"

ulimit -n "$(ulimit -Hn)"
for address in $SERVER4 $SERVER6; do
  expect "content to $address" guest -- $TRAFFIC send $address $PORT $BYTES
  expect "content from $address" guest -- $TRAFFIC receive $address $PORT $BYTES
  expect "2,000 connections to $address" guest -- $TRAFFIC many $address $PORT 2000
  for mtu in 1500 65520; do
    expect "datagrams of every size at MTU $mtu, $address" guest --mtu $mtu -- $TRAFFIC udp-sizes $address $PORT
  done
  expect "$address port 9 is unreachable" guest -- $TRAFFIC udp-refused $address 9
  expect "ping $address" guest -- ping -n -c 3 -i 0.2 -W 5 $address
done
expect "with losses at the link" guest --link-faults loss=1%,duplicate=1%,reorder=1% -- \
  $TRAFFIC send $SERVER4 $PORT $((BYTES / 64))
background auto --threads auto -- sh -c "$connect && echo ready; while ! [ -e $W/log/counted ]; do sleep 0.05; done"
processors=$(nproc)
expect "as many threads as processors, at most four" threads_are "$(role translator)" $((processors < 4 ? processors : 4))
touch $W/log/counted
expect "and that guest ends well" wait "${pid_of[auto]}"
finish
