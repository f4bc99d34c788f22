#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# quickstart.sh -- from a fresh clone to a cell that survives its master.
# usage() below says how to call it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/dev/need.sh
. "$root/tools/dev/need.sh"

replicas=(1 2 3)
seconds_max=30 # For anything that is waited for.
dir=
temporary=     # Is `dir` one that we made up?
companions=()  # Processes that run beside the tour, in the order in which they began.

usage() {
    cat <<'END'
usage: tools/quickstart.sh [DIR]
           Build lockd, start a cell of three replicas on loopback in DIR (default:
           a fresh temporary folder) and show what becomes of files, locks, watches
           and elections when its master dies.
           On a terminal the cell goes on running, otherwise it is stopped.
       tools/quickstart.sh --start DIR
           Start the cell of DIR again.
       tools/quickstart.sh --stop DIR
           Stop the cell of DIR.  Its files stay.
END
}

die() {
    echo "quickstart: $*" >&2
    exit 1
}

title() {
    printf '\n# %s\n' "$*"
}

# Shows a command as one would type it, and runs it.
show() {
    local word line='$'
    for word in "$@"; do
        case $word in
        *[!a-zA-Z0-9_.,:=/@-]* | '') word="'$word'" ;;
        esac
        line+=" $word"
    done
    echo "$line"
    "$@"
}

# Waits until the command given succeeds; `what` says what for.
wait_until() {
    local what=$1 deadline=$((SECONDS + seconds_max))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || die "waited $seconds_max s for $what"
        sleep 0.05
    done
}

# --------------------------------------------------------------- processes

# Is this replica's process alive?  Its command line names its configuration,
# so that another process with a number used again is never taken for it.
alive() {
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$dir/$1.json"
}

gone() {
    ! alive "$1"
}

ready() {
    alive "$1" || die "replica $1 ended; the end of its log:
$(tail -n 5 "$dir/$1.log")"
    grep -q '^ready ' "$dir/$1.out"
}

# In a session of its own, so that Ctrl-C here doesn't reach it.
start_replica() {
    : >"$dir/$1.out"
    setsid lockd --config "$dir/$1.json" </dev/null >>"$dir/$1.out" 2>>"$dir/$1.log" &
    echo $! >"$dir/$1.pid"
    disown $!
    wait_until "the process of replica $1" started "$1" "$!"
}

# setsid has become lockd, or has failed to.
started() {
    alive "$1" || ! kill -0 "$2" 2>/dev/null
}

stop_cell() {
    local n
    for n in "${replicas[@]}"; do
        if alive "$n"; then
            kill -TERM "$(cat "$dir/$n.pid")"
        fi
    done
    for n in "${replicas[@]}"; do
        wait_until "replica $n to stop" gone "$n"
        rm -f "$dir/$n.pid"
    done
}

on_exit() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in "${companions[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ "$status" -ne 0 ] && [ -n "$dir" ]; then
        echo "quickstart: failed; stopping the cell of $dir" >&2
        stop_cell
    fi
    exit "$status"
}

# ------------------------------------------------------------------- steps

# A compiler's error is shown whole; its success, in one line.
build() {
    local log=$root/build/quickstart.log
    title "Building in build/"
    mkdir -p "$root/build"
    if [ ! -f "$root/build/build.ninja" ]; then
        meson setup "$root/build" "$root" >"$log" 2>&1 || { cat "$log"; die "meson failed"; }
    fi
    ninja -C "$root/build" lockd/lockd tools/lockctl tools/lockdump >"$log" 2>&1 ||
        { cat "$log"; die "the build failed"; }
    "$root/build/lockd/lockd" --version
}

# Three client ports and, a hundred above, three peer ports, all of them free.
# Below 32768, where no outgoing connection takes them in the meantime.
free_ports() {
    python3 - "${#replicas[@]}" <<'END'
import socket
import sys

def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

count = int(sys.argv[1])
for base in list(range(7400, 7500, 10)) + list(range(17400, 30000, 210)):
    if all(free(base + n) and free(base + 100 + n) for n in range(1, count + 1)):
        print(base)
        break
else:
    sys.exit("no free ports on 127.0.0.1 between 7400 and 30000")
END
}

write_configs() {
    local base n
    base=$(free_ports) || die "no free ports"
    for n in "${replicas[@]}"; do
        cat >"$dir/$n.json" <<END
{
    "cell": "quickstart",
    "replica": $n,
    "data_dir": "$dir/$n",
    "listen": "127.0.0.1:$((base + n))",
    "peers": {
        "1": "127.0.0.1:$((base + 101))",
        "2": "127.0.0.1:$((base + 102))",
        "3": "127.0.0.1:$((base + 103))"
    }
}
END
    done
    echo "127.0.0.1:$((base + 1)),127.0.0.1:$((base + 2)),127.0.0.1:$((base + 3))" >"$dir/endpoints"
}

start_cell() {
    local n
    for n in "${replicas[@]}"; do
        echo "\$ lockd --config $dir/$n.json &"
        start_replica "$n"
    done
    for n in "${replicas[@]}"; do
        wait_until "replica $n to be ready" ready "$n"
    done
    LOCKD_ENDPOINTS=$(cat "$dir/endpoints")
    export LOCKD_ENDPOINTS
    echo "\$ export LOCKD_ENDPOINTS=$LOCKD_ENDPOINTS"
}

# What a Python expression makes of `lockctl status`, whose JSON is `it`.
status() {
    lockctl -o json status 2>/dev/null |
        python3 -c "import json, sys; it = json.load(sys.stdin); print($1)"
}

master() {
    status 'it["master"]["replica"]'
}

# Does a master serve, and have all replicas applied the same slot?
level() {
    [ "$(status 'it["serving"] and len({r.get("status", {}).get("slot_applied")
                                        for r in it["replicas"]})')" = 1 ]
}

# How many more failures does the cell survive?
survives() {
    [ "$(status 'it["master"]["survives"]')" = "$1" ]
}

bring_back() {
    wait_until "replica $1 to be gone" gone "$1"
    echo "\$ lockd --config $dir/$1.json &"
    start_replica "$1"
    wait_until "replica $1 to be ready" ready "$1"
    wait_until "replica $1 to catch up" level
    wait_until "the cell to count on replica $1" survives 1
}

tour_of_files() {
    local n dead
    title "A cell of three replicas in $dir"
    write_configs
    show cat "$dir/1.json"
    for n in "${replicas[@]}"; do
        show lockd init --config "$dir/$n.json"
    done
    start_cell
    wait_until "a master" level
    show lockctl status

    title "A small file"
    show lockctl put motd "hello, cell"
    show lockctl get motd
    echo
    show lockctl stat motd

    dead=$(master)
    title "The master, replica $dead, dies"
    show kill -9 "$(cat "$dir/$dead.pid")"
    show lockctl get motd
    echo
    show lockctl put motd "life goes on"
    show lockctl get motd
    echo
    wait_until "the cell to miss replica $dead" survives 0
    show lockctl status

    title "It comes back and catches up"
    bring_back "$dead"
    show lockctl status
}

# Runs a command beside the tour; what it prints goes to a file.
beside() {
    local out=$dir/$1
    shift
    : >"$out"
    echo "\$ $* &"
    "$@" </dev/null >"$out" 2>"$out.err" &
    companions+=("$!")
    echo "[${#companions[@]}] $!"
}

# Companion $1 has printed so many lines to its file $2.
has_said() {
    kill -0 "${companions[$1 - 1]}" 2>/dev/null || die "it ended: $(cat "$dir/$2.err")"
    [ "$(wc -l <"$dir/$2")" -ge "$3" ]
}

# Ends a companion, who gives back what it holds and exits with 0.
dismiss() {
    local pid=${companions[$1 - 1]}
    show kill -TERM "$pid"
    wait "$pid" || die "lockctl ended with $?: $(cat "$dir/$2.err")"
}

# ------------------------------------------------------------------- locks

# Somebody else who wants the lock; what it prints once it holds goes to a file.
contend() {
    beside "lock.$((${#companions[@]} + 1))" lockctl lock leader
}

# What a Python expression makes of the claims on the lock: who holds it, and
# behind them those who wait, in the order in which they will be served.
claims() {
    lockctl -o json locks leader 2>/dev/null |
        python3 -c "import json, sys; it = json.load(sys.stdin)['claims']; print($1)"
}

# Does the cell show one holder and so many who wait?
queued() {
    [ "$(claims "[claim['held'] for claim in it] == [True] + [False] * $1")" = True ]
}

# Contender $1 holds the lock: it has said so.
holds() {
    has_said "$1" "lock.$1" 1
}

token_of() {
    awk '{print $3; exit}' "$dir/lock.$1"
}

# The lock goes from contender $1 to the next one, under a higher token.
hand_over() {
    local next=$(($1 + 1))
    dismiss "$1" "lock.$1"
    wait_until "contender $next to hold the lock" holds "$next"
    cat "$dir/lock.$next"
    [ "$(token_of "$next")" -gt "$(token_of "$1")" ] || die "the token has not grown"
}

tour_of_locks() {
    local dead before
    title "A lock, and two who wait for it"
    contend
    wait_until "the lock" holds 1
    cat "$dir/lock.1"
    contend
    wait_until "one to wait for the lock" queued 1
    contend
    wait_until "two to wait for the lock" queued 2
    show lockctl locks leader

    before=$(claims it)
    dead=$(master)
    title "The master, replica $dead, dies: the lock is still held, the queue as it was"
    show kill -9 "$(cat "$dir/$dead.pid")"
    show lockctl locks leader
    [ "$(claims it)" = "$before" ] || die "the holder or the queue is another one"

    title "The holder gives it back; those who wait are served in their order"
    hand_over 1
    hand_over 2
    [ "$(claims '[claim["token"] for claim in it]')" = "[$(token_of 3)]" ] ||
        die "the cell shows another holder"
    show lockctl locks leader
    dismiss 3 lock.3
    companions=()
    show lockctl locks leader
    bring_back "$dead"
}

# ------------------------------------------------------- events, elections

# What the observer has told last is this leader's value.
leads() {
    has_said 2 observe 1 && tail -n 1 "$dir/observe" | grep -qF "\"value\":\"$1\""
}

# The file $1 shows no line twice, and of these words each as often as it is given.
told_once() {
    local file=$dir/$1 word
    shift
    [ -z "$(sort "$file" | uniq -d)" ] || die "something was told twice"
    for word in "$@"; do
        [ "$(grep -cF "\"$word\"" "$file")" = 1 ] || die "$word was not told once"
    done
}

tour_of_events() {
    local dead from
    from=$(lockctl -o json get motd | python3 -c 'import json, sys; print(json.load(sys.stdin)["revision"])')
    title "Somebody watches a file, somebody the leader; two want to lead"
    beside watch lockctl watch --content --from "$from" motd
    beside observe lockctl observe office
    wait_until "the observer" has_said 2 observe 1
    beside elect.1 lockctl elect office alice
    wait_until "alice to lead" leads alice
    beside elect.2 lockctl elect office bob
    show lockctl put motd "before"

    dead=$(master)
    title "The master, replica $dead, dies: nothing is missed, nothing told twice"
    show kill -9 "$(cat "$dir/$dead.pid")"
    show lockctl put motd "after"
    dismiss 3 elect.1
    wait_until "bob to lead" leads bob
    wait_until "the watcher to hear of it" has_said 1 watch 2
    echo "# What the first has printed, and what the second:"
    cat "$dir/watch" "$dir/observe"
    told_once watch before after
    told_once observe alice bob
    dismiss 4 elect.2
    dismiss 2 observe
    dismiss 1 watch
    companions=()
    bring_back "$dead"
}

how_to_go_on() {
    cat <<END

The cell goes on running.  To use it:

    export LOCKD_ENDPOINTS=$LOCKD_ENDPOINTS
    build/tools/lockctl --help
    tail $dir/1.log

To stop it:

    tools/quickstart.sh --stop $dir
END
}

# -------------------------------------------------------------------- main

existing_dir() {
    [ -n "${1:-}" ] || { usage >&2; exit 64; }
    [ -f "$1/endpoints" ] || die "$1 holds no cell of this script"
    dir=$(cd "$1" && pwd)
}

fresh_dir() {
    if [ -z "${1:-}" ]; then
        dir=$(mktemp -d "${TMPDIR:-/tmp}/lockd-quickstart.XXXXXX")
        temporary=yes
        return
    fi
    mkdir -p "$1"
    [ -z "$(ls -A "$1")" ] || die "$1 is not empty; --start goes on with a cell that is there"
    dir=$(cd "$1" && pwd)
}

export PATH="$root/build/lockd:$root/build/tools:$PATH"
case "${1:-}" in
--help | -h)
    usage
    ;;
--stop)
    existing_dir "${2:-}"
    stop_cell
    echo "The cell of $dir is stopped; its files are still there."
    ;;
--start)
    existing_dir "${2:-}"
    for n in "${replicas[@]}"; do
        ! alive "$n" || die "replica $n of $dir runs already; nothing was done"
    done
    trap on_exit EXIT
    trap 'exit 130' INT TERM
    start_cell
    show lockctl status --wait "${seconds_max}s"
    how_to_go_on
    ;;
-*)
    usage >&2
    exit 64
    ;;
*)
    need_packages "${BUILD_PACKAGES[@]}"
    build
    trap on_exit EXIT
    trap 'exit 130' INT TERM
    fresh_dir "${1:-}"
    tour_of_files
    tour_of_locks
    tour_of_events
    if [ -t 1 ]; then
        how_to_go_on
    else
        title "Standard output is no terminal: stopping the cell"
        stop_cell
        [ -z "$temporary" ] || rm -r "$dir"
    fi
    ;;
esac
