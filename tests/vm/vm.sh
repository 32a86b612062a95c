# The world of the VM tests: that of the netns tests with real guests on its host. A case sources this first.
#
#   network NAME [cordon options]   starts `cordon vm` for the guest NAME
#   close_network NAME, kill_network NAME
#   boot NAME [QEMU options]        starts the guest and waits for it
#   vm NAME COMMAND...              runs a line of shell in the guest; prints its output, returns its status
#   reboot_vm NAME                  restarts the guest's kernel; QEMU goes on
#   unplug NAME                     ends the guest's QEMU
#
# Guests are known by process id and talk by named pipes in the world's own tmpfs; when the case ends, the PID
# namespace ends with it and nothing is left.
: "${INITRD:?path of the initrd; the kernel is beside it}"
KERNEL=$(dirname "$INITRD")/kernel
[ -r "$KERNEL" ] || { echo "no $KERNEL; make_initrd puts it there" >&2; exit 1; }
. "$(dirname "$0")/../../netns/world.sh"

LINK=stream QUEUES=1
declare -A talk_to=() hear_from=() mac_of=()
socket_of() { echo "$W/$1.sock"; }

network() {
  local name=$1
  shift
  if [ $LINK = vhost ]; then set -- --vhost-user "$@"; fi
  rm -f "$(socket_of "$name")"
  ip netns exec host "$CORDON" vm --socket "$(socket_of "$name")" ${CHAT:---quiet} ${CORDON_TEST_OPTIONS:-} --policy $W/policy.yaml \
    --audit-log "$AUDIT" "$@" </dev/null >$W/log/net-$name.out 2>$W/log/net-$name.err &
  pid_of[net-$name]=$!
  within 10 test -S "$(socket_of "$name")" || die "no socket for $name: $(cat $W/log/net-$name.err)"
}

close_network() {
  kill -TERM "${pid_of[net-$1]}"
  within 10 gone "${pid_of[net-$1]}" || die "cordon of $1 does not end"
}
kill_network() {
  kill -KILL "${pid_of[net-$1]}"
  wait "${pid_of[net-$1]}" 2>/dev/null
}

# The card's other end. LINK is stream (QEMU connects), descriptor (QEMU is given the connection), listen (cordon's side
# connects, by relay.py) or vhost (QEMU connects, again and again), with QUEUES pairs.
plug() {
  local name=$1 number=${#mac_of[@]} card=() queues="" to from by=()
  shift
  mac_of[$name]=${mac_of[$name]:-52:54:00:00:00:$(printf %02x $((number + 16)))}
  case $LINK in
    stream) card=(-netdev "stream,id=net0,server=off,addr.type=unix,addr.path=$(socket_of "$name")") ;;
    descriptor)
      card=(-netdev "socket,id=net0,fd=9")
      by=(python3 "$(dirname "$0")/../connected.py" "$(socket_of "$name")" 9)
      ;;
    listen) card=(-netdev "stream,id=net0,server=on,addr.type=unix,addr.path=$W/$name.qemu") ;;
    vhost)
      card=(-object "memory-backend-memfd,id=memory,size=160M,share=on" -machine memory-backend=memory
        -chardev "socket,id=card,path=$(socket_of "$name"),server=off,reconnect=1"
        -netdev "vhost-user,id=net0,chardev=card,queues=$QUEUES")
      # Without KVM, QEMU 7.2 follows a null pointer when a vhost-user card has MSI-X vectors.
      queues=,vectors=0
      [ "$QUEUES" = 1 ] || queues+=,mq=on
      card+=(-smp "$QUEUES")
      ;;
  esac
  rm -f $W/$name.in $W/$name.out
  mkfifo $W/$name.in $W/$name.out
  # Before QEMU: it must not find a pipe without a reader.
  exec {to}<>$W/$name.in {from}<>$W/$name.out
  talk_to[$name]=$to hear_from[$name]=$from
  "${by[@]}" qemu-system-x86_64 -accel tcg -nodefaults -no-user-config -display none -M q35 -m 160 -kernel "$KERNEL" -initrd "$INITRD" \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on ${APPEND:-}" \
    -serial file:$W/log/kernel-$name.log -chardev pipe,id=talk,path=$W/$name -serial chardev:talk "${card[@]}" \
    -device "virtio-net-pci,netdev=net0,mac=${mac_of[$name]},romfile=$queues${CARD:+,$CARD}" \
    "$@" </dev/null >$W/log/qemu-$name.log 2>&1 &
  pid_of[vm-$name]=$!
}
booted() {
  local line="" part begin=$SECONDS
  while [ $((SECONDS - begin)) -lt "${BOOT_LIMIT:-120}" ] && kill -0 "${pid_of[vm-$1]}" 2>/dev/null; do
    read -r -t 1 -u "${hear_from[$1]}" part || { line+=$part; continue; }
    line+=$part
    [[ $line == booted* ]] && { say "$1 $line, $((SECONDS - begin)) s for us"; return 0; }
    line=""
  done
  die "$1 does not boot: $(tail -n 5 $W/log/qemu-$1.log $W/log/kernel-$1.log)"
}
boot() {
  plug "$@"
  booted "$1"
}
reboot_vm() {
  echo "none reboot -f" >&"${talk_to[$1]}"
  booted "$1"
}
unplug() {
  kill -TERM "${pid_of[vm-$1]}"
  within 5 gone "${pid_of[vm-$1]}" || die "QEMU of $1 does not end"
  local to=${talk_to[$1]} from=${hear_from[$1]}
  exec {to}>&- {from}>&-
}

# ask NAME COMMAND...; answer NAME: the two halves of vm, to let two guests work at once.
ask() {
  local name=$1
  shift
  word_of[$name]=w${EPOCHREALTIME/[.,]/}
  printf '%s %s\n' "${word_of[$name]}" "$*" >&"${talk_to[$name]}"
}
declare -A word_of=()
answer() {
  local line
  while read -r -t "${VM_LIMIT:-120}" -u "${hear_from[$1]}" line; do
    [[ $line == *"@@${word_of[$1]} "* ]] && { printf '%s' "${line%%@@*}"; return "${line##* }"; }
    printf '%s\n' "$line"
  done
  echo "no answer from $1 within ${VM_LIMIT:-120} s"
  return 124
}
vm() {
  ask "$@"
  answer "$1"
}
