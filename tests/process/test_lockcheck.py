# SPDX-License-Identifier: Apache-2.0
"""lockcheck: it finds each kind of violation and says where, refuses what it can't
read, and finds nothing in what a real cell did under fire."""

import json
import pathlib
import re
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import LOCKCTL, Cell, run
from harness.rpc import RpcError, Unknown
from harness.sessions import Session
from harness.tap import Threads, case, main

LOCKCHECK = LOCKCTL.with_name("lockcheck")
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "lockcheck.1"


def judge(*lines, options=(), status=0):
    """What it prints of these lines, given as text or as dictionaries."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    done = run(LOCKCHECK, *options, "-", stdin=text.encode(), timeout=60)
    told = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == status, (done.returncode, told)
    return told


def call(op, start, end, **members):
    return {"op": op, "name": members.pop("name", "/ls/prod/x"), "start": start, "end": end,
            **members}


@case("a good history is good, in whatever order it stands")
def _():
    lines = [call("read", 5, 6, value="1", process="host7/1"), "",
             call("write", 1, 2, value="1"),
             call("cas", 7, 8, expect="1", value=None),
             call("cas", 9, 10, expect="1", value="3", outcome="mismatch"),
             call("read", 11, 12, value=None),
             {"op": "write", "name": "/ls/prod/y", "start": 1, "value": "9",
              "outcome": "unknown"},
             call("read", 3, 4, name="/ls/prod/y", value="9"),
             call("acquire", 1, 2, name="l", token=4, mode="shared"),
             call("acquire", 1, 3, name="l", token=4, mode="shared"),
             call("hold", 3, 9, name="l", mode="shared"),
             call("hold", 4, 7, name="l", mode="shared"),
             call("access", 4, 5, name="l", token=4),
             call("access", 6, 7, name="l", token=3, outcome="mismatch")]
    assert judge(*lines) == "13 calls on 3 names: 0 violations\n"
    assert judge() == "0 calls on 0 names: 0 violations\n"


@case("the example of the manual page is what it reads")
def _():
    example = re.search(r"^\.nf\n(.*?)^\.fi$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = example.group(1).splitlines()
    assert len(lines) == 6, lines
    assert judge(*lines) == "6 calls on 2 names: 0 violations\n"


VIOLATIONS = (
    ("linearizable  /ls/prod/x: line 3 cannot have happened, whatever the order of the calls "
     "beside it",
     call("write", 1, 2, value="1"), call("write", 3, 4, value="2"),
     call("read", 5, 6, value="1")),
    ("token-order   /ls/prod/x: line 1 and line 2: the later grant does not have the higher "
     "token",
     call("acquire", 1, 2, token=5), call("acquire", 3, 4, token=4)),
    ("one-writer    /ls/prod/x: line 1 and line 2: both were granted under the same token",
     call("acquire", 1, 4, token=5), call("acquire", 2, 3, token=5)),
    ("fenced        /ls/prod/x: line 1 and line 2: the later access was accepted with the "
     "lower token",
     call("access", 1, 2, token=5), call("access", 3, 4, token=4)),
    ("overlap       /ls/prod/x: line 1 and line 2: both believed to hold it at one time",
     call("hold", 1, 4), call("hold", 3, 6, mode="shared")),
)


@case("each rule is noticed when it is broken, and named")
def _():
    for text, *lines in VIOLATIONS:
        count = len(lines)
        told = judge(*lines, status=1)
        assert told == f"{text}\n{count} calls on 1 names: 1 violations\n", told
    _, *lines = VIOLATIONS[-1]
    assert judge(*lines, options=["--no-overlap"]).endswith(": 0 violations\n")


@case("what it can't decide, it says so")
def _():
    told = judge(*VIOLATIONS[0][1:], options=["--steps", "2"], status=2)
    assert told == ("3 calls on 1 names: 0 violations, 1 names too busy to decide; "
                    "see --steps\n"), told


MALFORMED = (
    ("it is not JSON: ", "nonsense"),
    ("it is not a JSON object", "[1]"),
    ("it is not JSON: ", '{"op":"read","op":"read"}'),
    ('"op" must be a string', {"name": "x", "start": 1, "end": 2}),
    ('"op" can\'t be "erase"', call("erase", 1, 2)),
    ('"name" must be a string', {"op": "read", "start": 1, "end": 2, "value": "1"}),
    ('"start" must be a whole number, not below 0', call("read", -1, 2, value="1")),
    ('"start" must be a whole number, not below 0', call("read", 1.5, 2, value="1")),
    ('"end" must be a whole number, not below 0',
     {"op": "read", "name": "x", "start": 1, "value": "1"}),
    ("it ends before it starts", call("read", 3, 2, value="1")),
    ('"outcome" can\'t be "lost"', call("read", 1, 2, outcome="lost")),
    ('only "cas" and "access" can have the outcome "mismatch"',
     call("write", 1, 2, value="1", outcome="mismatch")),
    ('"value" must be a string, or null where there is no file', call("write", 1, 2)),
    ('"expect" must be a string, or null where there is no file',
     call("cas", 1, 2, expect=7, value="1")),
    ('"mode" can\'t be "both"', call("hold", 1, 2, mode="both")),
    ('"token" must be a whole number, not below 0', call("access", 1, 2)),
    ('there is no member "colour"', call("write", 1, 2, value="1", colour="red")),
    ("it has a member that such a call does not take",
     call("read", 1, 2, value="1", expect="2")),
    ("it has a member that such a call does not take",
     call("write", 1, 2, value="1", outcome="unknown", token=7)),
)


@case("a line that is not understood is refused by its number, with the reason")
def _():
    good = call("read", 1, 2, value=None)
    for reason, line in MALFORMED:
        told = judge(good, "", line, good, status=65)
        assert told.startswith(f"lockcheck: -: line 3: {reason}"), (line, told)
        exact = told == f"lockcheck: -: line 3: {reason}\n"
        assert exact or reason.endswith(": "), (line, told)


@case("usage errors and files that are not there")
def _():
    for options in ((), ("--steps", "0", "-"), ("--steps", "many", "-"), ("a", "b"), ("--no",)):
        assert run(LOCKCHECK, *options).returncode in (64,), options
    done = run(LOCKCHECK, "/nowhere/none")
    assert done.returncode == 65
    assert done.stderr == b"lockcheck: /nowhere/none: No such file or directory\n", done.stderr
    done = run(LOCKCHECK, "/")
    assert done.returncode == 65 and b"line 0: behind it, reading failed: " in done.stderr


class Recorder:
    """What an application records of itself, on one host's clock."""

    def __init__(self):
        self.lines = []
        self.lock = threading.Lock()
        self.until = time.monotonic() + 8

    def more(self):
        return time.monotonic() < self.until

    def add(self, op, name, start, **members):
        line = {"op": op, "name": name, "start": start, **members}
        if members.get("outcome") != "unknown":
            line["end"] = time.monotonic_ns()
        with self.lock:
            self.lines.append(line)


def counts(cell, recorder):
    """Reads and compare-and-sets one file."""
    name = "/ls/local/counter"
    with cell.client() as client:
        while recorder.more():
            start = time.monotonic_ns()
            try:
                found = client.read("node.get", name=name)
                value, generation = found["content"], found["stat"]["generation"]
            except RpcError as error:
                assert error.name == "no_node", error
                value, generation = None, 0
            recorder.add("read", name, start, value=value)
            new = str(int(value or 0) + 1)
            wants = {"op": "cas", "name": name, "start": time.monotonic_ns(), "expect": value,
                     "value": new}
            try:
                client.call("node.put", name=name, content=new, if_generation=generation)
                recorder.add(**wants)
            except Unknown:
                recorder.add(**wants, outcome="unknown")
            except RpcError as error:
                assert error.name in ("conflict", "exists"), error
                recorder.add(**wants, outcome="mismatch")


def locks(cell, recorder, highest):
    """Takes a lock, and uses with its token what refuses lower ones."""
    name = "/ls/local/lock"
    session = Session(cell.addresses, lease_ms=4000)
    while recorder.more():
        start = time.monotonic_ns()
        token = session.acquire(name)
        recorder.add("acquire", name, start, token=token)
        start = time.monotonic_ns()
        with recorder.lock:
            accepted = token >= highest[0]
            highest[0] = max(token, highest[0])
        recorder.add("access", name, start, token=token, **({} if accepted else
                                                           {"outcome": "mismatch"}))
        session.release(name, token)


@case("what a cell did while its masters were killed is good, and a lie in it is found",
      seconds=120)
def _():
    with Cell() as cell:
        cell.start()
        recorder, threads, highest = Recorder(), Threads(), [0]
        for _ in range(3):
            threads.start(counts, cell, recorder)
            threads.start(locks, cell, recorder, highest)
        for _ in range(2):
            time.sleep(2)
            master = cell.master()
            master.kill()
            time.sleep(0.5)
            master.start(wait=False)
        threads.join()
        told = judge(*recorder.lines)
        assert told.endswith(" calls on 2 names: 0 violations\n"), told
        kinds = {line["op"] for line in recorder.lines}
        assert kinds == {"read", "cas", "acquire", "access"}, kinds
        reads = [line for line in recorder.lines if line["op"] == "read"]
        grants = [line for line in recorder.lines if line["op"] == "acquire"]
        assert len(reads) > 20 and len(grants) > 4, (len(reads), len(grants))
        reads[-1]["value"] = reads[len(reads) // 2]["value"]
        grants[-1]["token"] = grants[0]["token"] - 1
        told = judge(*recorder.lines, status=1)
        assert "linearizable  /ls/local/counter: line " in told, told
        assert "token-order   /ls/local/lock: line " in told, told


main()
