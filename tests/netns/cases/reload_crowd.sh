# Thousands of connections live while the policy is reloaded: half of them end, half stay, and nobody notices but
# those who are cut. The figures are printed; only what happened is checked, as the machine may be busy.
. "$(dirname "$0")/../world.sh"
ulimit -n "$(ulimit -Hn)"
COUNT=${CORDON_TEST_CROWD:-10000}
if [ "$(ulimit -n)" -lt $((COUNT + 500)) ]; then
  COUNT=$((($(ulimit -n) - 500) / 2 * 2))
  say "only $COUNT connections: the limit of open files is $(ulimit -n)"
fi
start first server $TRAFFIC server $PORT $SERVER4
start second server $TRAFFIC server $PORT $SERVER6

policy() {  # policy TARGETS: another file in one step, as editors and ConfigMaps do it
  printf 'version: 1\nname: crowd\negress:\n  - {name: crowd, allow: [%s]}\n' "$1" >$W/crowd.new
  mv $W/crowd.new $W/crowd.yaml
}
loaded() { grep -c '"event.action":"policy-loaded"' "$AUDIT"; }
revoked() { sed -n '/"flow-revoked"/s/.*"event.count":\([0-9]*\).*/\1/p' "$AUDIT" | awk '{ sum += $1 } END { print sum + 0 }'; }

policy "192.0.2.0/24, \"2001:db8::/32\""
PATIENCE=120 LIMIT=200 background crowd --max-flows 16000 --policy $W/crowd.yaml -- $TRAFFIC crowd $SERVER4 $SERVER6 $PORT $COUNT 4000
before=$(loaded)
# Nothing different for anybody, but judged all the same; then one that ends half of them.
sleep 1
policy "198.51.100.0/24, 192.0.2.0/24, \"2001:db8::/32\""
kill -HUP "$(role launcher)"
sleep 1
policy "198.51.100.0/24, 192.0.2.0/24"
kill -HUP "$(role launcher)"
wait "${pid_of[crowd]}"
status=$?
say "figures: $(grep crowd $W/log/crowd.out)"
expect "half of the connections ended, and only those" [ $status = 0 ]
expect "both policies came into force" [ "$(loaded)" = $((before + 2)) ]
expect "every one that was cut is in the records" [ "$(revoked)" = $((COUNT / 2)) ]
expect "with its reason and cause" recorded '"event.reason":"no-rule"' '"sandbox.cause":"policy-changed"'
finish
