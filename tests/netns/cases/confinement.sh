# What confines the broker and the translator, read from the real processes at work: privileges, namespaces, files,
# and the filters, which must end each process at a call that it has no use for.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
line_is() { [ "$(sed -n "s/^$2:[[:space:]]*//p" /proc/$1/status)" = "$3" ] || { grep "^$2:" /proc/$1/status; return 1; }; }
namespace_of() { readlink /proc/$1/ns/$2; }
own() { local other; other=$(namespace_of "$launcher" $2) && [ -n "$other" ] && [ "$(namespace_of $1 $2)" != "$other" ]; }
shares() { local other; other=$(namespace_of "$launcher" $2) && [ -n "$other" ] && [ "$(namespace_of $1 $2)" = "$other" ]; }
empty_root() { [ -d /proc/$1/root/ ] && [ -z "$(ls -A /proc/$1/root/)" ]; }
# Nothing but sockets, pipes, the kernel's own objects, the tap and /dev/null; the broker has the caller's stderr and the
# kernel's count of socket memory (sandbox/broker_memory.cc), for reading.
only_descriptors() {
  local fd target
  [ -e /proc/$1/fd/3 ] || return 1
  for fd in /proc/$1/fd/*; do
    [ $2 = broker ] && [ "${fd##*/}" = 2 ] && continue
    target=$(readlink $fd) || continue
    case $target in
      socket:* | pipe:* | anon_inode:* | /dev/null | /dev/net/tun) ;;
      "$AUDIT") [ $2 = broker ] || { say "$target"; return 1; } ;;
      /proc/$1/net/sockstat) [ $2 = broker ] && grep -q '^flags:.*0$' /proc/$1/fdinfo/${fd##*/} || { say "$target"; return 1; } ;;
      *) say "$fd is $target"; return 1 ;;
    esac
  done
}
confined() {  # confined ROLE PID
  local zero=0000000000000000 set kind
  expect "$1: its final filter is there" line_is $2 Seccomp 2
  expect "$1: no new privileges" line_is $2 NoNewPrivs 1
  for set in CapInh CapPrm CapEff CapBnd CapAmb; do expect "$1: $set is empty" line_is $2 $set $zero; done
  for kind in user mnt ipc uts; do expect "$1: a $kind namespace of its own" own $2 $kind; done
  expect "$1: its root is empty" empty_root $2
  expect "$1: no file of the machine is open" only_descriptors $2 $1
}
# The command waits, then makes a connection: all is at work, and stays so.
connect="$TRAFFIC --timeout 5000 first $SERVER4 $PORT"
runs="$connect && echo ready; while ! [ -e $W/log/stop ]; do sleep 0.05; done; $connect"
run_all() {
  rm -f $W/log/stop
  background held -- sh -c "$runs"
  launcher=$(role launcher) broker=$(role broker) translator=$(role translator)
  confined broker "$broker"
  expect "broker: it acts in the machine's network" shares "$broker" net
  confined translator "$translator"
  for kind in net pid; do expect "translator: a $kind namespace of its own" own "$translator" $kind; done
  expect "translator: it can start no process" grep -Eq '^Max processes +0 +0 ' /proc/"$translator"/limits
  local command
  command=$(pgrep -P "$launcher" -x sh)
  expect "the guest's command has a network of its own" own "$command" net
  expect "launcher: a filter" line_is $launcher Seccomp 2
  expect "launcher: no new privileges" line_is $launcher NoNewPrivs 1
  expect "launcher: no core file" grep -Eq '^Max core file size +0 +0 ' /proc/$launcher/limits
  expect "launcher: CapEff is what it needs later" line_is $launcher CapEff $1
  expect "launcher: no other can be had" [ "$(sed -n 's/^CapBnd:.//p' /proc/$launcher/status)" = "$2" ]
  # The command is its caller's, with everything.
  expect "command: no filter" line_is $command Seccomp 0
  expect "command: set-user-ID programs work" line_is $command NoNewPrivs 0
  expect "command: it may have core files" test "$(sed -n 's/^Max core file size *//p' /proc/$command/limits)" = "$(sed -n 's/^Max core file size *//p' /proc/$$/limits)"
  [ $1 = 0000000000000000 ] || expect "command: it has the capabilities of its namespace" line_is $command CapEff "$(sed -n 's/^CapBnd:.//p' /proc/$command/status)"
}
end_all() {
  touch $W/log/stop
  wait "${pid_of[held]}"
}
# With its own filter on top of the launcher's.
new_translator() { local now; now=$(role translator) && [ "$now" != "$translator" ] && line_is "$now" Seccomp_filters 2; }

# setuid, setgid, setfcap, kill, dac_override; sys_ptrace with a control socket
kept=00000000800800e2 all=$(sed -n 's/^CapBnd:.//p' /proc/$$/status)
run_all $kept $kept
if [ "$(uname -m)" = x86_64 ]; then
  # name, number, arguments: a new socket, another address, another process
  for call in "socket 41 2 1 0" "bind 49 3 0 0" "clone 56 17 0 0 0 0"; do
    read -r name numbers <<<"$call"
    expect "translator: $name() ends it" $TRAFFIC force "$translator" $numbers
    expect "and another one takes its place" within 5 new_translator
    translator=$(role translator)
  done
  expect "the user is told why" grep -q 'killed by signal 31' $W/log/held.err
  expect "the guest has its network again" end_all
  expect "nothing is left" within 3 none_left
  run_all $kept $kept
  expect "broker: execve() ends it" $TRAFFIC force "$broker" 59 0 0 0
  no_translator() { ! role translator >/dev/null; }
  expect "and the translator with it" within 5 no_translator
  expect "the command goes on without network" not end_all
else
  expect "the command had its network to the end" end_all
fi
expect "nothing is left" within 3 none_left

as_user
AUDIT=$W/log/user.jsonl
if [ "$CORDON_CALLER" = 0 ]; then run_all 0000000000000000 $all; else run_all $kept $kept; fi
expect "the ordinary user's command had its network to the end" end_all
finish
