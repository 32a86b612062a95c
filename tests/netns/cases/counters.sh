# --verbose says at the end what became of the guest's frames: what has no single destination is refused with a
# counter for each kind, and nothing of it leaves.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
counted() { grep -Eq "^cordon: counters: .*\\b$1=[1-9]" $W/log/counters.err; }
say_to_groups='for i in 1 2 3; do
  echo x >/dev/udp/224.0.0.251/5353; echo x >/dev/udp/239.255.255.250/1900; echo x >/dev/udp/ff02::fb%eth0/5353
done'
speak() { CHAT=--verbose guest -- bash -c "$say_to_groups
$TRAFFIC --timeout 5000 first $SERVER4 $PORT" 2>$W/log/counters.err; }
expect "the guest speaks to mDNS, SSDP and a server" speak
expect "multicast was refused and counted" counted drop_multicast
expect "the server's flow was counted, too" counted flows_granted
expect "and nothing was dropped for a reason that does not fit" not counted drop_malformed
finish
