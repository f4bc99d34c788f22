#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mutants.sh -- does the simulator notice when what it tests is broken?
#
# For each mutant of paxos/base/mutant.h, runs up to 1,000 seeds until one fails,
# and prints which check killed it.  A mutant that survives is a hole in our
# tests: the exit status is then not 0.
#
#     tools/mutants.sh [--seeds N] [--jobs N] [--lite | --full] [--sample] [--list]
#                      [PATH/TO/locksim] [NAME ...]
#
# Those of the store need real stores, on disks that fail (locksim --full).
# --full takes only these, --lite only the others; --sample takes a tenth, another
# each day, so that ten days see all; --list prints whom it would run.

set -eu

locksim=${LOCKSIM:-build/tests/sim/locksim}
seeds=1000
jobs=2
mode=all
sample=0
list=0
names=
# Bugs of the store, which only full simulation has.
full_mutants=' commit_not_synced failed_write_told mark_before_value row_sum_ignored'
full_mutants="$full_mutants cache_trusted wal_damage_dropped incarnation_kept sector_trusted "

usage() {
    sed -n '4,16s/^# \{0,1\}//p' "$0"
}

is_full() {
    case $full_mutants in
    *" $1 "*) return 0 ;;
    esac
    return 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --lite) mode=lite; shift ;;
    --full) mode=full; shift ;;
    --sample) sample=1; shift ;;
    --list) list=1; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "mutants.sh: unknown option $1; see --help" >&2; exit 64 ;;
    */*) locksim=$1; shift ;;
    *) names="$names $1"; shift ;;
    esac
done

if [ ! -x "$locksim" ]; then
    echo "mutants.sh: no simulator at $locksim; build it, or name another" >&2
    exit 64
fi

if [ -z "$names" ]; then
    for name in $("$locksim" --list-mutants | awk '{print $1}'); do
        if [ $mode = all ] || { [ $mode = full ] && is_full "$name"; } ||
            { [ $mode = lite ] && ! is_full "$name"; }; then
            names="$names $name"
        fi
    done
fi
if [ $sample = 1 ]; then
    # Every tenth, beginning at the one of the day.
    names=$(echo "$names" | tr -s ' ' '\n' | sed '/^$/d' |
        awk -v day=$(($(date +%s) / 86400)) '(NR - 1) % 10 == day % 10')
fi
if [ $list = 1 ]; then
    echo "$names" | tr -s ' ' '\n' | sed '/^$/d'
    exit 0
fi

killed=0
survived=0
took=
for name in $names; do
    option=
    if is_full "$name"; then
        option=--full
    fi
    status=0
    # shellcheck disable=SC2086 # No option is no argument.
    output=$("$locksim" $option --mutant "$name" --count "$seeds" --jobs "$jobs") || status=$?
    # first failure: seed 12, by agreement, after 13 seeds
    by=$(echo "$output" | sed -n 's/^first failure: seed [0-9]*, by \([a-z0-9-]*\), after .*/\1/p')
    after=$(echo "$output" | sed -n 's/^first failure: .*, after \([0-9]*\) seeds$/\1/p')
    if [ "$status" -ne 0 ] && [ -n "$by" ]; then
        printf '%-28s killed by %-14s seeds %s\n' "$name" "$by" "$after"
        killed=$((killed + 1))
        took="$took $after"
    else
        printf '%-28s SURVIVED %s seeds\n' "$name" "$seeds"
        survived=$((survived + 1))
    fi
done

if [ $killed -gt 0 ]; then
    # shellcheck disable=SC2086 # One number a line.
    printf '%s\n' $took | sort -n |
        awk '{ n[NR] = $1 } END { print "seeds: median", n[int((NR + 1) / 2)] ", worst", n[NR] }'
fi
echo "$killed killed, $survived survived"
[ $survived -eq 0 ] && [ $killed -gt 0 ]
