#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_purity.py -- no I/O, clock or heap hides from a linker.

    check_purity.py ARCHIVE...

Takes the archives of the plain build's pure core, all together, and asks nm
which symbols they need from elsewhere.  Only the few functions below may be
among them; describe.o, which formats text for people, may also have snprintf.
Prints TAP, a case for each archive.
"""

import collections
import os
import subprocess
import sys

import tap

ALLOWED = {
    "memcpy", "memmove", "memset", "memcmp", "memchr", "strlen",
    "__assert_fail",       # assert()
    "__stack_chk_fail",    # -fstack-protector
    "__popcountdi2",       # The compiler's own.
    "_GLOBAL_OFFSET_TABLE_",
}
ALLOWED_DESCRIBING = {"snprintf", "vsnprintf"}


def symbols(archive):
    """Object's name -> (what it defines, what it needs)."""
    listed = subprocess.run(
        [os.environ.get("NM", "nm"), "-A", "-P", archive],
        capture_output=True, text=True, check=True,
    ).stdout
    objects = collections.defaultdict(lambda: (set(), set()))
    for line in listed.splitlines():
        # archive[object]: symbol type [value size]
        where, symbol, kind = line.split(" ")[:3]
        name = where.rstrip(":").rpartition("[")[2].rstrip("]")
        objects[os.path.basename(name)][kind in "Uw"].add(symbol)
    return objects


def judge(objects, defined):
    """What of an archive's needs is not allowed."""
    for name, (_, needed) in sorted(objects.items()):
        allowed = ALLOWED | (ALLOWED_DESCRIBING if "describe" in name else set())
        for symbol in sorted(needed - defined - allowed):
            yield f"{name} needs {symbol}"


def main():
    archives = {archive: symbols(archive) for archive in sys.argv[1:]}
    defined = {
        symbol
        for objects in archives.values()
        for definitions, _ in objects.values()
        for symbol in definitions
    }
    results = []
    for archive, objects in archives.items():
        troubles = list(judge(objects, defined))
        if not objects:
            troubles.append("there are no objects in it")
        name = f"{os.path.basename(archive)} is pure ({len(objects)} objects)"
        results.append((name, troubles))
    tap.conclude(results)


if __name__ == "__main__":
    main()
