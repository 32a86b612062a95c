# DHCP by real clients in a bare guest: udhcpc and dhclient take, renew and give back the lease; the address works.
. "$(dirname "$0")/../world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
start server server $TRAFFIC server $PORT
start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77

# What a client was told ends in $W/log/told, one NAME=VALUE a line; the address goes to the interface.
cat >$W/told <<END
#!/bin/sh
# udhcpc: \$1 and \$ip, \$mask, \$router ...
case "\$1" in
  bound | renew)
    ip addr replace \$ip/\$mask dev \$interface
    ip route replace default via \$router dev \$interface ;;
  deconfig) ip addr flush dev \$interface ;;
esac
{ echo "event=\$1"; env | grep -E '^(ip|mask|subnet|router|dns|domain|search|hostname|mtu|broadcast|lease|serverid|staticroutes)='; } >>$W/log/told
END
cat >$W/script <<END
#!/bin/sh
# dhclient: \$reason and \$new_...
case "\$reason" in
  BOUND | REBOOT | RENEW | REBIND)
    ip addr replace \$new_ip_address/24 dev \$interface
    ip route replace default via \$new_routers dev \$interface ;;
  RELEASE | STOP) ip addr flush dev \$interface ;;
esac
{ echo "event=\$reason"; env | grep -E '^new_'; } >>$W/log/told
END
cat >$W/dhclient.conf <<END
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
send host-name "anything";
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search, host-name, interface-mtu,
  rfc3442-classless-static-routes;
timeout 10;
END
cat >$W/foreign-lease <<END
lease {
  interface "eth0";
  fixed-address 192.168.77.7;
  option subnet-mask 255.255.255.0;
  option routers 192.168.77.1;
  option dhcp-lease-time 86400;
  option dhcp-message-type 5;
  option dhcp-server-identifier 192.168.77.1;
  renew 2 2036/01/01 00:00:00;
  rebind 2 2036/01/01 00:00:00;
  expire 2 2036/01/01 00:00:00;
}
END
cat >$W/udhcp-guest <<END
#!/bin/bash
test -z "\$(ip -4 -o addr show eth0)" || { echo "there is an address already"; exit 3; }
udhcpc -i eth0 -f -s $W/told -p $W/log/udhcpc.pid -O search -O mtu -O staticroutes -O domain 2>$W/log/udhcpc & client=\$!
for i in \$(seq 300); do grep -q event=bound $W/log/told && break; sleep 0.1; done
$TRAFFIC --bind 10.0.2.15 send $SERVER4 $PORT 10000000 || exit 1
$TRAFFIC dns 10.0.2.3 53 udp a.example || exit 2
kill -USR1 \$client  # renew now
for i in \$(seq 300); do grep -q event=renew $W/log/told && break; sleep 0.1; done
kill -USR2 \$client  # release
for i in \$(seq 300); do grep -q 'sending release' $W/log/udhcpc && break; sleep 0.1; done
kill \$client; wait \$client
END
cat >$W/dhclient-guest <<END
#!/bin/bash
client() { dhclient -4 -cf $W/dhclient.conf -sf $W/script -lf $W/log/leases4 -pf $W/log/dhclient4.pid "\$@" eth0; }
client -v -d 2>$W/log/dhclient1 & first=\$!
for i in \$(seq 400); do grep -q event=BOUND $W/log/told && break; sleep 0.1; done
$TRAFFIC --bind 10.0.2.15 send $SERVER4 $PORT 10000000 || exit 1
for i in \$(seq 400); do grep -q event=RENEW $W/log/told && break; sleep 0.1; done
kill \$first; wait \$first
client -v -1 2>$W/log/dhclient2 || exit 2            # has a lease file: INIT-REBOOT
client -r -v 2>$W/log/dhclient3 || exit 3
cp $W/foreign-lease $W/log/leases4
client -v -1 2>$W/log/dhclient4 || exit 4            # comes from another network
$TRAFFIC --bind 10.0.2.15 send $SERVER4 $PORT 1000 || exit 5
END
chmod 755 $W/told $W/script $W/udhcp-guest $W/dhclient-guest
told() { grep -qxF -- "$1" $W/log/told; }
names=(--search corp.example --search lab.corp.example --hostname web --fqdn web.corp.example)

: >$W/log/told
expect "udhcpc: lease, traffic, name, renewal, release" guest --no-config-net --mtu 9000 "${names[@]}" -- $W/udhcp-guest
for what in event=bound event=renew ip=10.0.2.15 mask=24 router=10.0.2.2 dns=10.0.2.3 lease=86400 serverid=10.0.2.2 mtu=9000 \
  domain=corp.example hostname=web "search=corp.example lab.corp.example" "staticroutes=0.0.0.0/0 10.0.2.2"; do
  expect "udhcpc was told $what" told "$what"
done

: >$W/log/told
expect "dhclient: lease, traffic, renewal, reboot, release, another network" \
  guest --no-config-net --lease-time 20 "${names[@]}" -- $W/dhclient-guest
for what in event=BOUND event=RENEW event=REBOOT event=RELEASE new_ip_address=10.0.2.15 new_subnet_mask=255.255.255.0 \
  new_routers=10.0.2.2 new_domain_name_servers=10.0.2.3 new_dhcp_lease_time=20 new_dhcp_renewal_time=10 \
  new_domain_name=corp.example "new_domain_search=corp.example. lab.corp.example." new_host_name=web new_interface_mtu=65520 \
  "new_rfc3442_classless_static_routes=0 10 0 2 2"; do
  expect "dhclient was told $what" told "$what"
done
expect "a lease of another network is refused" grep -q DHCPNAK $W/log/dhclient4
expect "and replaced" grep -q 'bound to 10.0.2.15' $W/log/dhclient4

: >$W/log/told
# The word shows that there was a guest, and the failure is udhcpc's.
no_lease() {
  guest --no-config-net --no-dhcp -- sh -c "udhcpc -i eth0 -f -n -q -t 2 -T 1 -s $W/told 2>&1; echo ended with \$?" >$W/log/no_lease
  cat $W/log/no_lease
  grep -q 'no lease' $W/log/no_lease && grep -qx 'ended with 1' $W/log/no_lease
}
expect "--no-dhcp: no lease" no_lease
expect "and udhcpc was told none" not told event=bound
expect "nothing of this was a spoof" not grep -q source-spoof "$AUDIT"
finish
