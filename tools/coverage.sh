#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh -- how much of paxos/, lease/, the service and the client engine does
# the simulator execute, by itself?
#
# Builds it with gcc --coverage in a folder of its own, runs the same seeds each
# time, and prints lines and branches; tools/dev/coverage_report.py says what is not
# counted.  Fails below 95 % of the lines or 85 % of the branches.
#
#     tools/coverage.sh [--folder build-coverage] [--seeds 200] [--functions]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/build-coverage
seeds=200
report=()

while [ $# -gt 0 ]; do
    case $1 in
    --folder) folder=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    --functions) report+=("$1"); shift ;;
    -h | --help) sed -n '4,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "coverage.sh: unknown option $1; see --help" >&2; exit 64 ;;
    esac
done

if [ ! -f "$folder/build.ninja" ]; then
    CC=gcc meson setup "$folder" "$root" -Db_coverage=true -Doptimization=0 >/dev/null
fi
ninja -C "$folder" tests/sim/locksim >"$folder/build.log" || { cat "$folder/build.log"; exit 1; }
find "$folder" -name '*.gcda' -delete

# In one process each, which ends as a process should: only then it tells what it did.
locksim=$folder/tests/sim/locksim
half=$((seeds / 2))
"$locksim" --hash --seeds "1-$half" >/dev/null &
"$locksim" --hash --seeds "$((half + 1))-$seeds" >/dev/null
wait $!
"$locksim" --hash --seeds 1-5 --profile calm --seconds 30 >/dev/null
"$locksim" --hash --seeds 1-20 --profile lose --seconds 20 >/dev/null
"$locksim" --hash --seeds "1-$((seeds / 5))" --full >/dev/null

echo "$seeds seeds with faults, 5 calm ones, 20 that lose an answer, $((seeds / 5)) full ones:"
exec "$root/tools/dev/coverage_report.py" "$folder" "$root" --lines 95 --branches 85 "${report[@]}"
