#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage_report.py -- what a run of the simulator has executed of the core.

    coverage_report.py BUILD SOURCE [--functions] [--lines N --branches N]

Reads what a build with --coverage left behind, through `gcov --json-format`, and
prints lines and branches executed, by part; --functions adds every function that
has lines or branches left over, with their numbers.  With --lines and --branches the
exit status says whether so many percent were reached over all.

Not counted are
  - the branches of assertions: they fail in no good run;
  - switches for mutants, and what they switch on: off in a run that measures;
  - describe.c, which makes texts for people.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys

PARTS = (
    ("paxos/", re.compile(r"paxos/.*\.[ch]$")),
    ("lease/", re.compile(r"lease/.*\.[ch]$")),
    ("service", re.compile(r"lockd/(service[a-z_]*|pending)\.[ch]$")),
    ("client engine", re.compile(
        r"libclient/(acks|answer|call|election|engine|handle|happening|heap|input|link|locate"
        r"|lock|observer|session|verdict|watch|watch_pages|words)\.[ch]$")),
)
LEFT_OUT = re.compile(r"/describe\.c$")
ASSERTION = re.compile(r"\b(assert|static_assert|check_that)\(")


def end_of_parentheses(lines, first):
    """The number of the line on which what opens on `first` is closed again."""
    depth = 0
    for number in range(first, len(lines)):
        depth += lines[number].count("(") - lines[number].count(")")
        if depth <= 0:
            return number
    return first


def end_of_block(lines, first):
    """The line that closes the block opened on `first`, by its indentation."""
    indent = len(lines[first]) - len(lines[first].lstrip())
    for number in range(first + 1, len(lines)):
        if lines[number].startswith(" " * indent + "}"):
            return number
    return first


def exclusions(path):
    """Line numbers whose branches don't count, and those that don't count at all."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    branchless, absent = set(), set()
    for number, text in enumerate(lines):
        if ASSERTION.search(text) or "mutant(" in text:
            end = end_of_parentheses(lines, number)
            branchless.update(range(number + 1, end + 2))
        if re.search(r"\bif \(mutant\(\w+\)[^|]*\) \{$", text):
            absent.update(range(number + 2, end_of_block(lines, number) + 1))
    return branchless, absent


class Source:
    """What is known of one file: how often each line and branch was executed."""

    def __init__(self, path):
        self.branchless, self.absent = exclusions(path)
        self.lines = collections.Counter()
        self.function = {}
        self.branches = {}

    def add(self, line):
        """Takes what one object says of a line."""
        number = line["line_number"]
        if number in self.absent:
            return
        self.lines[number] += line["count"]
        self.function.setdefault(number, line.get("function_name", "?"))
        if number not in self.branchless:
            counts = [branch["count"] for branch in line["branches"]]
            known = self.branches.setdefault(number, [0] * len(counts))
            if len(known) == len(counts):
                self.branches[number] = [a + b for a, b in zip(known, counts)]

    def totals(self):
        """Lines executed, lines, branches taken, branches."""
        taken = sum(count > 0 for counts in self.branches.values() for count in counts)
        branches = sum(len(counts) for counts in self.branches.values())
        return (sum(count > 0 for count in self.lines.values()), len(self.lines), taken, branches)

    def leftovers(self):
        """By function: lines never executed, and how many branches never taken."""
        found = collections.defaultdict(lambda: [[], 0])
        for number, count in sorted(self.lines.items()):
            entry = found[self.function[number]]
            if count == 0:
                entry[0].append(number)
            else:
                entry[1] += sum(c == 0 for c in self.branches.get(number, []))
        return {name: entry for name, entry in found.items() if entry[0] or entry[1]}


def objects(build):
    """The .gcda files below the build folder."""
    for folder, _, names in os.walk(build):
        for name in names:
            if name.endswith(".gcda"):
                yield os.path.join(folder, name)


def read(build, root):
    """All sources of the parts, by path below the root."""
    sources = {}
    for path in objects(build):
        output = subprocess.run(
            ["gcov", "--json-format", "--stdout", "--branch-probabilities", path],
            cwd=build, check=True, capture_output=True).stdout
        for document in output.splitlines():
            report = json.loads(document)
            for file in report["files"]:
                full = os.path.realpath(os.path.join(build, file["file"]))
                name = os.path.relpath(full, root)
                if LEFT_OUT.search(name) or not any(p.match(name) for _, p in PARTS):
                    continue
                source = sources.setdefault(name, Source(full))
                for line in file["lines"]:
                    source.add(line)
    return sources


def percent(part, whole):
    """100.0 where there is nothing."""
    return 100.0 * part / whole if whole else 100.0


def print_totals(sources):
    """A table by part; returns the percentages over all."""
    total = [0, 0, 0, 0]
    print(f"{'part':<16} {'lines':>16} {'%':>6} {'branches':>16} {'%':>6}")
    for part, pattern in PARTS + (("all", None),):
        sums = total if pattern is None else [0, 0, 0, 0]
        for name, source in sources.items():
            if pattern is not None and pattern.match(name):
                sums = [a + b for a, b in zip(sums, source.totals())]
        if pattern is not None:
            total = [a + b for a, b in zip(total, sums)]
        lines, branches = f"{sums[0]} of {sums[1]}", f"{sums[2]} of {sums[3]}"
        print(f"{part:<16} {lines:>16} {percent(*sums[:2]):6.1f} "
              f"{branches:>16} {percent(*sums[2:]):6.1f}")
    return percent(*total[:2]), percent(*total[2:])


def ranges(numbers):
    """1, 2, 3, 7 as "1-3 7"."""
    spans = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def print_functions(sources):
    """Every function with something left over."""
    for name, source in sorted(sources.items()):
        for function, (lines, branches) in source.leftovers().items():
            text = f"lines {ranges(lines)}" if lines else ""
            missed = f"{branches} branches" if branches else ""
            print(f"{name} {function}: {', '.join(t for t in (text, missed) if t)}")


def main():
    """Reads, prints, judges."""
    parser = argparse.ArgumentParser(description="What a run has executed of the core.")
    parser.add_argument("build")
    parser.add_argument("source")
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--lines", type=float, default=0, metavar="N")
    parser.add_argument("--branches", type=float, default=0, metavar="N")
    options = parser.parse_args()
    sources = read(os.path.realpath(options.build), os.path.realpath(options.source))
    if not sources:
        sys.exit("coverage_report.py: nothing was measured")
    if options.functions:
        print_functions(sources)
    lines, branches = print_totals(sources)
    return 0 if lines >= options.lines and branches >= options.branches else 1


if __name__ == "__main__":
    sys.exit(main())
