#!/bin/bash
# What the compiler and the linker were asked to harden, read from the binary: hardening.sh BINARY [release]
set -u
binary=$1 kind=${2:-}
failures=0
expect() {  # expect WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/dev/null; then echo "ok: $what"; else echo "FAILED: $what"; failures=$((failures + 1)); fi
}
not() { ! "$@"; }
headers=$(readelf -W -h -l -d -n "$binary") || exit 1
symbols=$(readelf -W --dyn-syms "$binary")
has() { grep -Eq -- "$1" <<<"$headers"; }
calls() { grep -Eq -- "$1" <<<"$symbols"; }
expect "position independent" has 'Type: +DYN \(Position-Independent|FLAGS_1\).*PIE'
expect "GNU_RELRO" has '^ +GNU_RELRO'
expect "bound at start (full RELRO)" has '\(FLAGS_1\).*NOW|\(BIND_NOW\)'
expect "the stack is not executable" has '^ +GNU_STACK .* RW +0'
expect "no segment is writable and executable" not has '^ +LOAD .* RWE '
expect "code has a segment of its own" has '^ +LOAD .* R E '
expect "no relocations in code" not has '\(TEXTREL\)'
expect "no search path" not has '\((RPATH|RUNPATH)\)'
expect "stack protector" calls '__stack_chk_fail'
# The start files of some systems (Debian 12) have no note about it, so the whole has none; the marks are ours.
marked() { [ "$(LC_ALL=C grep -aobUP '\xf3\x0f\x1e\xfa' "$binary" | wc -l)" -gt 1000 ]; }
if [ "$(uname -m)" = x86_64 ]; then expect "branch targets are marked" marked; fi
if [ "$kind" = release ]; then
  expect "fortified calls" calls '__(read|memcpy|fprintf|printf|vsnprintf|snprintf|poll|memset|recv)_chk'
  # Built with the libc's checks, nothing that has a checked form is called without where its size is known; these
  # have no reason to be here at all.
  for call in gets strcpy strcat sprintf vsprintf system popen execvpe tmpnam mktemp; do
    expect "no $call()" not calls " $call(@|\$)"
  done
fi
[ $failures = 0 ]
