# The kernel's own SLAAC in a bare guest, privacy addresses included; rdisc6; and what is refused there.
. "$(dirname "$0")/../world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
start server server $TRAFFIC server $PORT
start canary server $TRAFFIC canary 7778
cat >$W/slaac-guest <<END
#!/bin/bash
address() { ip -6 -o addr show dev eth0 scope global "\$@" | grep -v tentative | sed -n 's/.* inet6 \([^/]*\).*/\1/p' | head -n1; }
for i in \$(seq 100); do stable=\$(address -temporary); [ -n "\$stable" ] && break; sleep 0.1; done
echo "stable \$stable"
ip -6 route show default
$TRAFFIC --bind \$stable send $SERVER6 $PORT 10000000 || exit 1
sysctl -qw net.ipv6.conf.eth0.use_tempaddr=2
ip link set eth0 down; ip link set eth0 up
for i in \$(seq 100); do private=\$(address temporary); [ -n "\$private" ] && break; sleep 0.1; done
echo "private \$private"
[ -n "\$private" ] && [ "\$private" != "\$stable" ] || exit 2
for i in \$(seq 50); do ip -6 route show default | grep -q fe80 && break; sleep 0.1; done
$TRAFFIC --bind \$private send $SERVER6 $PORT 10000000 || exit 3
$TRAFFIC --bind \$private receive $SERVER6 $PORT 10000000 || exit 3
$TRAFFIC send $SERVER6 $PORT 1000 || exit 3
rdisc6 -1 eth0 || exit 4
END
cat >$W/bad-guest <<END
#!/bin/bash
for i in \$(seq 100); do ip -6 -o addr show dev eth0 scope global | grep -v tentative | grep -q inet6 && break; sleep 0.1; done
# Many addresses of the own /64: sixteen live ones are the guest's, the rest is not.
good=0
for i in \$(seq 20); do
  ip -6 addr add fd00:c0:2d::beef:\$i/64 dev eth0 nodad || exit 1
  $TRAFFIC --timeout 1000 --bind fd00:c0:2d::beef:\$i send $SERVER6 $PORT 1 >/dev/null 2>&1 && good=\$((good + 1))
done
echo "good \$good"
ip -6 addr add fd00:bad::9/64 dev eth0 nodad
$TRAFFIC --bind fd00:bad::9 --timeout 1000 denied $SERVER6 7778 || exit 2
# Nobody answered for IPv4: an address of the subnet that was not leased asks by ARP and is heard of.
ip addr add 10.0.2.77/24 dev eth0
ip route add default via 10.0.2.2
$TRAFFIC --bind 10.0.2.77 --timeout 1000 denied $SERVER4 7778 || exit 3
# An address of the other side: duplicate address detection finds it taken.
ip -6 addr add fd00:c0:2d::2/64 dev eth0
for i in \$(seq 50); do ip -6 -o addr show dev eth0 | grep -q 'fd00:c0:2d::2/64.*dadfailed' && break; sleep 0.1; done
ip -6 -o addr show dev eth0 | grep -q 'fd00:c0:2d::2/64.*dadfailed' || exit 4
END
chmod 755 $W/slaac-guest $W/bad-guest
expect "SLAAC, privacy addresses, rdisc6" guest --no-config-net --no-ipv4 --search corp.example -- $W/slaac-guest
cp $W/log/expect $W/log/slaac
expect "the same with two threads" guest --threads 2 --no-config-net --no-ipv4 --search corp.example -- $W/slaac-guest
for what in 'stable fd00:c0:2d:0:' 'private fd00:c0:2d:0:' 'default via fe80::c0:2d:2 dev eth0 proto ra' 'Prefix *: fd00:c0:2d::/64' \
  'Recursive DNS server *: fd00:c0:2d::3' 'DNS search list *: corp.example' 'MTU *: *65520' 'Router lifetime *: *1800'; do
  expect "seen: $what" grep -q "$what" $W/log/slaac
done
expect "nothing of this was a spoof" not grep -q source-spoof "$AUDIT"
expect "foreign and too many addresses, a duplicate" guest --no-config-net -- $W/bad-guest
good=$(number_of_good=$(sed -n 's/^good //p' $W/log/expect); echo "$number_of_good")
expect "of 20 more addresses some work, at most 16 ($good)" test "$good" -ge 13 -a "$good" -le 16
spoofed() { within 3 recorded '"event.reason":"source-spoof"' "\"source.ip\":\"$1\""; }
expect "record for fd00:bad::9" spoofed fd00:bad::9
expect "record for an address too many" spoofed fd00:c0:2d::beef:20
expect "record for 10.0.2.77, which only asked by ARP" spoofed 10.0.2.77
counts=$(stop canary)
expect "nothing arrived: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'

# The word shows that there was a guest, and that the list it printed is the whole one.
defaults() { guest "$@" -- bash -c 'sleep 3; ip -6 route show default && echo listed'; }
only_listed() { [ "$("$@")" = listed ]; }
expect "--no-ra: no router" only_listed defaults --no-config-net --no-ra
expect "with it there is one" not only_listed defaults --no-config-net
expect "--no-ndp: the configured guest still gets out" guest --no-ndp -- $TRAFFIC send $SERVER6 $PORT 1000000
finish
