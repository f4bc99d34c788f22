#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# nightly.sh -- simulates for as long as it is let, and goes on where it left off.
#
#     tools/nightly.sh [--minutes M] [--jobs N] [--dir DIR] [--print]
#
# It takes slices in turn, each of a minute or less: seeds with the store in
# memory, seeds with real stores on disks that fail, both under ASan and UBSan too,
# a part of the crash sweep, and a mutant.  No seed is run twice.  What a slice came
# to is added to DIR/totals (DIR is build-nightly/), over all runs, when the slice is
# done; so the script may be stopped at any time, and loses a slice at most.
#
# A seed that fails is written down in DIR/failures/, with the commit and the command
# that replays it.  It counts as a failure until that file is removed by hand, which
# is when the defect is mended and the seed is a regression case.
#
# --print shows the totals and runs nothing.  The exit status is 0 if nothing has
# failed in any run.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

minutes=60
jobs=$(nproc)
dir=$root/build-nightly
print_only=false

# Seeds begin beyond those that tools/test.sh runs.
readonly FIRST_SEED=1000000 SLICE_SECONDS_MAX=900 SWEEP_PARTS=64
# Cheap stages come more often.
readonly ROTATION=(lite full lite asan sweep lite full full-asan mutants)

usage() {
    sed -n '4,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

fail_usage() {
    echo "nightly.sh: $1; see --help" >&2
    exit 64
}

while [ $# -gt 0 ]; do
    case $1 in
    --minutes | --jobs | --dir) [ $# -gt 1 ] || fail_usage "$1 needs a value" ;;&
    --minutes) minutes=$2 && shift 2 ;;
    --jobs) jobs=$2 && shift 2 ;;
    --dir) dir=$2 && shift 2 ;;
    --print) print_only=true && shift ;;
    -h | --help) usage && exit 0 ;;
    *) fail_usage "unknown argument $1" ;;
    esac
done
[[ $minutes =~ ^[0-9]+$ && $jobs =~ ^[0-9]+$ ]] || fail_usage "minutes and jobs are numbers"

totals=$dir/totals
failures=$dir/failures
mkdir -p "$failures"
touch "$totals"

# ------------------------------------------------------------------ totals
# One line a stage: name, slices, runs, ops, virtual hours, real seconds.

slices_of() {
    awk -v stage="$1" '$1 == stage { n = $2 } END { print n + 0 }' "$totals"
}

add_up() {
    awk -v stage="$1" -v runs="$2" -v ops="$3" -v hours="$4" -v seconds="$5" '
        $1 == stage { $2++; $3 += runs; $4 += ops; $5 += hours; $6 += seconds; found = 1 }
        { print }
        END { if (!found) print stage, 1, runs, ops, hours, seconds }' "$totals" >"$totals.new" &&
        mv "$totals.new" "$totals"
}

failures_count() {
    find "$failures" -type f -name "$1.*" | wc -l
}

print_totals() {
    printf '%-10s %10s %8s %12s %14s %10s\n' stage runs failed ops 'virtual hours' minutes
    local stage runs ops hours seconds
    while read -r stage _ runs ops hours seconds; do
        printf '%-10s %10d %8d %12d %14.1f %10.1f\n' "$stage" "$runs" \
            "$(failures_count "$stage")" "$ops" "$hours" \
            "$(awk -v s="$seconds" 'BEGIN { print s / 60 }')"
    done <"$totals"
    local failed
    failed=$(failures_count '*')
    awk -v failed="$failed" '{ hours += $5; seconds += $6 } END {
        printf "%.1f virtual hours in %.1f minutes; %d failed\n", hours, seconds / 60, failed }' \
        "$totals"
    find "$failures" -type f | sort
    [ "$failed" -eq 0 ]
}

# ---------------------------------------------------------------- failures

# Name of stage and run, then what is known of it.
write_down() {
    local stage=$1 name=$2
    local file="$failures/$stage.$name.$commit"
    {
        echo "commit $commit"
        echo "slice  $slice"
        cat
    } >"$file"
    echo "FAILED: see $file"
}

# Each failure is a line with FAILED, the plan, and the command that replays it.
write_down_all() {
    local stage=$1 log=$2 line name found=false
    while read -r line; do
        found=true
        name=$(sed 's/ FAILED.*//; s/[^a-zA-Z0-9]\{1,\}/-/g' <<<"$line")
        grep -F -A 2 -e "$line" "$log" | write_down "$stage" "$name"
    done < <(grep ' FAILED ' "$log")
    if ! $found; then
        tail -n 20 "$log" | write_down "$stage" "slice-$(slices_of "$stage")"
    fi
}

# ------------------------------------------------------------------ slices

# What locksim said it ran: runs, ops, virtual hours, real seconds.
count_log() {
    awk '/ (seeds|runs), / && !runs { runs = $1 }
         / ops \(/ { for (i = 2; i <= NF; i++) if ($i == "ops") ops = $(i - 1) }
         / virtual hours in / { for (i = 1; i <= NF; i++) if ($i == "virtual") {
             hours = $(i - 1); seconds = $(i + 3) } }
         / are taken / { for (i = 1; i <= NF; i++) if ($i == "which") runs = $(i + 1) }
         END { print runs + 0, ops + 0, hours + 0, seconds + 0 }' "$1"
}

# Runs a command as the next slice of a stage.
run_slice() {
    local stage=$1 log=$dir/slice.log good=true runs ops hours seconds
    shift
    slice=$*
    timeout --foreground --kill-after=10 $SLICE_SECONDS_MAX nice "$@" >"$log" 2>&1 </dev/null || good=false
    $stopped && return
    $good || write_down_all "$stage" "$log"
    read -r runs ops hours seconds < <(count_log "$log")
    add_up "$stage" "$runs" "$ops" "$hours" "$seconds"
}

# So many seeds behind those of earlier slices.
run_seeds() {
    local stage=$1 count=$2 first
    first=$((FIRST_SEED + $(slices_of "$stage") * count))
    shift 2
    run_slice "$stage" "$@" --seeds "$first-$((first + count - 1))" --keep-going --jobs "$jobs"
}

# In every second round, who dies comes back when the others have gone on.
run_sweep() {
    local slices later=()
    slices=$(slices_of sweep)
    if [ $((slices / SWEEP_PARTS % 2)) -eq 1 ]; then
        later=(--later)
    fi
    run_slice sweep "$plain" --sweep "${later[@]}" --sample $SWEEP_PARTS \
        --offset $((slices % SWEEP_PARTS)) --jobs "$jobs"
}

run_mutant() {
    local names name log=$dir/slice.log before=$SECONDS
    mapfile -t names < <(tools/mutants.sh --list "$plain")
    name=${names[$(($(slices_of mutants) % ${#names[@]}))]}
    slice="tools/mutants.sh $plain $name"
    if ! timeout --foreground $SLICE_SECONDS_MAX nice tools/mutants.sh --jobs "$jobs" "$plain" "$name" \
        >"$log" 2>&1 </dev/null; then
        $stopped && return
        write_down mutants "$name" <"$log"
    fi
    add_up mutants 1 0 0 $((SECONDS - before))
}

run_stage() {
    case $1 in
    lite) run_seeds lite 500 "$plain" ;;
    full) run_seeds full 200 "$plain" --full ;;
    asan) run_seeds asan 60 "$asan" ;;
    full-asan) run_seeds full-asan 30 "$asan" --full ;;
    sweep) run_sweep ;;
    mutants) run_mutant ;;
    esac
}

# -------------------------------------------------------------------- main

build() {
    local folder=$1
    shift
    if [ ! -f "$folder/build.ninja" ]; then
        meson setup "$folder" -Dtests=enabled "$@" >"$folder.log" 2>&1 || return 1
    fi
    ninja -C "$folder" tests/sim/locksim >"$folder.log" 2>&1
}

if $print_only; then
    print_totals
    exit
fi

exec 9>"$dir/lock"
flock -n 9 || fail_usage "another one runs in $dir"
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
slice=
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
for kind in plain asan; do
    options=()
    [ $kind = asan ] && options=("-Db_sanitize=address,undefined")
    if ! build "$dir/$kind" "${options[@]}"; then
        tail -n 20 "$dir/$kind.log"
        exit 1
    fi
done
plain=$dir/plain/tests/sim/locksim
asan=$dir/asan/tests/sim/locksim

stopped=false
trap 'stopped=true' INT TERM
begun=$(awk '{ n += $2 } END { print n + 0 }' "$totals")
SECONDS=0
for ((i = begun; SECONDS < minutes * 60; i++)); do
    run_stage "${ROTATION[i % ${#ROTATION[@]}]}"
    $stopped && break
done
print_totals
