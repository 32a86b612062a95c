# A hostile monitor against a live cordon vm by the stream protocol: the rows STR-01 to STR-08 of docs/hostile-matrix.md.
. "$(dirname "$0")/live.sh"
MONITOR=${MONITOR:?path of hostile_monitor}
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs a second user"; exit 77; }
cp "$MONITOR" $W/bin/hostile_monitor || die "cannot copy the monitor"
live
chmod 666 $W/vm.sock
rows $W/bin/hostile_monitor
