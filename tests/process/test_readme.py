# SPDX-License-Identifier: Apache-2.0
"""The C program of README.md, word for word: it compiles without a warning
against the header and the library as they are installed, and takes its lock."""

import pathlib
import re
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import LOCKCTL, Cell, run
from harness.outside import STRICT, compiler
from harness.tap import case, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = LOCKCTL.parents[1] / "libclient" / "liblockd.so"


def program():
    found = re.findall(r"^```c\n(.*?)^```$", (ROOT / "README.md").read_text(),
                       re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"README.md has {len(found)} C programs"
    return found[0].encode()


@case("the C program of README.md compiles and takes its lock")
def _():
    command = (*compiler(LIBRARY), "-std=c11", *STRICT)
    with tempfile.TemporaryDirectory(prefix="lockd-test-") as folder, Cell() as cell:
        binary = pathlib.Path(folder) / "leader"
        done = run(*command, "-xc", "-", f"-I{ROOT / 'libclient'}", f"-L{LIBRARY.parent}",
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
