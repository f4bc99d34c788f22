#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_promises.py -- what the documents promise, and what there is.

    check_promises.py ROOT LOCKCTL

docs/guarantees.md must state each guarantee once, and who is said to check it must
be in the tree.  docs/comparison.md must show by a command, a function or a type
whatever it says that we have.  README.md must lead to each document.  Prints TAP.
"""

import functools
import pathlib
import re
import subprocess
import sys

import tap

GUARANTEES = range(1, 19)
VERDICTS = ("yes", "partly", "not yet", "no")
SPAN = re.compile(r"`([^`]+)`")
# How a checker says under which name it fails.
FAILS = re.compile(r"(?:\b(?:world_fail|fail|accuse|judge_tokens)\([^\"]*|\brule = )\"([a-z-]+)\"")


def sources(root, *folders):
    return {path: path.read_text() for folder in folders
            for path in sorted((root / folder).rglob("*.[ch]"))}


def public_headers(root):
    return "".join(path.read_text() for path in sorted((root / "libclient").glob("lockd*.h")))


def is_program(root, span):
    """A line to type, or the name of a program that has a manual page."""
    name = span.split()[0]
    return any((root / "docs" / f"{name}.{section}").exists() for section in (1, 8))


# ------------------------------------------------------------------- guarantees

def sections(text):
    """(number, title and text) of each heading "### G7 ..."."""
    parts = re.split(r"^(?=##)", text, flags=re.MULTILINE)
    return [(int(found[1]), part) for part in parts
            if (found := re.match(r"### G(\d+) ", part))]


def check_whole(text):
    numbers = [number for number, _ in sections(text)]
    for number in GUARANTEES:
        if numbers.count(number) != 1:
            yield f"G{number} is stated {numbers.count(number)} times"
    for number, part in sections(text):
        if number not in GUARANTEES:
            yield f"G{number} is none of ours"
        for begin in ("> ", "**Assumes** ", "**Checked by** "):
            if f"\n{begin}" not in part:
                yield f"G{number} has nothing that begins with {begin!r}"


def check_checkers(root, text):
    """Each path is there, each function is where it is said to be, and each check is
    one under whose name something fails."""
    checkers = sources(root, "tests", "tools", "libclient")
    headers = public_headers(root)
    failing = set(FAILS.findall("".join(checkers.values())))
    for path in re.findall(r"`((?:docs|tests|tools|libclient)/[^` ]+)`", text):
        if not list(root.glob(path)):
            yield f"there is no {path}"
    for name, where in re.findall(r"`(\w+)\(\)`(?:\s+in\s+`([^`]+)`)?", text):
        definition = re.compile(rf"^\w[\w *]*\b{name}\([^;]*?\)\n{{", re.MULTILINE)
        places = [path for path, source in checkers.items() if definition.search(source)]
        if where and root / where not in places:
            yield f"{name}() is not defined in {where}"
        elif not places and not re.search(rf"\b{name}\(", headers):
            yield f"nobody defines {name}()"
    for number, part in sections(text):
        checked = part.partition("**Checked by**")[2]
        for name in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", checked):
            if name not in failing and not is_program(root, name):
                yield f"G{number} names a check `{name}', under which nothing fails"


# ------------------------------------------------------------------- comparison

def rows(text):
    """The cells of each row of the tables, headings left out."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and not set(cells[0]) <= {"-"} and cells[0] != "what":
            yield cells


@functools.lru_cache(maxsize=None)
def help_of(lockctl, *command):
    done = subprocess.run([lockctl, *command, "--help"], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.stdout if done.returncode == 0 else ""


def commands(lockctl):
    return re.findall(r"^  ([a-z]+) ", help_of(lockctl), re.MULTILINE)


def typed(span):
    """What stands behind `lockctl` in a line to type: a subcommand and its arguments."""
    words = span.partition(" -- ")[0].split()
    words = words[words.index("lockctl") + 1:] if "lockctl" in words else []
    return words[2:] if words[:1] == ["-o"] else words


def check_command(lockctl, words):
    """Is there such a subcommand, and has it these options?"""
    known = help_of(lockctl)
    if words[0] in commands(lockctl):
        known += help_of(lockctl, words[0])
    elif not words[0].startswith("-"):
        return [f"lockctl has no command {words[0]}"]
    return [f"lockctl {words[0]} has no {word}" for word in words
            if word.startswith("-") and not re.search(rf"(?<![\w-]){word}(?![\w-])", known)]


def check_span(root, lockctl, headers, span):
    """What is wrong with what a span shows; None if it shows nothing."""
    symbol = re.fullmatch(r"(?:struct )?(lockd_\w+|LOCKD_\w+)(?:\(\))?", span)
    if typed(span):
        return check_command(lockctl, typed(span))
    if symbol:
        known = re.search(rf"\b{symbol[1]}\b", headers)
        return [] if known else [f"no header has {symbol[1]}"]
    return [] if is_program(root, span) else None


def check_row(root, lockctl, headers, cells):
    verdict = next((word for word in VERDICTS if re.match(rf"{word}(?!\w)", cells[2])), None)
    if verdict is None:
        yield f"says none of {', '.join(VERDICTS)}"
    if verdict in ("yes", "partly") and not SPAN.search(cells[3]):
        yield f"{verdict}, and nothing shows it"
    for span in SPAN.findall(cells[2]):
        yield from check_span(root, lockctl, headers, span) or []
    for span in SPAN.findall(cells[3]):
        troubles = check_span(root, lockctl, headers, span)
        yield from [f"`{span}` shows nothing"] if troubles is None else troubles


def check_rows(root, lockctl, text):
    headers = public_headers(root)
    seen = set()
    for cells in rows(text):
        if len(cells) != 4 or not cells[1] or cells[0] in seen:
            yield f"{cells[0]}: not a row of four cells, once"
            continue
        seen.add(cells[0])
        for trouble in check_row(root, lockctl, headers, cells):
            yield f"{cells[0]}: {trouble}"


def check_shown(lockctl, text):
    shown = {words[0] for span in SPAN.findall(text) if (words := typed(span))}
    for command in commands(lockctl):
        if command not in shown:
            yield f"no row shows lockctl {command}"


# ----------------------------------------------------------------------- README

def check_map(root):
    readme = (root / "README.md").read_text()
    for path in sorted((root / "docs").glob("*.md")):
        if f"](docs/{path.name})" not in readme:
            yield f"README.md does not lead to docs/{path.name}"
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            if not (path.parent / link).exists():
                yield f"{path.relative_to(root)} links to {link}, which is not there"


# ------------------------------------------------------------------------- main

def main():
    root, lockctl = pathlib.Path(sys.argv[1]), sys.argv[2]
    guarantees = (root / "docs/guarantees.md").read_text()
    comparison = (root / "docs/comparison.md").read_text()
    results = [
        ("each guarantee is stated once, with what it assumes and who checks it",
         check_whole(guarantees)),
        ("who is said to check a guarantee is in the tree", check_checkers(root, guarantees)),
        ("each row of the comparison shows what it claims",
         check_rows(root, lockctl, comparison)),
        ("each command of lockctl is shown", check_shown(lockctl, comparison)),
        ("README.md leads to each document, and no link leads nowhere", check_map(root)),
    ]
    tap.conclude(results)


if __name__ == "__main__":
    main()
