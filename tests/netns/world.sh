# The world of the netns tests; every case sources it first.
#
#   guest --cordon-- [netns host] --veth-- [netns server]
#
# `host` is the machine cordon runs on: it has a default route to `server`, which stands for the Internet and owns
# the documentation prefixes 192.0.2.0/24, 198.51.100.0/24 and 2001:db8::/32. Services on the host listen on the
# wildcard address; the test policy opens the documentation prefixes by CIDR, so only host protection stands
# between the guest and a host address inside of them.
#
# The whole case runs in mount, network and PID namespaces of its own, with files on a tmpfs nobody else sees:
# when the case ends, is killed or times out, the kernel removes everything. Works as root and as an ordinary user.
set -u -o pipefail

if [ "${CORDON_WORLD:-}" != 1 ]; then
  : "${CORDON:?path of the cordon binary}" "${TRAFFIC:?path of the traffic binary}"
  user=(); [ "$(id -u)" = 0 ] || user=(--user --map-root-user)
  CORDON_WORLD=1 CORDON_CALLER=$(id -u) exec unshare "${user[@]}" --mount --net --pid --fork --kill-child \
    --mount-proc --propagation private bash "$0" "$@"
fi

W=/run/cordon-world
failures=0
server_pids=()
SERVER4=192.0.2.10 SERVER6=2001:db8::10 PORT=7777
# Addresses of the host inside the prefixes the policy opens, one for every way to become local.
HOST4=(10.99.0.2 192.0.2.131 192.0.2.132 192.0.2.133 198.51.100.200)
HOST6=(fd00:99::2 2001:db8::131 2001:db8::132 2001:db8::133 2001:db8:1::200)

say() { printf '%s\n' "$*"; }
die() { say "FAILED: $*"; exit 1; }
in_host() { ip netns exec host "$@"; }
in_server() { ip netns exec server "$@"; }

build_files() {
  mount -t tmpfs -o mode=755 none /run
  mkdir -p $W/bin $W/log /run/netns
  cp "$CORDON" $W/bin/cordon && cp "$TRAFFIC" $W/bin/traffic || die "cannot copy the binaries"
  chmod 755 $W/bin/*
  chmod 1777 $W/log
  CORDON=$W/bin/cordon TRAFFIC=$W/bin/traffic AUDIT=$W/log/audit.jsonl
  printf 'nameserver 192.0.2.53\n' >$W/resolv.conf
  touch $W/empty
  mount --bind $W/resolv.conf "$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)" ||
    die "cannot put a resolv.conf in place"
  # As root the device is private, so that its mode can be what an ordinary machine has.
  if mount -t tmpfs -o mode=755 none /dev/net 2>/dev/null && ! mknod -m 666 /dev/net/tun c 10 200 2>/dev/null; then
    umount /dev/net
  fi
  cat >$W/policy.yaml <<END
version: 1
name: world
egress:
  - name: documentation
    allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32", 10.99.0.0/24, "fd00:99::/64"]
    ports: [tcp, udp, icmp/echo]
  - name: names
    allow: dns
    ports: [udp/53, tcp/53]
END
}

build_network() {
  ip netns add host && ip netns add server || die "ip netns add"
  local ns
  for ns in host server; do
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
      net.ipv4.ping_group_range="0 2147483647" 2>/dev/null ||
      ip netns exec $ns sysctl -qw net.ipv4.ping_group_range="0 0"
    ip -n $ns link set lo up
  done
  # After the settings: new devices inherit them, and a link-local address that is still being checked answers nobody.
  ip link add up0 netns host type veth peer name dn0 netns server || die "veth"
  ip -n server addr add 10.99.0.1/24 dev dn0
  ip -n server addr add fd00:99::1/64 dev dn0 nodad
  ip -n server link set dn0 up
  local address
  for address in 192.0.2.10 192.0.2.53 192.0.2.54 198.51.100.10; do ip -n server addr add $address/32 dev lo; done
  for address in 2001:db8::10 2001:db8::53; do ip -n server addr add $address/128 dev lo nodad; done
  ip netns exec server sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  # Documentation space nobody owns is unreachable, and says so.
  ip -n server route add unreachable 198.51.100.0/24
  ip -n server route add unreachable 2001:db8:dead::/48
  # The host may choose its own address inside the documentation prefix as source.
  ip -n server route add 2001:db8::128/121 via fd00:99::2

  ip -n host addr add 10.99.0.2/24 dev up0
  ip -n host addr add fd00:99::2/64 dev up0 nodad
  ip -n host link set up0 up
  ip -n host addr add 192.0.2.131/32 dev up0
  ip -n host addr add 2001:db8::131/128 dev up0 nodad
  ip -n host link add br0 type bridge
  ip -n host addr add 192.0.2.132/32 dev br0
  ip -n host addr add 2001:db8::132/128 dev br0 nodad
  ip -n host link set br0 up
  ip -n host addr add 192.0.2.133/32 dev lo
  ip -n host addr add 2001:db8::133/128 dev lo nodad
  ip -n host route add local 198.51.100.128/25 dev lo
  ip -n host route add local 2001:db8:1::/64 dev lo
  ip -n host route add default via 10.99.0.1
  ip -n host route add default via fd00:99::1
}

# start NAME NETNS COMMAND...: a server of ours; waits for its "ready" line. Its pid is in server_pids[NAME].
declare -A pid_of=()
start() {
  local name=$1 ns=$2
  shift 2
  : >$W/log/$name.out  # the last server of this name was ready, too
  ip netns exec "$ns" "$@" </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 10 grep -q ready $W/log/$name.out || die "$name did not get ready: $(cat $W/log/$name.err)"
}
gone() { [ -z "$(tr -d '\0' 2>/dev/null <"/proc/$1/cmdline")" ]; }
stop() {  # stop NAME: ends it and prints what it printed
  kill -TERM "${pid_of[$1]}" 2>/dev/null
  within 5 gone "${pid_of[$1]}"  # not wait: this may be a subshell
  grep -v '^ready$' $W/log/$1.out
}

# within SECONDS COMMAND...: true as soon as the command succeeds.
within() {
  local end=$((SECONDS + $1 + 1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.02
  done
}

# guest [cordon options] -- COMMAND...: runs it in a sandbox on the host. LIMIT is the time in seconds.
RUN_AS=()
guest() {
  timeout --foreground "${LIMIT:-60}" ip netns exec host "${RUN_AS[@]}" "$CORDON" run ${CHAT:---quiet} ${CORDON_TEST_OPTIONS:-} --policy $W/policy.yaml \
    --audit-log "$AUDIT" "$@"
}
# The same in the background: background NAME [cordon options] -- COMMAND...; waits for a "ready" line of COMMAND.
background() {
  local name=$1
  shift
  : >$W/log/$name.out
  # A shell without job control lets its background processes ignore SIGINT.
  env --default-signal=INT,QUIT ip netns exec host "${RUN_AS[@]}" "$CORDON" run ${CHAT:---quiet} ${CORDON_TEST_OPTIONS:-} --policy $W/policy.yaml \
    --audit-log "$AUDIT" "$@" </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within "${PATIENCE:-20}" grep -q ready $W/log/$name.out || die "$name did not get ready: $(cat $W/log/$name.err)"
}

# expect WHAT COMMAND...: one check of the case. Not in a subshell, so that it may wait for a process of ours.
expect() {
  local what=$1 status
  shift
  "$@" >$W/log/expect 2>&1
  status=$?
  if [ $status = 0 ]; then
    say "ok: $what  $(tail -n1 $W/log/expect)"
  else
    say "FAILED: $what (status $status): $(tail -n 20 $W/log/expect)"
    failures=$((failures + 1))
  fi
}
not() { ! "$@"; }

number() {  # number FIELD <<<JSON
  sed -n "s/.*\"$1\": *\\([0-9][0-9]*\\).*/\\1/p" | tail -n1
}
recorded() { grep -F -- "$1" "$AUDIT" 2>/dev/null | grep -qF -- "$2"; }
audited() {  # audited REASON ADDRESS: there is a record of it
  within 3 recorded "\"event.reason\":\"$1\"" "\"destination.ip\":\"$2\""
}

# Processes of cordon, by role: launcher, broker, translator. The PID namespace is ours, so none is anybody else's.
cordon_processes() {
  local directory
  for directory in /proc/[0-9]*; do
    case "$(tr '\0' ' ' 2>/dev/null <"$directory/cmdline")" in
      *cordon\ --role=${1:-}* | *cordon\ run* | *cordon\ attach* | *cordon\ vm*) echo "${directory#/proc/}" ;;
    esac
  done
}
role() {  # role NAME: pid of the first process in this role
  local directory
  for directory in /proc/[0-9]*; do
    case "$(tr '\0' ' ' 2>/dev/null <"$directory/cmdline")" in
      "cordon --role=$1 "*) echo "${directory#/proc/}"; return 0 ;;
      "$CORDON run "*) [ "$1" = launcher ] && { echo "${directory#/proc/}"; return 0; } ;;
      "$CORDON attach "*) [ "$1" = attach ] && { echo "${directory#/proc/}"; return 0; } ;;
      "$CORDON vm "*) [ "$1" = vm ] && { echo "${directory#/proc/}"; return 0; } ;;
    esac
  done
  return 1
}
none_left() { [ -z "$(cordon_processes)" ]; }

as_user() {  # from now on guests are run by uid 65534, where the world may do that
  [ "$CORDON_CALLER" = 0 ] || { say "note: the caller is an ordinary user already"; return 0; }
  RUN_AS=(setpriv --reuid=65534 --regid=65534 --clear-groups)
}

finish() {
  expect "no process of cordon is left" within 3 none_left
  [ $failures = 0 ] || { say "$failures checks failed"; exit 1; }
  say "all checks passed"
  exit 0
}

BYTES=${CORDON_TEST_BYTES:-1073741824}
build_files
build_network
