# What stops the start is said in lines that name the place and the remedy; the command does not run.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
cat >$W/broken.yaml <<END
version: 1
name: Broken_Name
colour: blue
egress:
  - name: a
    allow: 10.0.0.5/8
  - name: a
    port: 443
END
complains() {  # complains STATUS TEXT... -- COMMAND...: fails with this status, and stderr has every text
  local status=$1 texts=() got
  shift
  while [ "$1" != -- ]; do texts+=("$1"); shift; done
  shift
  "$@" >$W/log/out 2>$W/log/err
  got=$?
  [ $got = "$status" ] || { say "status $got: $(cat $W/log/err)"; return 1; }
  local text
  for text in "${texts[@]}"; do grep -qF -- "$text" $W/log/err || { say "no \"$text\" in: $(cat $W/log/err)"; return 1; }; done
  ! grep -q 'it ran' $W/log/out
}
bare() { timeout 20 ip netns exec host "$@"; }
expect "all policy errors at once, with their places" complains 2 broken.yaml:2: broken.yaml:3: broken.yaml:6: \
  broken.yaml:7: -- bare $CORDON run --policy $W/broken.yaml -- echo it ran
expect "a policy file that is not there" complains 2 "$W/missing.yaml" -- \
  bare $CORDON run --policy $W/missing.yaml -- echo it ran
expect "an unknown option" complains 2 --colour -- bare $CORDON run --colour -- echo it ran
expect "an audit log that cannot be written" complains 125 /proc/no/such -- \
  bare $CORDON run --policy $W/policy.yaml --audit-log /proc/no/such -- echo it ran
if [ "$CORDON_CALLER" = 0 ]; then
  no_tun() { unshare -m sh -c 'mount -t tmpfs none /dev/net && exec "$@"' sh ip netns exec host "$@"; }
  expect "no /dev/net/tun" complains 125 "modprobe tun" -- no_tun $CORDON run --policy $W/policy.yaml -- echo it ran
  no_access() {
    unshare -m sh -c 'mount -t tmpfs -o mode=755 none /dev/net && mknod -m 600 /dev/net/tun c 10 200 && exec "$@"' sh \
      ip netns exec host setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
  }
  expect "a /dev/net/tun only root may open" complains 125 "chmod 0666 /dev/net/tun" -- \
    no_access $CORDON run --policy $W/policy.yaml -- echo it ran
fi
no_namespaces() {  # the limit of a user namespace of its own, not the machine's
  unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec timeout 20 "$@"' sh "$@"
}
expect "user namespaces switched off" complains 125 max_user_namespaces -- \
  no_namespaces $CORDON run --policy $W/policy.yaml -- echo it ran
finish
