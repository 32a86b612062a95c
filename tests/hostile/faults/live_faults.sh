# The machine fails under a running guest, beyond what tests/netns/cases do to it: processes that stand still, descriptors
# that run out while it runs, a packet filter that forbids what the policy allows; and odd starts.
. "$(dirname "$0")/../../netns/world.sh"
start server server $TRAFFIC server $PORT
first="$TRAFFIC --timeout 8000 first"
ask() { rm -f $W/log/answer; echo "$1" >$W/log/ask.new; mv $W/log/ask.new $W/log/ask; }
answered() { [ -s $W/log/answer ] && [ "$(cat $W/log/answer)" = "${1:-0}" ]; }
# The guest does what it is asked, one thing at a time, and tells its status.
asks='echo ready
while ! [ -e '$W'/log/stop ]; do
  if mv '$W'/log/ask '$W'/log/asked 2>/dev/null; then sh -c "$(cat '$W'/log/asked)"; echo $? >'$W'/log/answer.new; mv '$W'/log/answer.new '$W'/log/answer
  else sleep 0.02; fi
done'
background held --control $W/control.sock -- sh -c "$asks"
launcher=$(role launcher) broker=$(role broker) translator=$(role translator)
works() { ask "$first $SERVER4 $PORT && $TRAFFIC --timeout 8000 udp-sizes $SERVER6 $PORT 100"; within 10 answered; }
expect "all is well" works
fds() { ls /proc/"$1"/fd | wc -l; }

# Three seconds are less than what a connection survives; whoever waited goes on, nobody is killed for it.
for who in broker translator launcher; do
  kill -STOP "${!who}"
  ask "$first $SERVER4 $PORT"
  sleep 3
  if [ $who = launcher ]; then
    expect "$who stands still: traffic goes on without it" answered
  else
    expect "$who stands still: nothing is granted" test ! -s $W/log/answer
  fi
  kill -CONT "${!who}"
  expect "$who goes on: so does who waited" within 10 answered
  expect "and the next ones" works
done
expect "nobody was killed for it" test "$(role launcher) $(role broker) $(role translator)" = "$launcher $broker $translator"
expect "and no record says so" not grep -q engine-failed "$AUDIT"

# Each of them has as many descriptors as it may have.
before=$(fds "$broker") limit=$(awk '/^Max open files/ {print $4}' /proc/"$broker"/limits)
if prlimit --pid "$broker" --nofile="$before:$limit" 2>/dev/null; then
  ask "$TRAFFIC --timeout 2000 refused $SERVER4 $PORT || $TRAFFIC --timeout 2000 denied $SERVER4 $PORT"
  expect "without descriptors a flow is refused" within 10 test -s $W/log/answer
  expect "for that reason, on record" within 3 grep -q 'limit-connections' "$AUDIT"
  ticks() { awk '{print $14 + $15}' /proc/"$broker"/stat; }
  spent=$(ticks); sleep 1; spent=$(($(ticks) - spent))
  expect "nobody spins ($spent of 100 ticks)" test $spent -lt 40
  prlimit --pid "$broker" --nofile="$limit:$limit"
  expect "with descriptors it works again" works
else
  say "note: the limits of another user's process need a privilege"
fi

# A packet filter of the host forbids what the policy allows: EPERM from the kernel for datagrams, silence for streams.
if in_host nft -f - 2>/dev/null <<NFT
table inet shut {
  chain output { type filter hook output priority 0; ip daddr $SERVER4 udp dport $PORT drop; ip daddr $SERVER4 tcp dport $PORT reject with tcp reset; }
}
NFT
then
  ask "$TRAFFIC --timeout 1500 first $SERVER4 $PORT"
  expect "a stream that the host's filter resets is refused" within 10 answered 1
  ask "$TRAFFIC --timeout 1000 udp-sizes $SERVER4 $PORT 100"
  expect "datagrams that the host's filter forbids are lost" within 15 answered 1
  ask "$first $SERVER6 $PORT"
  expect "other flows go on" within 10 answered
  in_host nft delete table inet shut
  expect "without the filter it works again" works
  ask "$TRAFFIC --timeout 3000 udp-sizes $SERVER4 $PORT 100"
  expect "datagrams, too" within 10 answered
else
  say "note: no nftables here"
fi
expect "the same processes as at the start" test "$(role launcher) $(role broker) $(role translator)" = "$launcher $broker $translator"
touch $W/log/stop
wait "${pid_of[held]}"

# Odd starts that tests/netns/cases/surroundings.sh does not have.
run="ip netns exec host $CORDON run --quiet --policy $W/policy.yaml -- $first $SERVER4 $PORT"
leaky() { python3 -c '
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
for _ in range(1000): os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.execvp(sys.argv[1], sys.argv[1:])' $run; }
expect "a thousand leaked descriptors" leaky
expect "a mask of 0" bash -c "umask 0; $run"
expect "a mask of 0777" bash -c "umask 0777; $run"
expect "a working directory that was deleted" bash -c "mkdir $W/gone && cd $W/gone && rmdir $W/gone && $run"
expect "a library that is to be loaded first and is not there" env LD_PRELOAD=/no/such.so $run
finish
