# Who the guest is: its MAC is pinned or learnt, its addresses are the leased ones, and all else is blocked.
. "$(dirname "$0")/../vm_world.sh"
start server server $TRAFFIC server $PORT
start canary server $TRAFFIC canary 7778
spoofed() { within 3 recorded '"event.reason":"source-spoof"' "\"$1\":\"$2\""; }
no_works() { ! in_box $TRAFFIC --timeout 1500 first $SERVER4 $PORT; }
change_mac() { in_box ip link set vm0 down; in_box ip link set vm0 address "$1"; in_box ip link set vm0 up; configure; }
reach_in() { in_server $TRAFFIC --timeout 8000 first "$1" 7788; }

vm one --socket $SOCKET -t 7788 --control $W/ctl
bridge qemu --connect $SOCKET --mac 52:54:00:00:00:01
configure
expect "the first MAC is learnt" works
change_mac 52:54:00:00:00:02
expect "another one is blocked" no_works
expect "and on record" spoofed source.mac 52-54-00-00-00-02
change_mac 52:54:00:00:00:01
expect "the first one still works" works
in_box ip addr add 10.9.9.9/32 dev vm0
in_box ip addr add fd00:bad::9/128 dev vm0 nodad
expect "another address is blocked" in_box $TRAFFIC --bind 10.9.9.9 --timeout 1500 denied $SERVER4 7778
expect "another IPv6 address is blocked" in_box $TRAFFIC --bind fd00:bad::9 --timeout 1500 denied $SERVER6 7778
expect "record for 10.9.9.9" spoofed source.ip 10.9.9.9
expect "record for fd00:bad::9" spoofed source.ip fd00:bad::9
end qemu
bridge qemu --connect $SOCKET --mac 52:54:00:00:00:02
configure
expect "the next connection has a MAC of its own" works
end qemu

# A guest that says nothing by itself is found when somebody wants it.
for address in 10.99.0.2 fd00:99::2; do
  in_box sysctl -qw net.ipv6.conf.default.router_solicitations=0 net.ipv6.conf.default.autoconf=0
  bridge qemu --connect $SOCKET --mac 52:54:00:00:00:03
  configure
  start service box $TRAFFIC server 7788
  expect "a published port of a guest not heard of, $address" reach_in $address
  stop service
  end qemu
done
end one

vm two --socket $SOCKET --mac 52:54:00:00:00:04
bridge qemu --connect $SOCKET --mac 52:54:00:00:00:05
configure
expect "--mac: another one is blocked from the start" no_works
expect "and on record" spoofed source.mac 52-54-00-00-00-05
change_mac 52:54:00:00:00:04
expect "the given one works" works
end two
ends qemu 0
counts=$(stop canary)
expect "nothing spoofed arrived: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
