# A hostile front end against a live cordon vm --vhost-user: the rows VU-01 to VU-22 of docs/hostile-matrix.md.
. "$(dirname "$0")/live.sh"
FRONT_END=${FRONT_END:?path of hostile_front_end}
cp "$FRONT_END" $W/bin/hostile_front_end || die "cannot copy the front end"
live --vhost-user
rows $W/bin/hostile_front_end
