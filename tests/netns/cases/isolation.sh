# Where namespaces, or mounts, are refused (a container): cordon vm works with what there is, says what is missing, and
# refuses with --isolation strict. What does not need a namespace is there all the same.
. "$(dirname "$0")/../vm_world.sh"
start server server $TRAFFIC server $PORT
SOCKET=$W/log/vm.sock CHAT=' ' LESS=()
vm() {  # as vm_world.sh's, under $LESS
  local name=$1
  shift
  : >$W/log/$name.ready
  env --default-signal=INT,QUIT nsenter --net=/run/netns/host "${LESS[@]}" "$CORDON" vm $CHAT --policy $W/policy.yaml \
    --audit-log "$AUDIT" --ready-fd 7 "$@" 7>$W/log/$name.ready </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 20 test -s $W/log/$name.ready || die "$name did not get ready: $(cat $W/log/$name.err)"
}
line_is() { [ "$(sed -n "s/^$2:[[:space:]]*//p" /proc/$1/status)" = "$3" ] || { grep "^$2:" /proc/$1/status; return 1; }; }
still_confined() {  # still_confined ROLE PID
  local zero=0000000000000000 set
  expect "$1: its filter is there" line_is $2 Seccomp 2
  expect "$1: no new privileges" line_is $2 NoNewPrivs 1
  for set in CapInh CapPrm CapEff CapAmb; do expect "$1: $set is empty" line_is $2 $set $zero; done
  expect "$1: it is nobody" line_is $2 Uid "$(printf '65534\t65534\t65534\t65534')"
  expect "$1: no core file" grep -Eq '^Max core file size +0 +0 ' /proc/$2/limits
}
status() { "${LESS[@]}" $CORDON ctl --socket $W/log/ctl status; }
says_once() { [ "$(grep -c 'warning: reduced isolation' $W/log/$1.err)" = 1 ] && grep -q "without $2:" $W/log/$1.err; }
refuses() {  # refuses TEXT [OPTIONS]: one line besides the socket's
  local text=$1 got
  shift
  timeout 20 nsenter --net=/run/netns/host "${LESS[@]}" "$CORDON" "$@" --isolation strict --policy $W/policy.yaml --no-control \
    >$W/log/out 2>$W/log/err
  got=$?
  [ $got = 125 ] && [ "$(wc -l <$W/log/err)" = 1 ] && grep -qF -- "$text" $W/log/err || { cat $W/log/err; say "status $got"; return 1; }
}
# works_with NAME "MISSING" PREFIX...
works_with() {
  local name=$1 missing=$2 launcher
  LESS=("${@:3}")
  say "--- $name"
  AUDIT=$W/log/${name// /-}.jsonl
  vm one --socket $SOCKET --control $W/log/ctl
  launcher=${pid_of[one]}
  bridge qemu --connect $SOCKET
  configure
  expect "$name: traffic of each kind" works
  expect "$name: the host stays out of reach" in_box $TRAFFIC --timeout 2000 denied 10.99.0.2 $PORT
  expect "$name: one line says what is missing" says_once one "$missing"
  expect "$name: so does the status" grep -q '^isolation *PARTIAL' <(status)
  still_confined "$name: broker" "$(role broker)"
  still_confined "$name: translator" "$(role translator)"
  expect "$name: it can start no process" grep -Eq '^Max processes +0 +0 ' /proc/"$(role translator)"/limits
  if [ "$(uname -m)" = x86_64 ]; then
    expect "$name: translator: socket() ends it" $TRAFFIC force "$(role translator)" 41 2 1 0
    expect "$name: which is said" within 5 grep -q 'killed by signal 31' $W/log/one.err
    expect "$name: and its machine is told" ends qemu 0
    bridge qemu --connect $SOCKET
    configure
    expect "$name: the next connection works" works
  fi
  kill -KILL $launcher
  expect "$name: all end with the launcher" within 5 none_left
  wait $launcher 2>$W/log/wait
  end qemu
  rm -f $SOCKET $W/log/ctl
}
ALL="user-ns, net-ns, pid-ns, ipc-ns, uts-ns, mnt-ns, empty-root"
USER="setpriv --reuid=65534 --regid=65534 --clear-groups"
works_with "root in a container" "$ALL" setpriv --bounding-set=-sys_admin,-net_admin,-sys_ptrace $TRAFFIC forbid namespaces
expect "strict refuses: $(tail -n1 $W/log/err 2>/dev/null)" refuses "--isolation strict" vm --socket $SOCKET
expect "and names what is missing" refuses "user-ns, net-ns, pid-ns, ipc-ns, uts-ns" vm --socket $SOCKET
no_run() { ! nsenter --net=/run/netns/host "${LESS[@]}" "$CORDON" run --quiet --policy $W/policy.yaml -- echo it ran >$W/log/out 2>$W/log/err; }
expect "a command needs a namespace" no_run
expect "one line says so" test "$(wc -l <$W/log/err)" = 1
expect "and what does not" grep -q "cordon vm" $W/log/err
works_with "a user in a container" "$ALL, bounding-set" $USER $TRAFFIC forbid namespaces
expect "strict refuses" refuses "--isolation strict" vm --socket $SOCKET
works_with "no mounts" "empty-root" $TRAFFIC forbid mounts
expect "strict refuses" refuses "no empty-root" vm --socket $SOCKET
works_with "no more network namespaces" "net-ns" $USER $TRAFFIC forbid network
expect "strict refuses" refuses "no net-ns" vm --socket $SOCKET
# Only CAP_SYS_ADMIN, and no user namespace: the others are made without one.
works_with "no user namespaces" "user-ns" $TRAFFIC forbid users
expect "strict refuses" refuses "no user-ns" vm --socket $SOCKET

# As passt, which leaves root by itself.
LESS=("$TRAFFIC" forbid namespaces)
ln -s cordon $W/bin/passt
nsenter --net=/run/netns/host "${LESS[@]}" $W/bin/passt --foreground --socket $W/log/passt.sock 2>$W/log/passt.err &
passt_pid=$!
expect "passt starts, too" within 10 grep -q "reduced isolation" $W/log/passt.err
bridge qemu --connect $W/log/passt.sock
kill -TERM $passt_pid
expect "and ends" wait $passt_pid
end qemu
finish
