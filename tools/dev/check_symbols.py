#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_symbols.py -- what programs were built with changes only on purpose.

    check_symbols.py [--rewrite] LIBRARY LIST HEADER... PAGE...

LIST has what the headers declare: each function of the library, then each structure,
enumeration and callback, one a line.  So no name, parameter, member or number changes
unless the list changes too, and whoever reviews that asks whether old programs still
run: what is appended to structures of options, or called anew, doesn't hurt them; all
else takes another soversion.  --rewrite makes the list from the headers.  Prints TAP.
"""

import os
import pathlib
import re
import subprocess
import sys

import tap

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FUNCTION = re.compile(r"^LOCKD_API ([^;]*?\b(lockd_\w+)\([^;]*);", re.MULTILINE)
TYPE = re.compile(r"^(((?:struct|enum) lockd_\w+) \{[^}#]*\});", re.MULTILINE)
CALLBACK = re.compile(r"^(typedef [^;]*?\b(lockd_\w+)\([^;]*);", re.MULTILINE)
CODE = re.compile(r"\bX\((LOCKD_\w+), (\d+),")
ADAPTER = re.compile(r"^static inline [^(]*\b(lockd_\w+)\(", re.MULTILINE)


def declared(headers):
    """What programs are built with: name -> declaration, in one line."""
    functions, types = {}, {}
    for header in headers:
        text = COMMENT.sub("", header.read_text(encoding="utf-8"))
        functions |= {name: line for line, name in FUNCTION.findall(text)}
        types |= {name: line for line, name in TYPE.findall(text) + CALLBACK.findall(text)}
        codes = ", ".join(f"{name} = {value}" for name, value in CODE.findall(text))
        if codes:
            types["enum lockd_rc"] = f"enum lockd_rc {{ {codes} }}"
    return {name: " ".join(found[name].split())
            for found in (functions, types) for name in sorted(found)}


def listed(path):
    """The same, as it was."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name = re.match(r"(?:struct|enum) \w+(?= \{)", line) or re.search(r"\w+(?=\()", line)
        found[name[0]] = line
    return found


def functions_of(lines):
    return {name for name, line in lines.items()
            if not re.match(r"typedef|(?:struct|enum) \w+ \{", line)}


def exported(library):
    nm = subprocess.run([os.environ.get("NM", "nm"), "-D", "--defined-only", "-P", library],
                        capture_output=True, text=True, check=True)
    return {line.split()[0] for line in nm.stdout.splitlines()}


def described(pages, headers):
    """What the NAME sections name, but for the adapters, which are no part of the library."""
    found = set()
    for page in pages:
        section = page.read_text(encoding="utf-8").split("\n.SH ")[1]
        found |= set(re.findall(r"\blockd_\w+", section.split(r"\-")[0]))
    return found - {name for header in headers for name in ADAPTER.findall(header.read_text())}


def differences(one, other, of_one, of_other):
    for name in sorted(one - other):
        yield f"{name}: {of_one}, but not {of_other}"
    for name in sorted(other - one):
        yield f"{name}: {of_other}, but not {of_one}"


def changes(now, before):
    for name in before:
        if now.get(name, before[name]) != before[name]:
            yield f"   it is {now[name]}\n  it was {before[name]}"


def main():
    library, path, *rest = [pathlib.Path(word) for word in sys.argv[1:] if word != "--rewrite"]
    headers = [path for path in rest if path.suffix == ".h"]
    now = declared(headers)
    if "--rewrite" in sys.argv[1:]:
        path.write_text("".join(f"{line}\n" for line in now.values()), encoding="utf-8")
        return
    before = listed(path)
    functions = functions_of(before)
    results = [
        ("the headers declare what is listed, and nothing else",
         differences(set(now), set(before), "declared", "listed")),
        ("the headers declare it as it is listed", changes(now, before)),
        ("the library exports the functions that are listed, and nothing else",
         differences(exported(library), functions, "exported", "listed")),
        ("the manual describes the functions that are listed, and no others",
         differences(described([path for path in rest if path.suffix == ".3"], headers),
                     functions, "described", "listed")),
    ]
    tap.conclude(results)


if __name__ == "__main__":
    main()
