# Limits of the policy with real traffic: who is over one is refused like by a rule, and told in the audit log.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT

# limits HEAD RULE: an inner file; HEAD is for the whole file, RULE for the rule in line 5.
limits() {
  {
    printf 'version: 1\nname: inner\n%s\negress:\n' "${1:+limits: $1}"
    printf '  - {name: services, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32"]%s}\n' "${2:+, limits: $2}"
    printf '  - {name: names, allow: dns}\n'
  } >$W/inner.yaml
  : >$AUDIT
}
inner() { guest --policy $W/inner.yaml -- "$@"; }
inner_sh() { inner bash -c "$1"; }
recorded_at() {  # recorded_at REASON RULE LINE
  within 3 grep -qE "\"event.reason\":\"$1\".*\"rule.ruleset\":\"inner\",\"rule.name\":\"$2\".*\"sandbox.rule_at\":\"[^\"]*inner.yaml:$3\"" $AUDIT
}
export TRAFFIC SERVER4 SERVER6 PORT

limits '' '{connections: 4}'
expect "four connections fit" inner $TRAFFIC many $SERVER4 $PORT 4
expect "the fifth is refused, and they are free again when they end" inner_sh '
  for address in $SERVER4 $SERVER6; do
    $TRAFFIC many $address $PORT 5 2>&1 | grep -qi refused || { echo "the fifth to $address was not refused"; exit 1; }
    for try in 1 2 3 4 5 6 7 8 9 10; do
      $TRAFFIC many $address $PORT 4 >/dev/null 2>&1 && continue 2
      sleep 0.2
    done
    echo "not free again"; exit 1
  done'
expect "record with rule and line" recorded_at limit-connections services 5

limits '{connections: 3}' ''
expect "the file's own limit is for all" inner_sh '$TRAFFIC many $SERVER4 $PORT 3 && ! $TRAFFIC many $SERVER6 $PORT 4 2>/dev/null'
expect "record with the line of the file's limits" recorded_at limit-connections - 3

limits '' '{new: 12/min}'
expect "twelve at once, then one every five seconds" inner_sh '
  $TRAFFIC many $SERVER4 $PORT 12 || exit 1
  $TRAFFIC many $SERVER4 $PORT 1 2>/dev/null && { echo "the thirteenth was let in"; exit 1; }
  sleep 5.2
  $TRAFFIC many $SERVER4 $PORT 1 || { echo "nothing came free"; exit 1; }
  $TRAFFIC many $SERVER4 $PORT 1 2>/dev/null && { echo "too much came free"; exit 1; }
  exit 0'
expect "record of the rate of new flows" recorded_at limit-new services 5

for direction in send receive; do
  limits '' '{bytes: 1MB}'
  expect "a used-up budget cuts the flow ($direction) and refuses the next" inner_sh '
    $TRAFFIC '$direction' $SERVER4 $PORT 100000 || { echo "what fits was cut"; exit 1; }
    $TRAFFIC '$direction' $SERVER4 $PORT 40000000000 2>/dev/null && { echo "40 GB passed"; exit 1; }
    $TRAFFIC many $SERVER4 $PORT 1 2>&1 | grep -qi refused || { echo "the next one was let in"; exit 1; }'
  expect "record of the cut" within 3 recorded '"event.action":"flow-revoked","event.reason":"limit-bytes"' inner.yaml:5
  expect "record of the refusal" within 3 recorded '"event.action":"flow-denied","event.reason":"limit-bytes"' inner.yaml:5
done

# The same for one UDP flow that lives on; the kernel does not count it, the translator says what passed.
limits '' '{bytes: 1MB}'
expect "a used-up budget cuts a live UDP flow" inner_sh \
  '$TRAFFIC udp-in $SERVER4 $PORT 1000 1400; $TRAFFIC many $SERVER4 $PORT 1 2>&1 | grep -qi refused'
expect "record of its cut" within 3 recorded '"event.action":"flow-revoked","event.reason":"limit-bytes"' '"network.transport":"udp"'

# seconds COMMAND...: how long it took, in thousandths
milliseconds() {
  local begin end
  begin=$(date +%s%N)
  "$@" >/dev/null || return 1
  end=$(date +%s%N)
  echo $(((end - begin) / 1000000))
}
takes() {  # takes LEAST MOST COMMAND...
  local least=$1 most=$2 took
  shift 2
  took=$(milliseconds "$@") || { echo "failed"; return 1; }
  echo "$took ms"
  [ "$took" -ge "$least" ] && [ "$took" -le "$most" ]
}
# A loaded machine makes one try slow; what shares a rate is slow in every one.
takes_once() {
  local try
  for try in 1 2 3; do takes "$@" && return 0; done
  return 1
}
limits '' '{rate: 1MB/s}'
for address in $SERVER4 $SERVER6; do
  for direction in send receive; do
    expect "3 MB at 1 MB/s: $direction, $address" takes 2200 9000 inner $TRAFFIC $direction $address $PORT 3000000
  done
done
# Two flows share one rate, each direction has its own, and without a limit the same takes no time.
expect "two flows of 1.5 MB share 1 MB/s" takes 2200 9000 inner_sh \
  '$TRAFFIC receive $SERVER4 $PORT 1500000 & $TRAFFIC receive $SERVER6 $PORT 1500000 && wait $!'
expect "both directions of 1.5 MB at once" takes_once 900 2700 inner_sh \
  '$TRAFFIC receive $SERVER4 $PORT 1500000 & $TRAFFIC send $SERVER6 $PORT 1500000 && wait $!'
limits '{rate: 1MB/s}' '{rate: 100MB/s}'
expect "the file's rate holds over a rule's" takes 2200 9000 inner $TRAFFIC receive $SERVER4 $PORT 3000000
limits '' '{connections: 1}'
expect "3 MB without a rate" takes_once 0 2000 inner $TRAFFIC receive $SERVER4 $PORT 3000000

finish
