# How each program is started, found and stopped. The guest is a sleeping process that is known by its argument.

NAP=86399
note() { printf 'bench: %s\n' "$*" >&2; }
ordinary=()
[ "$CORDON_CALLER" = 0 ] && ordinary=(setpriv --reuid=65534 --regid=65534 --clear-groups)

set_veth_mtu() {
  ip -n host link set up0 mtu "$1"
  ip -n server link set dn0 mtu "$1"
  # Routes of addresses that were lost on the way down to a small MTU and back.
  ip -n host -6 addr replace fd00:99::2/64 dev up0 nodad
  ip -n server -6 addr replace fd00:99::1/64 dev dn0 nodad
}

processes_with() {  # processes_with PATTERN: pids whose command line matches
  local directory
  for directory in /proc/[0-9]*; do
    if grep -qE "$1" <<<"$(tr '\0' ' ' 2>/dev/null <"$directory/cmdline")"; then echo "${directory#/proc/}"; fi
  done
}
nap() { processes_with "^sleep $NAP " | head -n1; }
program_processes() {
  case $1 in
    cordon | cordon2) processes_with "^[^ ]*cordon (--role=|run )" ;;
    pasta) processes_with "^$PASTA" ;;
    slirp4netns) processes_with "^$SLIRP4NETNS" ;;
  esac
}

# launch PROGRAM MTU COMMAND...: the program with a guest that runs the command, in the foreground.
launch() {
  local program=$1 mtu=$2 threads=2 napper
  shift 2
  case $program in
    cordon | cordon2)  # one worker, two workers
      [ "$program" = cordon ] && threads=1
      exec ip netns exec host "$CORDON" run --quiet --threads $threads --mtu "$mtu" --policy $W/policy.yaml -- "$@"
      ;;
    pasta)
      exec ip netns exec host "${ordinary[@]}" "$PASTA" --quiet --config-net --no-map-gw --mtu "$mtu" -- "$@"
      ;;
    slirp4netns)
      ip netns exec host unshare --net sleep $NAP >/dev/null 2>&1 &
      until napper=$(nap) && [ -n "$napper" ]; do :; done
      ip netns exec host "$SLIRP4NETNS" --configure --mtu="$mtu" --disable-host-loopback --ready-fd=3 \
        "$napper" tap0 3>$W/slirp.ready >/dev/null 2>&1 &
      until [ -s $W/slirp.ready ]; do sleep 0.001; done
      rm -f $W/slirp.ready
      [ "$1" = sleep ] || nsenter --net=/proc/"$napper"/ns/net "$@"
      ;;
    veth) exec ip netns exec host "$@" ;;
  esac
}

begin() {  # begin PROGRAM MTU: a guest to put commands into
  (launch "$1" "$2" sleep $NAP) >/dev/null 2>$W/log/program.err &
  within 10 test_nap && within 10 inside $TRAFFIC --timeout 500 first $SERVER4 $PORT >/dev/null 2>&1
}
test_nap() { [ -n "$(nap)" ]; }
inside() { nsenter --net=/proc/"$(nap)"/ns/net "$@"; }
end() {  # ends the guest, and with it the program
  local pid
  for pid in $(nap) $(program_processes "$1"); do kill -TERM "$pid" 2>/dev/null; done
  within 3 nothing_of "$1" || for pid in $(program_processes "$1") $(nap); do kill -KILL "$pid" 2>/dev/null; done
  within 3 nothing_of "$1"
}
nothing_of() { [ -z "$(nap)$(program_processes "$1")" ]; }

# Debian's builds do not know their version, the package does.
version_of() {  # version_of PATH PACKAGE
  local text
  text=$("$1" --version 2>/dev/null | head -n1)
  case $text in
    '' | *unknown*) text="$(basename "$1") $(dpkg-query -W -f '${Version}' "$2" 2>/dev/null || echo of unknown version)" ;;
  esac
  echo "$text"
}

versions() {
  echo
  echo "Measured $(date -u +%Y-%m-%d) on Linux $(uname -r), $(nproc) cores," \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1): $("$CORDON" --version);" \
    "$(version_of "$PASTA" passt); $(version_of "$SLIRP4NETNS" slirp4netns)."
  echo
}
