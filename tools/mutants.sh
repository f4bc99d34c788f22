#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mutants.sh -- does the simulator notice when the core is broken?
#
# For each mutant of paxos/base/mutant.h, runs up to 1,000 seeds until one
# fails, and prints which check killed it.  A mutant that survives is a hole in
# our tests: the exit status is then not 0.
#
#     tools/mutants.sh [--seeds N] [--jobs N] [--sample K] [PATH/TO/locksim] [NAME ...]
#
# --sample K takes K of them, others each day.

set -eu

locksim=${LOCKSIM:-build/tests/sim/locksim}
seeds=1000
jobs=2
sample=0
names=

usage() {
    sed -n '3,12s/^# \{0,1\}//p' "$0"
}

while [ $# -gt 0 ]; do
    case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --sample) sample=$2; shift 2 ;;
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

all=$("$locksim" --list-mutants | awk '{print $1}')
if [ -z "$names" ]; then
    names=$all
fi
if [ "$sample" -gt 0 ]; then
    # Days since the epoch choose where the window of K begins; it wraps around.
    names=$(echo $names | tr ' ' '\n' | awk -v k="$sample" -v day="$(($(date +%s) / 86400))" '
        { name[NR - 1] = $0 }
        END { if (k > NR) k = NR; for (i = 0; i < k; i++) print name[(day * k + i) % NR] }')
fi

killed=0
survived=0
for name in $names; do
    status=0
    output=$("$locksim" --mutant "$name" --count "$seeds" --jobs "$jobs") || status=$?
    # first failure: seed 12, by agreement, after 13 seeds
    by=$(echo "$output" | sed -n 's/^first failure: seed [0-9]*, by \([a-z0-9-]*\), after .*/\1/p')
    after=$(echo "$output" | sed -n 's/^first failure: .*, after \([0-9]*\) seeds$/\1/p')
    if [ "$status" -ne 0 ] && [ -n "$by" ]; then
        printf '%-28s killed by %-14s seeds %s\n' "$name" "$by" "$after"
        killed=$((killed + 1))
    else
        printf '%-28s SURVIVED %s seeds\n' "$name" "$seeds"
        survived=$((survived + 1))
    fi
done

echo "$killed killed, $survived survived"
[ "$survived" -eq 0 ]
