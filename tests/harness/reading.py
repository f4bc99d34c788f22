# SPDX-License-Identifier: Apache-2.0
"""reading.py -- files that one process writes and others read, and who lagged whom.

All of it happens on one host, so one clock says what was before what: a write is
acknowledged when its answer is here, a read begins when `lockctl get --every` says that
it asked.
"""

import bisect
import json
import signal
import subprocess
import threading
import time

from harness.cell import ENVIRONMENT, LOCKCTL
from harness.rpc import RpcError, Unknown
from harness.tap import Threads, wait_for


def now_us():
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000


class Reader:
    """`lockctl get --every` in a process of its own; its lines in `reads`."""

    def __init__(self, endpoints, name, *options, every="1ms"):
        self.reads = []
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints", endpoints, "-o", "json",
             "--timeout", "30s", "get", *options, "--every", every, name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def _listen(self):
        for line in self.process.stdout:
            self.reads.append(json.loads(line))

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """SIGTERM, and all that it has read."""
        self.signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.thread.join(20)
        assert status == 0, (status, self.process.stderr.read())
        return self.reads

    def wait(self, what, wanted, since_us=0, seconds=20.0):
        """The first read asked for after a moment that is as wanted."""
        at = 0

        def look():
            nonlocal at
            while at < len(self.reads):
                read = self.reads[at]
                at += 1
                if read["asked_us"] > since_us and wanted(read):
                    return read
            assert self.process.poll() is None, self.process.stderr.read()
            return None

        return wait_for(what, look, seconds, every=0.005)

    def wait_cached(self, since_us=0):
        return self.wait("a read from memory", lambda read: read["cached"], since_us)


class Writer:
    """Writes 1, 2, 3, ... to a file, and knows what was acknowledged when."""

    def __init__(self, cell, name, pause=0.02):
        self.cell = cell
        self.name = name
        self.pause = pause
        self.begun = []         # When n+1 was first asked for, ...
        self.acknowledged = []  # ... and when its answer was here.
        self.stop = threading.Event()
        self.threads = Threads()
        self.client = cell.client(timeout=30.0, exchange=10.0)  # Caches may hold a write up.
        self.generation = 0
        self.write()

    def __enter__(self):
        self.threads.start(self._run)
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(60.0)
        self.client.close()

    def _run(self):
        while not self.stop.wait(self.pause):
            self.write()

    def write(self):
        """The next number.  A lost answer is asked after: the generation tells."""
        text = str(len(self.acknowledged) + 1)
        self.begun.append(now_us())
        while True:
            try:
                result = self.client.call("node.put", name=self.name, content=text,
                                          if_generation=self.generation)
                break
            except Unknown:
                result = None
            except RpcError as error:
                if error.name != "conflict":
                    raise
            result = self._look()
            if result is not None and result["content"] == text:
                break
        self.generation = result["stat"]["generation"]
        self.acknowledged.append(now_us())

    def _look(self):
        try:
            return self.client.read("node.get", name=self.name)
        except RpcError as error:
            assert error.name == "no_node", error
            return None

    def newest(self, at_us):
        """The number of the newest write that was acknowledged before a moment."""
        return bisect.bisect_left(self.acknowledged, at_us)


def value_of(read):
    """The number that it showed, 0 for no file; None: it showed nothing."""
    if "error" not in read:
        return int(read["content"])
    assert read["error"] in ("no_node", "unavailable", "too_old", "overloaded"), read
    return 0 if read["error"] == "no_node" else None


def may_be_older_us(read):
    """By how much it may show an older state than that of when it was asked for."""
    if read["level"] in ("linearizable", "lease"):
        return 0
    return 1000 * read["age_ms"] if "age_ms" in read else float("inf")


def judge(reads, writer):
    """Fails if a read shows less than what was acknowledged before it, as far as its age
    goes, or more than had been begun.  How many showed something."""
    count = 0
    for read in reads:
        value = value_of(read)
        if value is None:
            continue
        least = writer.newest(read["asked_us"] - may_be_older_us(read))
        assert value >= least, f"lags: {least} had been acknowledged, and {read} was read"
        most = bisect.bisect_right(writer.begun, read["asked_us"] + read["took_us"])
        assert value <= most, f"{most} had been begun, and {read} was read"
        count += 1
    return count


def judge_order(reads):
    """Fails if a later read shows an older state."""
    newest = (0, 0)
    for read in reads:
        value = value_of(read)
        if value is not None:
            position = (read["revision"], value)
            assert position >= newest, f"went back from {newest}: {read}"
            newest = position
