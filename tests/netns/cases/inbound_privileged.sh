# Ports below 1024: an administrator's are opened by the launcher and left to the broker, which has no privilege; an
# ordinary user is told what to do. And `all`: every port but the host's own clients', at once.
. "$(dirname "$0")/../world.sh"
cat >>$W/policy.yaml <<END
ingress:
  - {name: peers, allow: [host, 10.99.0.0/24, "fd00:99::/64"]}
END
background guest -t 80,443:80 -t %up0/81:80 -- $TRAFFIC server 80
expect "port 80" in_server $TRAFFIC send 10.99.0.2 80 1000000
expect "port 443, IPv6" in_server $TRAFFIC send fd00:99::2 443 1000000
expect "port 81 of an interface" in_server $TRAFFIC send 10.99.0.2 81 1000000
broker_alone() { in_host ss -Htlnp "sport = :80" | grep -q 'users:(("cordon-broker"[^(]*))$'; }
expect "only the broker holds it" broker_alone
stop guest >/dev/null
freed() { [ -z "$(in_host ss -Htln 'sport = :80')" ]; }
expect "and it is free afterwards" within 3 freed
fails() { ! guest "$@" >$W/log/failed 2>&1; }
expect "UDP needs the setting: every peer's socket takes the port" fails -u 80 -- true
expect "and that is said" grep -q 'sysctl net.ipv4.ip_unprivileged_port_start=80' $W/log/failed
ip netns exec host sysctl -qw net.ipv4.ip_unprivileged_port_start=80
background guest -u 80 -- $TRAFFIC server 80
expect "with it port 80 is like any other" in_server $TRAFFIC udp-sizes 10.99.0.2 80
stop guest >/dev/null
ip netns exec host sysctl -qw net.ipv4.ip_unprivileged_port_start=1024
rm -f "$AUDIT"
as_user
if [ ${#RUN_AS[@]} != 0 ]; then
  expect "an ordinary user may not" fails -t 80 -- true
  expect "and is told the setting" grep -q 'sysctl net.ipv4.ip_unprivileged_port_start=80' $W/log/failed
fi
RUN_AS=()
rm -f "$AUDIT"
ulimit -Hn 200000 2>/dev/null && ulimit -n 200000
if [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 100000 ]; then
  begun=$(date +%s%N)
  background guest -t all,~22 -u all -- $TRAFFIC server 7777
  say "note: all ports of both protocols after $((($(date +%s%N) - begun) / 1000000)) ms;" \
    "broker $(grep -h VmRSS /proc/$(role broker)/status | tr -s ' \t' ' ')"
  expect "a port of all" in_server $TRAFFIC send 10.99.0.2 7777 1000000
  expect "and UDP" in_server $TRAFFIC udp-sizes fd00:99::2 7777
  expect "not the ephemeral ones" in_server $TRAFFIC refused 10.99.0.2 40000
  expect "not what is excluded" in_server $TRAFFIC refused 10.99.0.2 22
  expect "a port without service" in_server $TRAFFIC turned-away tcp 10.99.0.2 20000
  stop guest >/dev/null
else
  say "note: this caller may not open 100,000 files, so every port at once is not tried"
fi
rm -f "$AUDIT"
as_user
fails_with_few_files() { (ulimit -n 2000 && ulimit -Hn 2000 && rm -f $W/log/failed && fails -t all -- true); }
expect "too many for the limit of open files is refused" fails_with_few_files
expect "and that is said" grep -q 'open files' $W/log/failed
finish
