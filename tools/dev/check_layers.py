#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_layers.py -- which file may include what.

    check_layers.py [ROOT]

The table below is the picture of docs/ARCHITECTURE.md in a form that can fail.
Each source of the tree is judged by the first row that matches its path.  A row
that seems in the way is a decision to discuss, not a line to widen.  Prints TAP.
"""

import fnmatch
import pathlib
import re
import sys

import tap

FOLDERS = ("paxos", "lease", "lockd", "libclient", "tools", "tests", "docs")

# All that the pure core may know of libc.
FIVE = {"stdint.h", "stdbool.h", "stddef.h", "string.h", "assert.h"}
SOCKETS = {"sys/socket.h", "netinet/in.h", "netinet/tcp.h", "netdb.h", "arpa/inet.h"}


class Only(set):
    """These system headers and no others."""

    def allows(self, header):
        return header in self


class Except(set):
    """Any system header but these."""

    def allows(self, header):
        return header not in self


# paths; headers of ours that they may include; system headers
TABLE = (
    # The pure core.
    ("paxos/base/hash.c", ["paxos/base/*"], Only(FIVE | {"xxhash.h"})),
    ("paxos/base/*", ["paxos/base/*"], Only(FIVE)),
    ("paxos/describe.c", ["paxos/*"], Only(FIVE | {"stdio.h", "stdarg.h", "inttypes.h"})),
    ("paxos/*", ["paxos/*"], Only(FIVE)),
    ("lease/describe.c", ["lease/*", "paxos/base/*"],
     Only(FIVE | {"stdio.h", "stdarg.h", "inttypes.h"})),
    ("lease/*", ["lease/*", "paxos/base/*"], Only(FIVE)),
    (("lockd/service*", "lockd/pending*"),
     ["paxos/*", "lease/*", "lockd/service*", "lockd/pending*", "lockd/store.h"], Only(FIVE)),

    # The daemon's shell: each third party behind one door.
    ("lockd/store.h", ["paxos/*", "lease/*"], Only(FIVE)),
    ("lockd/store*", ["lockd/store*", "lockd/clock.h", "paxos/*", "lease/*"],
     Except({"ev.h", "jansson.h", "xxhash.h", "pthread.h"} | SOCKETS)),
    ("lockd/gateway*", ["lockd/gateway*", "lockd/service.h", "lockd/siphash.h", "lease/*",
                        "paxos/base/*", "libclient/wire.h", "libclient/names.h"],
     Except({"ev.h", "sqlite3.h", "jansson.h", "xxhash.h", "pthread.h"} | SOCKETS)),
    (("lockd/config*.c", "lockd/config_internal.h"), ["lockd/*"],
     Except({"ev.h", "sqlite3.h", "xxhash.h", "pthread.h"})),
    ("lockd/*", ["lockd/*", "paxos/*", "lease/*", "libclient/wire.h", "libclient/names.h"],
     Except({"sqlite3.h", "jansson.h", "xxhash.h"})),

    # The client's half depends on nothing else in the tree, but for the switch of
    # the simulator's mutants.  What drives the engine comes first, then the engine:
    # pure, except for a heap (docs/decisions/0021-the-client-engine-has-a-heap.md).
    ("libclient/lockd.h", [], Only({"stdint.h", "stdbool.h", "stddef.h"})),
    ("libclient/lockd_fence.h", ["libclient/lockd.h"], Only(set())),
    ("libclient/lockd_ev.h", ["libclient/lockd.h"], Only({"ev.h"})),
    ("libclient/lockd_uv.h", ["libclient/lockd.h"], Only({"uv.h"})),
    ("libclient/lockd_sd_event.h", ["libclient/lockd.h"],
     Only({"sys/epoll.h", "systemd/sd-event.h"})),
    ("libclient/names.h", [], Only(set())),
    ("libclient/wire.h", ["libclient/names.h"], Only(FIVE)),
    ("libclient/wire*", ["libclient/wire*", "libclient/names.h"],
     Except({"ev.h", "sqlite3.h", "xxhash.h", "pthread.h"} | SOCKETS)),
    (("libclient/client*", "libclient/driver*", "libclient/resolve*"),
     ["libclient/client*", "libclient/driver*", "libclient/resolve*", "libclient/engine.h",
      "libclient/lockd.h"],
     Except({"ev.h", "sqlite3.h", "xxhash.h", "jansson.h"})),
    # The fence stands alone: it knows neither client nor protocol.
    ("libclient/fence_file*", ["libclient/fence.h", "libclient/lockd_fence.h", "libclient/lockd.h"],
     Except({"ev.h", "sqlite3.h", "jansson.h", "xxhash.h", "pthread.h"} | SOCKETS)),
    ("libclient/fence*", ["libclient/fence.h", "libclient/lockd_fence.h", "libclient/lockd.h",
                          "libclient/list.h", "paxos/base/mutant.h"], Only(FIVE | {"stdlib.h"})),
    ("libclient/*", [f"libclient/{part}.h" for part in (
        "acks", "answer", "engine", "engine_internal", "happening", "heap", "kept", "list", "locate", "lockd", "names",
        "wire")] + ["paxos/base/mutant.h"],
     Only(FIVE | {"stdlib.h"})),

    # Programs that users write: the library as it is installed.
    ("docs/examples/*", ["docs/examples/*"], Except({"ev.h", "sqlite3.h", "jansson.h", "xxhash.h"})),

    # The tools: clients on one side, readers of a stopped replica on the other.
    ("tools/lockdump*", ["tools/lockdump*", "lockd/store.h", "paxos/*", "lease/*"],
     Except({"ev.h", "sqlite3.h", "jansson.h", "pthread.h"} | SOCKETS)),
    # Judges know the form of commands, results and events, and call nothing that decides.
    ("tools/check/*", ["tools/check/*", "lease/types.h", "lease/command.h", "lease/lease.h",
                       "paxos/base/*"],
     Except({"ev.h", "sqlite3.h", "pthread.h"} | SOCKETS)),
    (("tools/lockctl_link*", "tools/lockctl_cell*"),  # What each replica itself says.
     ["tools/lockctl*", "libclient/wire.h", "libclient/names.h"],
     Except({"ev.h", "sqlite3.h", "jansson.h", "xxhash.h", "pthread.h"})),
    ("tools/lockbench_cell*", ["tools/lockbench*"],  # It asks which replica is the master.
     Except({"ev.h", "sqlite3.h", "xxhash.h", "pthread.h"})),
    ("tools/*", ["tools/*", "libclient/lockd.h", "libclient/lockd_fence.h"],
     Except({"ev.h", "sqlite3.h", "xxhash.h"} | SOCKETS)),

    # Tests may look at everything; nothing looks at them.
    ("tests/*", [folder + "/*" for folder in FOLDERS], Except()),
)

# Headers that are installed, and programs that users write, name what lies beside them.
BESIDE = ("libclient/lockd*.h", "docs/examples/*")

PURE = ("paxos/*.c", "lease/*.c", "lockd/service*.c", "lockd/pending*.c")
IMPURE = ("paxos/base/hash.c", "*/describe.c")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.MULTILINE)


def matches(path, patterns):
    if isinstance(patterns, str):
        patterns = (patterns,)
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def sources(root):
    """Path from the root -> [(is ours, header), ...] in order."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.[ch]")):
            text = path.read_text(encoding="utf-8")
            name = path.relative_to(root).as_posix()
            beside = f"{path.parent.relative_to(root)}/" if matches(name, BESIDE) else ""
            found[name] = [
                (sign == '"', beside + header if sign == '"' else header)
                for sign, header in INCLUDE.findall(text)
            ]
    return found


def judge(root, path, includes, row):
    """What is wrong with the includes of one file."""
    _, ours, system = row
    for is_ours, header in includes:
        if is_ours and not (root / header).is_file():
            yield f"{path}: \"{header}\" is not a path from the root of the tree"
        elif is_ours and not matches(header, ours):
            yield f"{path}: may not include \"{header}\""
        elif not is_ours and not system.allows(header):
            yield f"{path}: may not include <{header}>"


def check_pure(found):
    """The poison has to come last, or it would hit libc's own headers."""
    for path, includes in found.items():
        if matches(path, PURE) and not matches(path, IMPURE):
            if not includes or includes[-1] != (True, "paxos/base/pure.h"):
                yield f"{path}: its last include must be \"paxos/base/pure.h\""


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = sources(root)
    rows = {row: [] for row in range(len(TABLE))}
    strays = []
    for path in found:
        row = next((n for n, entry in enumerate(TABLE) if matches(path, entry[0])), None)
        if row is None:
            strays.append(f"{path}: stands in no row of the table")
        else:
            rows[row].append(path)

    results = []
    for number, paths in rows.items():
        if paths:
            name = TABLE[number][0]
            name = name if isinstance(name, str) else ", ".join(name)
            troubles = [t for p in paths for t in judge(root, p, found[p], TABLE[number])]
            results.append((f"{name} includes only what it may ({len(paths)} files)", troubles))
    results.append(("every source stands in a row", strays))
    results.append(("sources of the pure core end with pure.h", list(check_pure(found))))
    tap.conclude(results)


if __name__ == "__main__":
    main()
