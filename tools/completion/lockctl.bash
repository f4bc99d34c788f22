# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
#
# lockctl.bash -- completion of lockctl's command line, for bash-completion.
#
# Commands and options are those of its --help, so this does not lag behind it.  Names
# are asked of the cell, if one answers at once; what stands on the line or in the
# environment says which.

# Appends those of the words given that begin with what is typed.
_lockctl_offer() {
    local word
    for word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}

# Does the option take an argument, as this help has it?
_lockctl_takes_argument() {
    grep -qE -e "(^|[^a-z-])$1(, --[a-z-]+)? [A-Z]" <<<"$2"
}

# The nodes below the directory in what is typed; $@ is lockctl with its options.
_lockctl_offer_names() {
    local folder kind name
    case $cur in
        /ls/*/* | [!/]*/*) folder=${cur%/*} ;;
        /*)
            _lockctl_offer /ls/local/
            compopt -o nospace
            return
            ;;
    esac
    while IFS=$'\t' read -r kind name; do
        if [[ $kind == directory ]]; then
            name+=/
        fi
        printf -v name %q "${folder:+$folder/}$name"
        _lockctl_offer "$name"
    done < <("$@" -o simple --timeout 500ms ls -l ${folder:+"$folder"} 2>/dev/null |
        sed -nE 's/^(file|directory)( +[^ ]+){6}  (.*)$/\1\t\3/p')
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi
}

# The ACLs that there are; $@ as above.
_lockctl_offer_acls() {
    local -a acls
    mapfile -t acls < <("$@" -o simple --timeout 500ms ls acl 2>/dev/null)
    _lockctl_offer "${acls[@]}"
}

# What the argument of the option $1 may be; the rest as above.
_lockctl_offer_argument() {
    case $1 in
        -o | --output) _lockctl_offer simple json table ;;
        --kinds) _lockctl_offer content child acl lock delete conflict ;;
        --level) _lockctl_offer linearizable lease sequential stale ;;
        --read | --write | --change)
            _lockctl_offer anyone
            _lockctl_offer_acls "${@:2}"
            ;;
    esac
}

# $1 is the command and the arguments it has already, the rest as above.
_lockctl_offer_operand() {
    case $1 in
        fence) _filedir ;;
        acl) _lockctl_offer get set ls ;;
        'acl ls') _lockctl_offer_acls "${@:2}" ;;
        check | status | fence\ *) ;;
        'acl get' | 'acl set') _lockctl_offer_names "${@:2}" ;;
        *\ *)
            if [[ $cur == @* ]]; then
                mapfile -t COMPREPLY < <(compgen -P @ -f -- "${cur#@}")
            fi
            ;;
        *) _lockctl_offer_names "${@:2}" ;;
    esac
}

_lockctl() {
    local cur prev words cword
    _init_completion -n =: || return
    local help command operands i
    local -a tool=("${words[0]}")
    help=$("${tool[@]}" --help 2>/dev/null) || return
    for ((i = 1; i < cword; i++)); do
        if [[ ${words[i]} == -- ]]; then
            _command_offset $((i + 1))
            return
        elif [[ ${words[i]} == -* ]]; then
            if [[ ${words[i]} != *=* ]] && _lockctl_takes_argument "${words[i]}" "$help"; then
                if ((++i == cword)); then
                    _lockctl_offer_argument "$prev" "${tool[@]}"
                    return
                fi
                [[ $command ]] || tool+=("${words[i - 1]}")
            fi
            [[ $command ]] || tool+=("${words[i]}")
        elif [[ $command ]]; then
            operands+=" ${words[i]}"
        else
            command=${words[i]}
            help=$("${tool[0]}" "$command" --help 2>/dev/null)
        fi
    done
    if [[ $cur == -* ]]; then
        mapfile -t words < <({
            grep -oE -e '(\[|\| |^ +(-[a-zA-Z], )?)--[a-z-]+' <<<"$help" | grep -o -e '--.*'
            echo --help
        } | sort -u)
        _lockctl_offer "${words[@]}"
    elif [[ $command ]]; then
        _lockctl_offer_operand "$command$operands" "${tool[@]}"
    else
        mapfile -t words < <(sed -nE 's/^  ([a-z]+) .*/\1/p' <<<"$help")
        _lockctl_offer "${words[@]}"
    fi
    __ltrim_colon_completions "$cur"
}

complete -F _lockctl lockctl
