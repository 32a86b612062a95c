# completions.zsh FOLDER WORD...: prints what the completion of FOLDER offers for the last word, one a line. zsh
# completes only in a terminal: a second zsh runs in one, and its compadd writes down what it was given. ZSH_COMPDUMP:
# a file that several calls may share.
zmodload zsh/zpty || exit 1
export ZDOTDIR=$(mktemp -d)
cat >$ZDOTDIR/.zshrc <<END
fpath=(${(q)1} \$fpath)
autoload -Uz compinit && compinit -u -d ${(q)ZSH_COMPDUMP:-$ZDOTDIR/dump}
compadd() {
  if [[ -n \${(M)@:#-[OAD]*} ]]; then builtin compadd "\$@"; return; fi
  local -a hits
  builtin compadd -O hits "\$@"
  print -rl -- \$hits >>$ZDOTDIR/offered
  builtin compadd "\$@"
}
offer() { _main_complete; : >$ZDOTDIR/done; compstate[insert]= compstate[list]=; }
zle -C offer complete-word offer
bindkey '^I' offer
PS1= RPS1=
: >$ZDOTDIR/started
END
shift
wait_for() {
  local i
  for ((i = 0; i < 1000; i++)); do
    [[ -e $ZDOTDIR/$1 ]] && return
    zpty -rt shell >/dev/null
    sleep 0.02
  done
  print -u2 "zsh: no $1"
  exit 1
}
: >$ZDOTDIR/offered
zpty -b shell exec zsh -d -i
wait_for started
zpty -wn shell "${(j: :)@}"$'\t'
wait_for 'done'
zpty -d shell
sort -u $ZDOTDIR/offered
rm -rf $ZDOTDIR
