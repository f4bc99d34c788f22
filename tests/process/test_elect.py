# SPDX-License-Identifier: Apache-2.0
"""One leader at a time, by order of asking, also when the master dies and when a
leader dies: the example of docs/examples, and lockctl elect and observe."""

import contextlib
import json
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


# ---------------------------------------------------------------------- lockctl


class Tool:
    """A lockctl that lasts, whose lines are read as they come."""

    def __init__(self, cell, *arguments):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints", cell.endpoints, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate(timeout=10)

    def told(self):
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=10)[1].decode()
        return json.loads(line)

    def end(self, status, number=None):
        if number is not None:
            self.process.send_signal(number)
        found = self.process.wait(20)
        out, err = self.process.stdout.read(), self.process.stderr.read()
        assert found == status, (found, err.decode())
        return out.decode()


def elect(cell, value, *command, lease="2s"):
    return Tool(cell, "-o", "json", "elect", "--lease", lease, NAME, value, *command)


@case("two contend, observe follows: over a resignation, the leader's death, the master's",
      seconds=120)
def _():
    with Cell() as cell, contextlib.ExitStack() as stack:
        cell.start()
        observer = stack.enter_context(Tool(cell, "observe", NAME))
        assert observer.told()["token"] is None

        def seen(value):
            """Reads on to a leader of this value (None: nobody), and returns its term."""
            while True:
                told = observer.told()
                assert told["name"] == NAME, told
                if told["value"] == value:
                    return told["token"]

        one = stack.enter_context(elect(cell, "one"))
        first = one.told()
        assert first["sequencer"] == f"/ls/test/leader:exclusive:{first['token']}", first
        assert seen("one") == first["token"]
        two = stack.enter_context(elect(cell, "two"))
        wait_for("the second to queue", queued(cell, 2))
        assert cell.lockctl("get", NAME).stdout == b"one"

        cell.master().kill()  # Changes nothing for anybody.
        three = stack.enter_context(elect(cell, "three"))
        wait_for("the third to queue", queued(cell, 3))
        one.end(0, signal.SIGTERM)
        second = two.told()
        assert seen("two") == second["token"] > first["token"]

        for replica in cell.replicas:
            if replica.process is None:
                replica.start()
        two.process.kill()
        cell.master().kill()
        third = three.told()
        assert seen("three") == third["token"] > second["token"]
        three.end(0, signal.SIGINT)
        assert seen(None) is None
        observer.end(0, signal.SIGTERM)
        once = json.loads(cell.lockctl("observe", "--once", NAME).stdout)
        assert once["token"] is None and once["revision"] > 0, once


@case("elect runs a command as leader and stands down with it; values of any octets")
def _():
    with Cell() as cell, contextlib.ExitStack() as stack:
        cell.start()
        observer = stack.enter_context(Tool(cell, "observe", "--count", "3", NAME))
        assert observer.told()["token"] is None
        value = cell.folder / "value"
        value.write_bytes(b"\0\xff")
        done = cell.lockctl("elect", NAME, f"@{value}", "--", "sh", "-c",
                            'sleep 0.5; echo "$LOCKD_NAME $LOCKD_TOKEN $LOCKD_SEQUENCER"; exit 9')
        assert done.returncode == 9, done.stderr.decode()
        name, token, sequencer = done.stdout.decode().split()
        assert (name, sequencer) == (NAME, f"/ls/test/leader:exclusive:{token}")
        leader = observer.told()
        assert (leader["token"], leader["value_base64"]) == (int(token), "AP8="), leader
        assert json.loads(observer.end(0))["token"] is None
        for wrong in ((), (NAME,), (NAME, "a", "b"), (NAME, "a", "--"), ("--shared", NAME, "a"),
                      ("--lock-delay", "61s", NAME, "a"), (NAME, "@/nowhere/none")):
            assert cell.lockctl("elect", *wrong).returncode == 64, wrong
        assert cell.lockctl("observe").returncode == 64
        assert cell.lockctl("--timeout", "1s", "observe", NAME,
                            endpoints=f"{cell.host}:1").returncode == 69
        with elect(cell, "holder") as holder:
            holder.told()
            assert cell.lockctl("elect", "--try", NAME, "me", "--", "true").returncode == 75
            assert json.loads(cell.lockctl("observe", "--once", NAME).stdout)["value"] == "holder"
            holder.end(0, signal.SIGTERM)


main()
