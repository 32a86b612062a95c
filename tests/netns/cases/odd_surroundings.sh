# What should not happen and does: the guest removes its interface, resolv.conf is no file, files may not grow,
# the translator cannot start.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
says() { grep -qF -- "$1" $W/log/err; }
run() { CHAT=${CHAT:---quiet} guest "$@" >$W/log/out 2>$W/log/err; }

run -- sh -c 'ip link del eth0; sleep 0.5; exit 4'
expect "a command that removes its interface goes on ($?)" test $? = 4
expect "it is told so" says "the guest's interface was removed from inside"
expect "in one line" test "$(wc -l <$W/log/err)" = 1
expect "there is a record" grep -q 'interface gone' "$AUDIT"

ignoring() { timeout -s KILL 20 env --ignore-signal=CHLD ip netns exec host $CORDON run --quiet -- sh -c 'exit 3'; }
ignoring
expect "a caller that ignores its children's ends ($?)" test $? = 3

run -- ''
expect "an empty command is not found ($?)" test $? = 127
expect "in words" says "COMMAND is an empty word"

small_files() { (ulimit -f 1; guest -- $TRAFFIC first $SERVER4 $PORT); }
expect "files of one kilobyte at most" small_files
many_refusals() { (ulimit -f 1; run -- sh -c "for i in 1 2 3 4 5; do $TRAFFIC --timeout 500 denied 10.99.0.2 \$i; done"); }
expect "even when the audit log cannot grow" many_refusals
expect "which is said" says "records are lost"

# A sanitizer's shadow memory needs terabytes of address space, before any of our own.
if grep -q __asan_init "$CORDON"; then
  say "note: not under AddressSanitizer: a translator without room for its tables"
else
  little_memory() { (ulimit -v 300000; run -- sh -c 'echo it ran'); }
  little_memory
  expect "a translator without room for its tables ends the start ($?)" test $? = 125
  expect "with its reason" says "not enough address space"
  expect "and the command did not run" not grep -q 'it ran' $W/log/out
fi

: >$W/resolv.conf
expect "without resolvers names are refused" not guest -- $TRAFFIC --timeout 1000 dns 10.0.2.3 53 udp a.example
expect "for that reason" audited no-resolver 10.0.2.3

umount "$(readlink -f /etc/resolv.conf)"
mkdir $W/etc
mount -t tmpfs none $W/etc
for name in passwd group nsswitch.conf hosts; do cp /etc/$name $W/etc/ 2>/dev/null; done
mkdir $W/etc/resolv.conf
mount --bind $W/etc /etc
expect "resolv.conf is a folder" guest -- sh -c "grep -q 10.0.2.3 /etc/resolv.conf && $TRAFFIC first $SERVER4 $PORT"
expect "which the machine keeps" test -d /etc/resolv.conf
rmdir /etc/resolv.conf
mkfifo /etc/resolv.conf
expect "resolv.conf is a pipe nobody writes to" guest -- sh -c "grep -q 10.0.2.3 /etc/resolv.conf && $TRAFFIC first $SERVER4 $PORT"
finish
