#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""meson_cases.py -- what `meson test` ran, as one TAP line for each named case.

    meson_cases.py LOG.json    (such as build/meson-logs/testlog.json)

The cases are what the programs printed as TAP.  A program that failed as a
whole although each case it got to tell of passed -- it crashed, told of fewer
cases than it planned, or ran into its time limit -- becomes a failed case
itself; so does a program that tells of no case, passed or failed.
"""

import json
import re
import sys

GOOD = ("OK", "SKIP", "EXPECTEDFAIL")
CASE = re.compile(r"^(not )?ok\b *\d* *-? *([^#]*?) *(?:# *SKIP\S* *(.*))?$", re.MULTILINE)


def tap(good, name, skip_reason=None):
    """One line; `skip_reason` is None for what was not skipped."""
    skip = "" if skip_reason is None else f" # SKIP {skip_reason or 'no reason given'}"
    return f"{'ok' if good else 'not ok'} - {name}{skip}"


def cases(entry):
    """The lines for one program's entry in meson's log."""
    program = entry["name"].rpartition(" / ")[2]
    verdict = entry["result"]
    passed = verdict in GOOD
    lines = [
        tap(not bad, f"{program}: {name}", reason)
        for bad, name, reason in (match.group(1, 2, 3)
                                  for match in CASE.finditer(entry.get("stdout") or ""))
    ]
    if not passed and not any(line.startswith("not ") for line in lines):
        lines.append(tap(False, f"{program}: the program as a whole ({verdict.lower()})"))
    elif not lines:
        lines.append(tap(passed, program, "it ran no case" if verdict == "SKIP" else None))
    return lines


def main():
    with open(sys.argv[1], encoding="utf-8") as log:
        for text in log:
            print("\n".join(cases(json.loads(text))))


if __name__ == "__main__":
    main()
