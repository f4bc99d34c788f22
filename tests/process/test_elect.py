# SPDX-License-Identifier: Apache-2.0
"""The example of docs/examples: it elects one leader at a time, by order of
asking, also when the master dies and when a leader dies."""

import pathlib
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell
from harness.tap import case, main, note, wait_for

ELECT = LOCKCTL.parents[1] / "libclient" / "elect"
NAME = "/ls/local/leader"


class Candidate:
    def __init__(self, cell, seconds):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", ELECT, cell.endpoints, NAME, str(seconds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=ENVIRONMENT)

    def token(self):
        """Waits until it leads."""
        line = self.process.stdout.readline().decode()
        found = re.fullmatch(r"leading token=(\d+) sequencer=\S+:exclusive:(\d+)\n", line)
        assert found and found[1] == found[2], line
        return int(found[1])

    def end(self):
        rest = self.process.stdout.read().decode()
        return rest, self.process.wait(20)


def queued(cell, count):
    def look():
        with cell.master().connect() as connection:
            locks = connection.call("lock.list", name=NAME)["locks"]
            return sum(len(lock["claims"]) for lock in locks) == count
    return look


def stands_in_file(cell, token):
    content = cell.lockctl("get", NAME).stdout.decode()
    assert content.endswith(f"token {token}\n"), content


@case("the next leads when one steps down, also after the master's death", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        first = Candidate(cell, 4)
        tokens = [first.token()]
        stands_in_file(cell, tokens[0])
        second = Candidate(cell, 1)
        wait_for("the second to queue", queued(cell, 2))
        cell.master().kill()
        rest, status = first.end()
        assert (rest, status) == ("stepping down\n", 0), (rest, status)
        tokens.append(second.token())
        stands_in_file(cell, tokens[1])
        assert second.end() == ("stepping down\n", 0)
        assert tokens[0] < tokens[1], tokens


@case("a leader that dies is followed when its lease is over", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        first = Candidate(cell, 60)
        token = first.token()
        second = Candidate(cell, 0)
        wait_for("the second to queue", queued(cell, 2))
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(10)
        start = time.monotonic()
        assert second.token() > token
        note(f"{time.monotonic() - start:.1f} s without a leader")
        assert second.end()[1] == 0


main()
