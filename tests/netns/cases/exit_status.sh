# The exit status is the command's; so are its standard streams; the last signal passes on.
. "$(dirname "$0")/../world.sh"
status_of() { guest "${@:2}"; [ $? = "$1" ]; }
expect "0" status_of 0 -- true
expect "1" status_of 1 -- false
expect "42" status_of 42 -- sh -c 'exit 42'
expect "killed by SIGTERM" status_of 143 -- sh -c 'kill -TERM $$'
expect "not found" status_of 127 -- no-such-program-anywhere
expect "not executable" status_of 126 -- /etc/passwd
expect "stdin and stdout are the command's" test "$(echo through | guest -- cat)" = through
descriptors() { "$@" sh -c 'ls /proc/self/fd | tr "\n" " "'; }
expect "the command gets the caller's descriptors and none of cordon's" \
  test "$(descriptors guest --)" = "$(descriptors in_host)"
finish
