# SPDX-License-Identifier: Apache-2.0
"""The client on other people's event loops: the example of each adapter holds its
lock and is told of its file over the death of the master, and ends in order."""

import pathlib
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell, run
from harness.tap import Skip, case, main, wait_for

EXAMPLES = LOCKCTL.parents[1] / "libclient"
LOCK, FILE = "/ls/local/leader", "/ls/local/orders"


class Program:
    """An example that runs, and whose lines are read as they come."""

    def __init__(self, name, endpoints):
        path = EXAMPLES / f"loop_{name}"
        if not path.exists():
            raise Skip(f"loop_{name} was not built: its loop's library is not here")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", path, endpoints, LOCK, FILE],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate(timeout=10)

    def line(self, pattern):
        """Reads on to a line like this; those that tell of the session may come between."""
        while True:
            line = self.process.stdout.readline().decode()
            assert line, self.process.communicate(timeout=10)[1].decode()
            found = re.fullmatch(pattern + "\n", line)
            if found:
                return found
            assert line.startswith("session: "), line

    def heeds(self, number):
        """Does it catch the signal, or take it from a descriptor?"""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        masks = re.findall(r"Sig(?:Cgt|Blk):\s*(\w+)", text)
        return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)

    def end(self, number, status):
        wait_for("a handler of the signal", lambda: self.heeds(number))
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        assert self.process.returncode == status, (self.process.returncode, err.decode())
        return out.decode(), err.decode()


def put(cell, content):
    done = cell.lockctl("put", FILE, content)
    assert done.returncode == 0, done.stderr.decode()
    return int(re.search(r"revision (\d+)", done.stdout.decode())[1])


def holder(cell):
    return cell.lockctl("locks", LOCK).stdout.decode()


def over_a_fail_over(name):
    with Cell() as cell:
        cell.start()
        with Program(name, cell.endpoints) as program:
            token = program.line(r"locked under token (\d+)")[1]
            program.line(r"watching from revision \d+")
            program.line(f"revision {put(cell, 'before')}: before")
            cell.master().kill()
            program.line(f"revision {put(cell, 'after')}: after")
            assert f"token {token}" in holder(cell), holder(cell)
            out, _ = program.end(signal.SIGTERM, 0)
            assert out.endswith("session: closed\n"), out
        assert "is free" in holder(cell), holder(cell)


def without_a_cell(name):
    with Cell() as cell, Program(name, cell.endpoints) as program:
        out, err = program.end(signal.SIGINT, 0)  # While it looks for a master.
        assert (out, err) == ("session: closed\n", ""), (out, err)
        path = EXAMPLES / f"loop_{name}"
        assert run(path, "nowhere:x", LOCK, FILE).returncode == 2
        assert run(path).returncode == 2


for adapter in ("ev", "uv", "sd_event"):
    case(f"lockd_{adapter}.h: a lock and a watch survive the master's death", seconds=60)(
        lambda name=adapter: over_a_fail_over(name))
    case(f"lockd_{adapter}.h: nothing is waited for when it is time to end", seconds=30)(
        lambda name=adapter: without_a_cell(name))

main()
