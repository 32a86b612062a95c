# Two thousand greedy connections, half of which never read while the server floods them, and half of which write to a
# server that never reads: the kernel memory of all of cordon's sockets stays within its budget's bound, and a
# connection of the host itself goes as fast as before.
. "$(dirname "$0")/../world.sh"
ulimit -n "$(ulimit -Hn)"
start server server $TRAFFIC server $PORT
COUNT=${CORDON_TEST_GREEDY:-2000}
BUDGET=64

# What the sockets of the host's namespace hold now, in KiB: rmem + wmem queued + forward + backlog of each.
held() {
  ip netns exec host ss -Htumn 2>/dev/null | awk '
    match($0, /skmem:\([^)]*\)/) {
      n = split(substr($0, RSTART + 7, RLENGTH - 8), part, ",")
      for (i = 1; i <= n; i++)
        if (part[i] ~ /^(r|w|f)[0-9]+$/ || part[i] ~ /^bl[0-9]+$/) {
          sub(/^[a-z]+/, "", part[i])
          if (part[i] + 0 < 2147483648) sum += part[i]  # what is charged in advance can be below zero
        }
    }
    END { printf "%d\n", sum / 1024 }'
}
host_rate() {  # MB/s of a connection of the host itself
  ip netns exec host $TRAFFIC receive $SERVER4 $PORT 67108864 |
    awk -F'"seconds": ' '{ split($2, s, "}"); printf "%d\n", 67.1 / (s[1] > 0 ? s[1] : 0.001) }'
}
before=$(host_rate)

sampler() {  # keeps the peak of held() in a file
  local now peak=0
  while :; do
    now=$(held)
    [ "$now" -le "$peak" ] || { peak=$now; echo $peak >$W/peak; }
    sleep 0.1
  done
}
greedy() {  # greedy NAME OPTIONS...: leaves the connections open; the peak is in $peak
  local name=$1 sampling
  shift
  echo 0 >$W/peak
  sampler & sampling=$!
  PATIENCE=90 background "$name" "$@" -- $TRAFFIC --timeout 20000 greedy $SERVER4 $PORT $COUNT 100
  sleep 2
  kill $sampling
  wait $sampling 2>/dev/null
  peak=$(cat $W/peak)
}

greedy free --socket-memory 1000GB
say "  without a budget: $(head -n1 $W/log/free.out); peak $((peak / 1024)) MiB"
unbounded=$peak
kill "${pid_of[free]}"
wait "${pid_of[free]}" 2>/dev/null
sleep 1

greedy bounded --socket-memory ${BUDGET}MB
say "  budget $BUDGET MB: $(head -n1 $W/log/bounded.out); peak $((peak / 1024)) MiB"
say "  refusals: $(grep -o '"event.reason":"[^"]*"' "$AUDIT" 2>/dev/null | sort | uniq -c | tr -s ' \n' ' ')"
during=$(host_rate)
say "  settled at $(($(held) / 1024)) MiB; the host's own connection: $before MB/s before, $during MB/s during"
# broker_budget.h: half of the budget, what came in until the limits were on, and one share for each flow.
expect "what all sockets hold is bounded" test "$peak" -le $((BUDGET * 500 + COUNT * 64 + 64 * 1024))
expect "which it is not by itself" test "$unbounded" -gt "$peak"
# Other tests may run at the same time: what counts is that it is not starved.
expect "the host's own connection still performs" test "$during" -ge $((before / 10))
rss() { awk '/VmRSS/ { print $2 }' "/proc/$(role "$1")/status"; }
say "  translator $(($(rss translator) / 1024)) MiB, broker $(($(rss broker) / 1024)) MiB"
expect "the translator's own pools are bounded" test "$(rss translator)" -le $((600 * 1024))
expect "the guest goes on" not gone "${pid_of[bounded]}"
kill "${pid_of[bounded]}"
wait "${pid_of[bounded]}" 2>/dev/null
expect "and the next one has the network" guest -- $TRAFFIC --timeout 10000 first $SERVER4 $PORT
finish
