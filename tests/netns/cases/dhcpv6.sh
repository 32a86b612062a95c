# DHCPv6 by dhclient in a bare guest: lease, traffic from it, renewal, release, confirm, information.
. "$(dirname "$0")/../world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
start server server $TRAFFIC server $PORT
cat >$W/script <<END
#!/bin/sh
case "\$reason" in
  BOUND6 | RENEW6 | REBIND6 | REBOOT6) ip -6 addr replace \$new_ip6_address/128 dev \$interface nodad ;;
  RELEASE6 | STOP6) ip -6 addr flush dev \$interface scope global ;;
esac
{ echo "event=\$reason"; env | grep -E '^new_'; } >>$W/log/told
END
cat >$W/dhclient.conf <<END
send fqdn.fqdn "guest.example";
send fqdn.encoded on;
also request dhcp6.fqdn;
END
cat >$W/dhclient-guest <<END
#!/bin/bash
ready() { ip -6 -o addr show eth0 scope link | grep -v tentative | grep -q fe80 && ip -6 route show default | grep -q fe80; }
for i in \$(seq 100); do ready && break; sleep 0.1; done
client() { dhclient -6 -cf $W/dhclient.conf -sf $W/script -lf $W/log/leases6 -pf $W/log/dhclient6.pid "\$@" eth0; }
client -v -d 2>$W/log/dhclient1 & first=\$!
for i in \$(seq 150); do grep -q event=BOUND6 $W/log/told && break; sleep 0.1; done
$TRAFFIC --bind fd00:c0:2d::15 send $SERVER6 $PORT 10000000 || exit 1
for i in \$(seq 150); do grep -q event=RENEW6 $W/log/told && break; sleep 0.1; done
$TRAFFIC --bind fd00:c0:2d::15 send $SERVER6 $PORT 10000000 || exit 2
kill \$first; wait \$first
client -v -1 2>$W/log/dhclient2 || exit 3  # has a lease: Confirm
client -r -v 2>$W/log/dhclient3 || exit 4
timeout 20 dhclient -6 -S -v -1 -cf $W/dhclient.conf -sf $W/script -lf $W/log/none -pf $W/log/inform.pid eth0 2>$W/log/dhclient4 || exit 5
END
chmod 755 $W/script $W/dhclient-guest
told() { grep -qxF -- "$1" $W/log/told; }
: >$W/log/told
expect "dhclient -6: lease, traffic, renewal, confirm, release, information" \
  guest --no-config-net --lease-time 20 --search corp.example --fqdn web.corp.example -- $W/dhclient-guest
for what in event=BOUND6 event=RENEW6 event=RELEASE6 new_ip6_address=fd00:c0:2d::15 new_dhcp6_name_servers=fd00:c0:2d::3 \
  new_dhcp6_domain_search=corp.example. new_fqdn_fqdn=web.corp.example; do
  expect "dhclient was told $what" told "$what"
done
expect "a Confirm was answered" grep -q 'Confirm' $W/log/dhclient2
expect "a Release left" grep -q "Release Address fd00:c0:2d::15" $W/log/dhclient3
expect "information was answered" grep -q 'Reply message' $W/log/dhclient4
expect "nothing of this was a spoof" not grep -q source-spoof "$AUDIT"
finish
