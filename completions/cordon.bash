# bash completion for cordon(1); needs nothing but bash. Commands, options and the kind of their values are read
# from `cordon --help`, so that they are those of the installed version.

# Lines "group option value": group is `attach` or `vm` for options of that command alone, else `any`; value is what the help
# shows, FILE for a name and best for a word to type. The arguments are the command whose help it is.
_cordon_options() {
  local group=any line value word
  "$@" --help 2>/dev/null | while IFS= read -r line; do
    case $line in
      *'(attach)') group=attach ;;
      *'(vm)') group=vm ;;
      [A-Z]*) group=any ;;
      '  -'*)
        line=${line#  }
        line=${line%%  *} # without the description
        value=${line##* }
        [[ $value != -* ]] || value=
        for word in ${line//,/ }; do
          [[ $word != -* ]] || printf '%s %s %s\n' "$group" "$word" "$value"
        done
        ;;
    esac
  done
}
_cordon_commands() { "$1" --help 2>/dev/null | sed -nE 's/^(Usage:|      ) cordon ([a-z]+).*/\2/p' | sort -u; }
_cordon_actions() { "$1" --help 2>/dev/null | sed -nE 's/^(Usage:|      ) cordon policy ([a-z|]+).*/\2/p' | tr '|' '\n'; }

# What `cordon ctl --help` lists under Actions.
_cordon_questions() { "$1" ctl --help 2>/dev/null | sed -nE 's/^  ([a-z]+).*/\1/p' | sort -u; }

_cordon_words() { mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$1" -- "$2" | sort -u); }
_cordon_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$1")
}

# _cordon_value OPTION VALUES WORD
_cordon_value() {
  local value
  case $1 in
    --features) _cordon_words '-tso -uso -udp-gso -udp-gro -checksum' "$3" ;;
    --audit-log) _cordon_words 'stderr journald syslog none' "$3" ;;
    --netns) _cordon_words "$(ls /run/netns 2>/dev/null)" "$3" ;;
    --name)
      for value in "${XDG_RUNTIME_DIR:-/run}"/cordon/*.sock /run/cordon/*.sock; do
        value=${value##*/}
        [[ $value == '*'.sock ]] || _cordon_words "${value%.sock}" "$3"
      done
      ;;
  esac
  for value in ${2//|/ }; do
    case $value in
      FILE | PATH) _cordon_files "$3" ;;
      [a-z]*) _cordon_words "$value" "$3" ;;
    esac
  done
}

# _cordon_offer BEFORE WORD COMMAND...: offers the values of option BEFORE; false where it has none. Adds the options
# of COMMAND... --help to the caller's names.
_cordon_offer() {
  local before=$1 word=$2 group name value values=''
  shift 2
  while read -r group name value; do
    [[ $group == any || $group == "$2" ]] && names+=" $name"
    [[ $name == "$before" && -n $value ]] && values+="$value|"
  done < <(_cordon_options "$@")
  [[ -n $values ]] && _cordon_value "$before" "$values" "$word"
}
# _cordon_policy BEFORE WORD PROGRAM ACTION
_cordon_policy() {
  local names='--help'
  _cordon_offer "$1" "$2" "$3" policy "$4" && return
  case $4 in
    check | show) if [[ $2 == -* ]]; then _cordon_words "$names" "$2"; else _cordon_files "$2"; fi ;;
    *) _cordon_words "$names dns tcp/ udp/ icmp/echo" "$2" ;;
  esac
}

_cordon() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  local i names='--help'
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _cordon_words "$(_cordon_commands "$1") --help --version" "$word"
    return
  fi
  # bash splits --name=value into three words.
  if [[ $word == = ]]; then
    word=''
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $command in
    run | attach | vm | ctl) ;;
    policy)
      if ((COMP_CWORD == 2)); then
        _cordon_words "$(_cordon_actions "$1") --help" "$word"
      else
        _cordon_policy "$before" "$word" "$1" "${COMP_WORDS[2]}"
      fi
      return
      ;;
    *) return ;;
  esac
  for ((i = 2; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -- ]] || continue
    if ((i + 1 == COMP_CWORD)); then mapfile -t COMPREPLY < <(compgen -c -- "$word"); fi
    _cordon_files "$word"
    return
  done
  [[ $command == run ]] && names+=' --'
  _cordon_offer "$before" "$word" "$1" "$command" && return
  if [[ $command == attach && $word != -* ]]; then
    _cordon_words "$(for i in /proc/[0-9]*; do [[ -O $i ]] && echo "${i#/proc/}"; done)" "$word"
  elif [[ $command == ctl && $word != -* ]]; then
    _cordon_words "$(_cordon_questions "$1")" "$word"
  else
    _cordon_words "$names" "$word"
  fi
}
complete -F _cordon cordon
