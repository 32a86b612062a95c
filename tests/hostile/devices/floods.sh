# Floods from inside a guest: the rows FLD-01, FLD-04, FLD-05, FLD-08 and DNS-11 of docs/hostile-matrix.md,
# in a short form (FRAMES=400000 makes a long one). Beside each flood the guest's honest flows go on; afterwards
# everything adds up to the frame, the control socket answers, and memory and log are bounded.
. "$(dirname "$0")/../../netns/world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
FRAMES=${FRAMES:-40000}
STEADY=${STEADY:-2000}  # ms
folder=$(dirname "$0")
cp "${FLOOD:?path of hostile_flood}" $W/bin/hostile_flood && cp "$folder/flood_sums.py" $W/ || die "cannot copy the tools"
start server server $TRAFFIC server $PORT
start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
start canary host $TRAFFIC canary $PORT

cat >$W/guest <<END
#!/bin/bash
# guest KIND COUNT ADDRESS PORT
device=\$(ip -o link | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -v '^lo\$' | head -n1)
ping -n -c 1 -W 5 10.0.2.2 >/dev/null
gateway=\$(ip neigh show 10.0.2.2 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p')
# The kernel answers what comes back to sockets that nobody has: not part of this.
iptables -A OUTPUT -p tcp --tcp-flags RST RST -j DROP 2>/dev/null
$TRAFFIC --timeout 30000 steady $PORT $STEADY $SERVER4 $SERVER6 >$W/log/steady & steady=\$!
# Two streams and an exchange for each family: they stand before the flood takes what there is.
for try in \$(seq 500); do
  [ \$(cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | awk '\$4 == "01"' | wc -l) -ge 6 ] && break
  sleep 0.02
done
sleep 0.5
before=\$(awk -v d="\$device:" '\$1 == d { print \$13 }' /proc/net/dev)
$W/bin/hostile_flood \$device \$gateway "\$1" "\$2" "\$3" "\$4" >$W/log/sent || exit 3
after=\$(awk -v d="\$device:" '\$1 == d { print \$13 }' /proc/net/dev)
sed -i "s/}/, \"dropped\": \$((after - before))}/" $W/log/sent
wait \$steady || exit 4
[ "\$5" = "" ] || $TRAFFIC --timeout 10000 dns 10.0.2.3 53 udp a.example || exit 5
touch $W/log/flooded
for try in \$(seq 500); do [ -e $W/log/taken ] && exit 0; sleep 0.02; done
END
chmod 755 $W/guest

memory() {  # KiB of all processes of cordon
  local pid sum=0
  for pid in $(cordon_processes); do sum=$((sum + $(awk '/^VmRSS/ { print $2 }' /proc/$pid/status 2>/dev/null || echo 0))); done
  echo $sum
}
over() { [ -e $W/log/flooded ] || gone ${pid_of[flood]}; }
LIMITER=()
# flood NAME KIND COUNT ADDRESS PORT THEN [cordon options]
flood() {
  local name=$1 kind=$2 count=$3 address=$4 port=$5 then=$6 before after
  shift 6
  rm -f $W/log/flooded $W/log/taken $W/log/sent $W/log/steady "$AUDIT"
  timeout --foreground 120 "${LIMITER[@]}" ip netns exec host $CORDON run --quiet --policy $W/policy.yaml --audit-log "$AUDIT" \
    --control $W/ctl "$@" -- $W/guest $kind $count $address $port $then >$W/log/guest.out 2>$W/log/guest.err & pid_of[flood]=$!
  within 20 test -S $W/ctl || die "no control socket: $(cat $W/log/guest.err)"
  sleep 0.3
  before=$(memory)
  within 100 over
  expect "$name: the guest went on to the end" test -e $W/log/flooded
  sleep 1.2  # the translator's next report
  expect "$name: metrics are told" eval "timeout 10 ip netns exec host $CORDON ctl --socket $W/ctl metrics >$W/log/metrics"
  after=$(memory)
  touch $W/log/taken
  wait ${pid_of[flood]}
  expect "$name: it ended well: $(cat $W/log/guest.err)" test $? = 0
  say "--- $name"
  expect "$name" python3 $W/flood_sums.py $W/log/metrics "$AUDIT" $W/log/sent $W/log/steady $before $after
  sed 's/^/    /' $W/log/expect
}

long() { [ $FRAMES -ge 100000 ]; }
flood "FLD-01 UDP flows without end, a table of 512" udp $FRAMES $SERVER4 $PORT "" --max-flows 512
flood "FLD-01 TCP flows without end, a table of 512" tcp $((FRAMES / 10)) $SERVER4 $PORT "" --max-flows 512
long && flood "FLD-01 echo flows without end, a table of 512" icmp $((FRAMES / 10)) $SERVER4 0 "" --max-flows 512
LIMITER=(prlimit --nofile=256:256)
flood "FLD-04 256 descriptors" udp $((FRAMES / 10)) $SERVER4 $PORT ""
LIMITER=()
flood "FLD-05 denied flows without end" scan $FRAMES 203.0.113.1 9 ""
long && flood "FLD-05 forged sources without end" spoof $FRAMES $SERVER4 $PORT ""
flood "DNS-11 questions without end" udp $((FRAMES / 10)) 10.0.2.3 53 dns --max-flows 512
long && flood "ARP questions without end" arp $FRAMES 10.0.2.2 0 ""
# FLD-08: another guest of this machine while one floods.
rate() { guest -- $TRAFFIC --timeout 20000 out $SERVER4 $PORT 1 700 | sed -n 's/.*"gbps": \([0-9.]*\).*/\1/p'; }
solo=$(rate)
rm -f $W/log/steady
touch $W/log/taken
guest -- $W/guest scan $((FRAMES * 2)) 203.0.113.1 9 "" >/dev/null 2>&1 & pid_of[flooder]=$!
within 10 test -e $W/log/steady
sleep 0.7
beside=$(rate)
wait ${pid_of[flooder]}
say "FLD-08: another guest sends $beside Gbit/s beside a flood, $solo alone"
expect "FLD-08: it is not starved" awk "BEGIN { exit !(0$beside > 0$solo / 20) }"
counts=$(stop canary)
expect "nothing came to the host: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
