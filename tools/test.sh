#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh -- everything that must hold before a commit counts: both compilers
# with warnings as errors, all tests under ASan and UBSan, the simulator's seeds,
# crash points and graphs, a tenth of the mutants, and real processes.
#
# Its last line is `N passed, N failed`, with `, N skipped` when something was.
# What is counted are named cases, however many seeds each of them runs.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/dev/need.sh
. "$root/tools/dev/need.sh"
cd "$root" || exit 1

jobs=$(nproc)
results=$root/build-test/results
cases=$results/cases.tap # One TAP line a case: "ok - NAME", "not ok - NAME", "... # SKIP why".

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

title() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
}

# Runs a command as one named case, for so many seconds at most.  What it prints
# goes into a file, and is shown when it fails.
named_case() {
    local name=$1 seconds=$2 start=$SECONDS log
    shift 2
    log="$results/$(tr -c 'a-zA-Z0-9\n' '-' <<<"$name").log"
    if timeout --kill-after=10 "$seconds" "$@" >"$log" 2>&1 </dev/null; then
        echo "ok - $name" | tee -a "$cases"
        echo "   $((SECONDS - start)) s; $(tail -n 1 "$log")"
    else
        echo "not ok - $name" | tee -a "$cases"
        tail -n 60 "$log"
        return 1
    fi
}

# Configures and builds a folder, from scratch or from where it stands.
# shellcheck disable=SC2317 # It is called, by name, through bash -c.
build() {
    local folder=$1
    shift
    if [ -f "$folder/build.ninja" ]; then
        meson setup --reconfigure "$folder" "$@" || return 1
    else
        meson setup "$folder" "$@" || return 1
    fi
    ninja -C "$folder"
}
export -f build

# Runs meson's tests of a folder; each of their cases counts.
meson_tests() {
    local folder=$1 logbase=$2
    shift 2
    rm -f "$folder/meson-logs/$logbase".*
    meson test -C "$folder" --no-rebuild --print-errorlogs --num-processes "$jobs" \
        --logbase "$logbase" "$@" </dev/null
    python3 tools/dev/meson_cases.py "$folder/meson-logs/$logbase.json" >"$results/$logbase.tap" ||
        echo "not ok - meson test of $folder ($*) left no log" >"$results/$logbase.tap"
    cat "$results/$logbase.tap" >>"$cases"
}

finish() {
    local passed failed skipped
    failed=$(grep -c '^not ok ' "$cases")
    skipped=$(grep '^ok ' "$cases" | grep -c ' # SKIP ')
    passed=$(grep '^ok ' "$cases" | grep -vc ' # SKIP ')
    title "Result"
    grep '^not ok ' "$cases"
    grep '^ok .* # SKIP ' "$cases"
    if [ "$skipped" -gt 0 ]; then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

mkdir -p "$results"
rm -f "$results"/*
: >"$cases"

need_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" || exit 1

title "Builds"
named_case "gcc builds without a warning" 900 \
    bash -c 'build build-gcc --werror -Dtests=enabled'
named_case "clang builds without a warning" 900 \
    env CC=clang bash -c 'build build-clang --werror -Dtests=enabled'
named_case "gcc builds with ASan and UBSan" 900 \
    bash -c 'build build-test -Db_sanitize=address,undefined -Dtests=enabled' || finish

title "Lint"
meson_tests build-gcc lint --suite lint

title "Tests under ASan and UBSan"
meson_tests build-test tests --no-suite lint --no-suite process

title "Simulation"
locksim=build-gcc/tests/sim/locksim
locksim_asan=build-test/tests/sim/locksim
named_case "simulator: seeds 1 to 5,000 pass, meet all that they must, no cell empty" 1200 \
    "$locksim" --seeds 1-5000 --jobs "$jobs" --require-sometimes --table
named_case "simulator: seeds 5,001 to 5,500 pass under ASan and UBSan" 1200 \
    "$locksim_asan" --seeds 5001-5500 --jobs "$jobs"
named_case "simulator: seeds 1 to 300 pass with real stores, on disks that fail" 600 \
    "$locksim" --full --seeds 1-300 --jobs "$jobs"
named_case "sweep: a death at every point of twenty scenarios, in every way" 300 \
    "$locksim" --sweep --jobs "$jobs"
named_case "sweep: a sixteenth of it under ASan and UBSan" 300 \
    "$locksim_asan" --sweep --sample 16 --jobs "$jobs"
named_case "digraphs: whenever a majority can talk, there is a master" 300 \
    "$locksim" --digraphs --jobs "$jobs"
named_case "one loss: each message is lost in turn" 300 \
    "$locksim" --one-loss --jobs "$jobs"
# A tenth of them, another each day; tools/nightly.sh has them all.
mapfile -t mutants < <(tools/mutants.sh --sample --list "$locksim")
for mutant in "${mutants[@]:-there-is-none}"; do
    named_case "mutant $mutant is killed within 1,000 seeds" 600 \
        tools/mutants.sh --jobs "$jobs" "$locksim" "$mutant"
done

title "Real processes under ASan and UBSan"
meson_tests build-test process --suite process

finish
