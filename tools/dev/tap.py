# SPDX-License-Identifier: Apache-2.0
"""How the checks of this folder tell what they found: TAP, and the troubles on stderr."""

import sys


def conclude(results):
    """Ends the program with what it found: pairs of a name and its troubles, none of them
    if all is well."""
    failed = False
    results = [(name, list(troubles)) for name, troubles in results]
    print(f"1..{len(results)}")
    for number, (name, troubles) in enumerate(results, 1):
        failed |= bool(troubles)
        for trouble in troubles:
            print(trouble, file=sys.stderr)
        print(f"{'not ok' if troubles else 'ok'} {number} - {name}")
    sys.exit(failed or not results)
