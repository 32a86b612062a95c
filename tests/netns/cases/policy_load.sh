# Policy files that are wrong, hostile, late or gone: at the start each is a clear error and the command does not run;
# at a reload the old policy stays, is said to, and traffic goes on.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
P=$W/files
mkdir -p $P
chmod 755 $P
good() {  # good NAME: a policy that opens the server
  cat <<END
version: 1
name: $1
egress:
  - {name: open, allow: [192.0.2.0/24, "2001:db8::/32", 10.99.0.0/24], ports: [tcp, udp]}
END
}
refused() {  # refused TEXT FILE...: exit status 2, TEXT on stderr, the command did not run
  local text=$1 file got options=()
  shift
  for file in "$@"; do options+=(--policy "$file"); done
  timeout 30 ip netns exec host "${RUN_AS[@]}" "$CORDON" run --no-control "${options[@]}" -- echo it ran >$W/log/out 2>$W/log/err
  got=$?
  [ $got = 2 ] || { say "status $got: $(cat $W/log/err)"; return 1; }
  grep -qF -- "$text" $W/log/err || { say "no \"$text\" in: $(cat $W/log/err)"; return 1; }
  ! grep -q 'it ran' $W/log/out
}
# The same, and soon: most of it is the start of the processes. A reader may use 2 s of a processor.
[ "$BYTES" -ge 1000000000 ] && SOON=2500 || SOON=10000
refused_soon() {
  local begun=$EPOCHREALTIME took
  refused "$@" || return 1
  took=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
  say "after $took ms"
  [ $took -lt $SOON ]
}
accepted() {
  local file options=()
  for file in "$@"; do options+=(--policy "$file"); done
  timeout 30 ip netns exec host "${RUN_AS[@]}" "$CORDON" run --quiet --no-control "${options[@]}" -- echo it ran | grep -q 'it ran'
}

good one >$P/good.yaml
expect "a good file" accepted $P/good.yaml
expect "a file that is not there" refused "$P/none.yaml:1:1: error P100: cannot open the file" $P/none.yaml
expect "a directory" refused "not a regular file" $P
expect "a device" refused "not a regular file" /dev/zero
expect "every file's errors at once" refused "$P/none2.yaml" $P/none.yaml $P/good.yaml $P/none2.yaml
cp $P/good.yaml $P/open.yaml && chmod 666 $P/open.yaml
expect "a file everyone may write to" refused "everyone may write to this file" $P/open.yaml
ln -s good.yaml $P/link.yaml && ln -s loop.yaml $P/loop.yaml && ln -s nowhere $P/dangling.yaml
expect "a symbolic link to a good file" accepted $P/link.yaml
expect "a link in a circle" refused "cannot open the file" $P/loop.yaml
expect "a link that leads nowhere" refused "cannot open the file" $P/dangling.yaml
nine=("$P"/good.yaml{,,,,,,,,})
expect "nine files" refused "given 9 times; 8 is the most" "${nine[@]}"
: >$P/empty.yaml
expect "an empty file" refused "the file is empty" $P/empty.yaml
{ good big; head -c 300000 /dev/zero | tr '\0' '#'; } >$P/big.yaml
expect "more than 256 KiB" refused_soon "more than 256 KiB" $P/big.yaml
head -c 100000 /dev/urandom >$P/noise.yaml
expect "noise" refused_soon "not UTF-8 text" $P/noise.yaml
{ good aliases; say 'a: &a [x,x,x]'; for i in 1 2 3 4 5 6 7 8 9; do say "b$i: [*a,*a,*a,*a,*a]"; done; } >$P/laughs.yaml
expect "an alias bomb" refused_soon "aliases are not supported" $P/laughs.yaml
{ printf 'version: 1\nname: deep\nx: '; head -c 200000 /dev/zero | tr '\0' '['; } >$P/deep.yaml
expect "nested 200,000 deep" refused_soon "nested deeper than 8 levels" $P/deep.yaml
{ printf 'version: 1\nname: wide\nx: ['; for ((i = 0; i < 2600; i++)); do printf 'a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,'; done; printf ']'; } >$P/wide.yaml
expect "65,000 values" refused_soon 'unknown key "x"' $P/wide.yaml
{ printf 'version: 1\nname: keys\n'; for ((i = 0; i < 20000; i++)); do printf 'k%d: x\n' $i; done; } >$P/keys.yaml
expect "20,000 unknown keys" refused_soon "unknown key" $P/keys.yaml
printf 'version: 1\nname: \033]0;owned\007\n' >$P/escape.yaml
expect "escape sequences" refused 'name "' $P/escape.yaml
expect "are not printed" not grep -q $'\033' $W/log/err

# A pipe can be a policy, once.
mkfifo $P/pipe
(good piped >$P/pipe) &
expect "a named pipe" accepted $P/pipe
expect "a pipe that nobody writes to" refused "nobody writes to this pipe" $P/pipe
(exec 9>$P/pipe; printf 'version: 1\n' >&9; sleep 12) &
expect "a writer that never ends" refused "was not read within 5 s" $P/pipe
wait $! 2>/dev/null
# The reader of one file dies: of whatever; here it is killed while it waits for the rest of its file.
killer() {
  exec 9>$P/pipe
  printf 'version: 1\n' >&9
  until role policy-reader >/dev/null; do sleep 0.01; done
  sleep 0.2
  inspect "$(role_of_pipe)" >$W/log/reader 2>&1
  kill -9 "$(role_of_pipe)"
}
# What surrounds a reader that has begun to read, as the kernel has it; one line for each thing that is wrong.
inspect() {
  local reader=$1 launcher name
  launcher=$(role launcher)
  has() { grep -qE "$2" "/proc/$reader/$1" || echo "wrong: $1 has no $2, but $(grep -E "${2%%[: ]*}" "/proc/$reader/$1")"; }
  has status '^Seccomp:[[:space:]]2$'
  has status '^Seccomp_filters:[[:space:]]2$'  # the loader's and its own
  has status '^NoNewPrivs:[[:space:]]1$'
  for name in CapInh CapPrm CapEff CapBnd CapAmb; do has status "^$name:[[:space:]]0+\$"; done
  has limits '^Max cpu time +2 +2 '
  has limits '^Max processes +0 +0 '
  grep -qE '__[at]san_init' "$CORDON" || has limits '^Max address space +402653184 +402653184 '
  for name in user net mnt pid ipc uts; do
    [ -n "$(readlink "/proc/$reader/ns/$name")" ] || echo "wrong: namespace $name cannot be read"
    [ "$(readlink "/proc/$reader/ns/$name")" != "$(readlink "/proc/$launcher/ns/$name")" ] ||
      echo "wrong: the launcher's namespace: $name"
  done
  [ -d "/proc/$reader/root/" ] && [ -z "$(ls -A "/proc/$reader/root/")" ] ||
    echo "wrong: its root is not empty: $(ls -A "/proc/$reader/root/" | head -n 5)"
  echo "inspected $reader"
}
role_of_pipe() {  # the reader that is blocked in the pipe: the others have ended
  local last
  for last in /proc/[0-9]*; do
    [ "$(readlink $last/fd/0 2>/dev/null)" = $P/pipe ] && grep -q policy-reader $last/cmdline && echo "${last#/proc/}"
  done
}
killer &
killing=$!
expect "a reader that dies is a message about its file" refused \
  "$P/pipe:1:1: error P100: the process that reads it failed: killed by signal 9" $P/good.yaml $P/pipe
wait $killing
confined() {
  cat $W/log/reader
  grep -qE '^inspected [0-9]+$' $W/log/reader && ! grep -q -e wrong -e 'No such' $W/log/reader
}
expect "while it reads it is confined in all ways" confined

if [ "$CORDON_CALLER" = 0 ]; then
  cp $P/good.yaml $P/secret.yaml && chmod 600 $P/secret.yaml
  as_user
  expect "a file that the user may not read" refused "cannot open the file: Permission denied" $P/secret.yaml
  RUN_AS=()
fi

# Reloads: `up` has an open connection all the time.
live=$P/live.yaml
good one >$live
: >$W/log/up.out
ip netns exec host "$CORDON" run --no-control --policy $live --audit-log "$AUDIT" -- \
  sh -c 'echo ready; while [ ! -e '$W'/log/enough ]; do sleep 0.05; done; '"$TRAFFIC send 192.0.2.10 $PORT 1000000" \
  >$W/log/up.out 2>$W/log/up.err &
pid_of[up]=$!
within 20 grep -q ready $W/log/up.out || die "the guest did not start: $(cat $W/log/up.err)"
generation() { grep -F '"event.action":"policy-loaded"' "$AUDIT" | tail -n1 | number sandbox.policy.generation; }
is_generation() { [ "$(generation)" = "$1" ]; }
rejections() { grep -cF '"event.action":"policy-rejected"' "$AUDIT"; }
are_rejections() { [ "$(rejections)" = "$1" ]; }
reload() { kill -HUP "$(role launcher)"; }
expect "the first policy" is_generation 1
good two >$live
reload
expect "a reload" within 5 is_generation 2
rejected=0
rejects() {  # rejects TEXT: a reload now fails with it, and the policy stays
  rejected=$((rejected + 1))
  reload
  within 10 are_rejections $rejected || { say "no record: $(tail -n 5 $W/log/up.err)"; return 1; }
  grep -qF -- "$1" $W/log/up.err || { say "no \"$1\" in $(tail -n 5 $W/log/up.err)"; return 1; }
  is_generation "${2:-2}"
}
rm $live
expect "a file that vanished keeps the policy" rejects "cannot open the file: No such file"
say 'version: 1' >$live
expect "a bad file keeps the policy" rejects 'error P'
chmod 666 $live
expect "a file that everyone may write to keeps the policy" rejects 'everyone may write'
rm $live && mkfifo $live
expect "a pipe cannot be read again" rejects 'a pipe can be read once'
rm $live && ln -s live.yaml $live
expect "a link in a circle keeps the policy" rejects 'Too many levels'
rm $live && good three >$live
reload
expect "a good one again is taken" within 5 is_generation 3
touch $W/log/enough
undisturbed() { wait ${pid_of[up]} || { tail -n 4 $W/log/up.err; tail -n2 "$AUDIT"; return 1; }; }
expect "the guest was not disturbed, and has its network" undisturbed

# --watch-policy, as Kubernetes mounts a ConfigMap.
publish() {
  mkdir $P/map/..$1
  cp $P/$1.yaml $P/map/..$1/policy.yaml
  ln -s ..$1 $P/map/..data_tmp
  mv -T $P/map/..data_tmp $P/map/..data
}
mkdir $P/map
good v1 >$P/v1.yaml; good v2 >$P/v2.yaml; say nonsense >$P/v3.yaml; good v4 >$P/v4.yaml
publish v1
ln -s ..data/policy.yaml $P/map/policy.yaml
: >"$AUDIT"
: >$W/log/map.out
ip netns exec host "$CORDON" run --no-control --watch-policy --policy $P/map/policy.yaml --audit-log "$AUDIT" -- \
  sh -c "echo ready; until [ -e $W/log/done ]; do sleep 0.05; done" >$W/log/map.out 2>$W/log/map.err &
pid_of[map]=$!
within 20 grep -q ready $W/log/map.out || die "the guest did not start: $(cat $W/log/map.err)"
publish v2
expect "a ConfigMap's new version is in force" within 5 is_generation 2
rm -r $P/map/..v1
publish v3
expect "a bad one is refused" within 5 are_rejections 1
publish v4
expect "and the next good one taken" within 5 is_generation 3
touch $P/map/..v4/policy.yaml
sleep 1
expect "what says the same is no reload" is_generation 3
touch $W/log/done
wait ${pid_of[map]}
finish
