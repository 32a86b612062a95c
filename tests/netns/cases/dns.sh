# The guest's name server is the forwarder; the host's resolvers are read again when they change.
. "$(dirname "$0")/../world.sh"
start old server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
for transport in udp tcp; do
  expect "$transport by IPv4" guest -- $TRAFFIC dns 10.0.2.3 53 $transport a.example
  expect "$transport by IPv6" guest -- $TRAFFIC dns fd00:c0:2d::3 53 $transport a.example
done
address_is() { [ "$(guest -- getent ahostsv4 host.example | awk 'NR==1{print $1}')" = "$1" ]; }
expect "the guest's resolv.conf names the forwarder" guest -- grep -q 10.0.2.3 /etc/resolv.conf
expect "the libc finds a name" address_is 192.0.2.77
asks_host() { guest -- sh -c "echo asking; $TRAFFIC --timeout 2000 dns $1 53 udp x.example || echo refused" 2>/dev/null | tr '\n' ' '; }
is_refused() { [ "$(asks_host $1)" = "asking refused " ]; }
expect "the host's resolver is not open to the guest by itself" is_refused 10.99.0.2

# A running guest: the resolver moves to another address.
stop old >/dev/null
cat >$W/asks <<END
#!/bin/bash
echo ready
while ! [ -e $W/log/moved ]; do sleep 0.05; done
for i in 1 2 3 4 5 6 7 8 9 10; do
  $TRAFFIC --timeout 2000 dns 10.0.2.3 53 tcp b.example && exit 0
  sleep 0.2
done
exit 1
END
chmod 755 $W/asks
background asks -- $W/asks
ip netns exec server $TRAFFIC dns-server 53 192.0.2.78 2001:db8::78 >$W/log/new.out & pid_of[new]=$!
within 5 grep -q ready $W/log/new.out
printf 'nameserver 192.0.2.54\n' >$W/resolv.conf
ip -n server addr del 192.0.2.53/32 dev lo
ip -n server route add blackhole 192.0.2.53/32
touch $W/log/moved
expect "a running guest is answered by the new resolver" wait ${pid_of[asks]}
expect "and it is the new answer" grep -q 192.0.2.78 $W/log/asks.out

# No resolver at all, then one again: the guest is told at once why, and needs no restart.
cat >$W/waits <<END
#!/bin/bash
echo ready
while ! [ -e $W/log/emptied ]; do sleep 0.05; done
sleep 0.3
for i in 1 2 3; do $TRAFFIC --timeout 3000 dns 10.0.2.3 53 tcp c.example; done 2>$W/log/without
touch $W/log/asked
for i in 1 2 3 4 5 6 7 8 9 10; do
  $TRAFFIC --timeout 1000 dns 10.0.2.3 53 udp c.example && exit 0
  sleep 0.2
done
exit 1
END
chmod 755 $W/waits
background waits -- $W/waits
: >$W/resolv.conf
touch $W/log/emptied
expect "without a resolver a question fails at once" within 2 test -e $W/log/asked
expect "and says how" grep -q unreachable $W/log/without
expect "record of it" audited no-resolver 10.0.2.3
printf 'nameserver 192.0.2.54\n' >$W/resolv.conf
expect "a resolver that comes later is used" wait ${pid_of[waits]}
finish
