# SPDX-License-Identifier: Apache-2.0
"""The C program of README.md, word for word: it compiles without a warning
against the header and the library as they are installed, and takes its lock."""

import pathlib
import re
import shlex
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell, run
from harness.tap import Skip, case, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = LOCKCTL.parents[1] / "libclient" / "liblockd.so"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


def program():
    found = re.findall(r"^```c\n(.*?)^```$", (ROOT / "README.md").read_text(),
                       re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"README.md has {len(found)} C programs"
    return found[0].encode()


def compiler():
    command = shlex.split(ENVIRONMENT.get("CC", "")) or ["cc"]
    if shutil.which(command[0]) is None:
        raise Skip(f"there is no {command[0]}")
    if b"__asan_init" in LIBRARY.read_bytes():  # Who links it needs the runtime as well.
        command.append("-fsanitize=address,undefined")
    return command


@case("the C program of README.md compiles and takes its lock")
def _():
    command = compiler()
    with tempfile.TemporaryDirectory(prefix="lockd-test-") as folder, Cell() as cell:
        binary = pathlib.Path(folder) / "leader"
        done = run(*command, *STRICT, "-xc", "-", f"-I{ROOT / 'libclient'}", f"-L{LIBRARY.parent}",
                   f"-Wl,-rpath,{LIBRARY.parent}", "-llockd", "-o", binary, stdin=program())
        assert done.returncode == 0, done.stderr.decode()
        cell.start()
        for _ in range(2):
            done = run("env", f"LOCKD_ENDPOINTS={cell.endpoints}", binary)
            assert done.returncode == 0, (done.returncode, done.stderr.decode())
            assert done.stdout.startswith(b"leader under token "), done.stdout
        found = cell.lockctl("locks", "leader")
        assert b"is free" in found.stdout, (found.stdout, found.stderr)


main()
