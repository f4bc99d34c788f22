#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bench-table.sh -- the table of docs/performance.md, measured on this machine.
#
#     tools/bench-table.sh [LOCKBENCH]
#
# Runs lock, put and get at 1, 64 and 256 clients, each REPS times (3) for SECS
# seconds (10) with a cell of its own; the points take turns, so that what changes
# on the machine hits all of them.  Prints Markdown: a line about the machine, and
# the medians with their extremes.  Files go to DIR (TMPDIR, or /tmp), which should
# be on a real disk.  Let nothing else run meanwhile.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lockbench=${1:-$root/build/tools/lockbench}
reps=${REPS:-3}
secs=${SECS:-10}
dir=${DIR:-${TMPDIR:-/tmp}}
clients=(1 64 256)
workloads=(lock put get)

[ -x "$lockbench" ] || { echo "bench-table.sh: $lockbench is not there; build it first" >&2; exit 1; }
results=$(mktemp)
trap 'rm -f "$results"' EXIT

for ((rep = 1; rep <= reps; rep++)); do
    for workload in "${workloads[@]}"; do
        for n in "${clients[@]}"; do
            echo "bench-table.sh: $rep of $reps: $workload, $n clients" >&2
            "$lockbench" -w "$workload" --clients "$n" --seconds "$secs" --dir "$dir" -o json \
                2>/dev/null >>"$results"
        done
    done
done

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
disk=$(df --output=fstype "$dir" | tail -n 1)
echo "$("$lockbench" --version), $(date -u +%F): $(nproc) processors (${cpu:-unknown}), $memory," \
    "$(uname -sr), files on $disk; $reps runs of $secs s, values of 256 octets."
echo
python3 - "$results" <<'END_OF_PYTHON'
import json
import statistics
import sys

runs = {}
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        run = json.loads(line)
        runs.setdefault((run["workload"], run["clients"]), []).append(run)


def cell(group, member, scale=1.0, digits=0):
    values = sorted(run[member] * scale for run in group if run[member] is not None)
    if not values:
        return "-"
    text = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        text += f" ({values[0]:,.{digits}f}–{values[-1]:,.{digits}f})"
    return text


print("| workload | clients | ops/s | p50 ms | p99 ms | max ms | server CPU us/op"
      " | client CPU us/op | errors |")
print("|---|---|---|---|---|---|---|---|---|")
for (workload, clients), group in runs.items():
    print(f"| {workload} | {clients} | {cell(group, 'ops_per_s')}"
          f" | {cell(group, 'p50_us', 1e-3, 2)} | {cell(group, 'p99_us', 1e-3, 2)}"
          f" | {cell(group, 'max_us', 1e-3, 1)}"
          f" | {cell(group, 'server_cpu_us_per_op', 1, 1)}"
          f" | {cell(group, 'client_cpu_us_per_op', 1, 1)}"
          f" | {sum(run['errors'] for run in group)} |")
END_OF_PYTHON
