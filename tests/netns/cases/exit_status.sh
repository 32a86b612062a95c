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
expect "no descriptor of cordon is left to the command" \
  test "$(guest -- sh -c 'ls /proc/self/fd | tr "\n" " "')" = "0 1 2 3 "
finish
