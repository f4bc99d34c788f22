# SPDX-License-Identifier: Apache-2.0
"""writers.py -- clients that write without a break and account for every write.

Each writer has a file of its own and writes 1, 2, 3, ... into it.  The file's
generation grows by one with every write that took effect, so afterwards it says
how many did, and the content says which was the last:

  * an acknowledged write must be there: nothing acknowledged is lost;
  * the generation must not exceed what was acknowledged or is unknown: nothing
    was executed twice.

Half of the writers name the generation that they expect, half don't: a
condition on the generation would hide a second execution.
"""

import threading
import time

from harness.rpc import RpcError, Unknown
from harness.tap import Threads, wait_for


class Writer:
    """One file, one connection at a time, one write outstanding."""

    def __init__(self, cell, name, guarded):
        self.cell = cell
        self.name = name
        self.guarded = guarded
        self.number = 0        # Written last.
        self.acknowledged = 0  # How many writes.
        self.last_acknowledged = 0
        self.unknown = 0
        self.generation = 0    # As last seen.
        self.seen_unknown = 0  # Unknown writes since then.
        self.times = []        # Of acknowledgements.

    def run(self, stop):
        with self.cell.client(timeout=30.0) as client:
            while not stop.is_set():
                self.number += 1
                self.write(client)

    def write(self, client):
        params = {"name": self.name, "content": str(self.number)}
        if self.guarded:
            params["if_generation"] = self.generation
        try:
            result = client.call("node.put", **params)
        except Unknown:
            self.unknown += 1
            self.seen_unknown += 1
            if self.guarded:
                self.look(client)
            return
        self.acknowledge(result["stat"]["generation"])

    def acknowledge(self, generation):
        grown = generation - self.generation
        assert 1 <= grown <= 1 + self.seen_unknown, (
            f"{self.name}: generation {self.generation} to {generation} by one write"
            f" and {self.seen_unknown} unknown ones"
        )
        self.generation = generation
        self.seen_unknown = 0
        self.acknowledged += 1
        self.last_acknowledged = self.number
        self.times.append(time.monotonic())

    def look(self, client):
        """After an unknown outcome a guarded writer needs the generation."""
        try:
            stat = client.read("node.stat", name=self.name)["stat"]
        except RpcError as error:
            assert error.name == "no_node", error
            assert self.generation == 0, f"{self.name} is lost"
            return
        grown = stat["generation"] - self.generation
        assert 0 <= grown <= self.seen_unknown, f"{self.name}: {grown} of {self.seen_unknown}"
        self.generation = stat["generation"]
        self.seen_unknown = 0

    def check(self, client):
        """The file against the account of it."""
        try:
            result = client.read("node.get", name=self.name)
        except RpcError as error:
            assert error.name == "no_node", error
            assert self.acknowledged == 0, f"{self.name}: {self.acknowledged} writes are lost"
            return
        generation = result["stat"]["generation"]
        content = int(result["content"])
        least, most = self.acknowledged, self.acknowledged + self.unknown
        assert least <= generation <= most, (
            f"{self.name}: {generation} executed, {least} acknowledged, {self.unknown} unknown"
        )
        assert self.last_acknowledged <= content <= self.number, (
            f"{self.name}: holds {content}, {self.last_acknowledged} was acknowledged"
        )


class Writers:
    """Many of them, as `with Writers(cell, 32) as writers:`; leaving stops them."""

    made = 0  # Of them all; each group has its own files.

    def __init__(self, cell, count):
        Writers.made += 1
        self.cell = cell
        self.stop = threading.Event()
        self.threads = Threads()
        self.writers = [
            Writer(cell, f"/ls/local/w{Writers.made}-{number}", guarded=number % 2 == 0)
            for number in range(count)
        ]

    def __enter__(self):
        for writer in self.writers:
            self.threads.start(writer.run, self.stop)
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(60.0)

    @property
    def acknowledged(self):
        return sum(writer.acknowledged for writer in self.writers)

    @property
    def unknown(self):
        return sum(writer.unknown for writer in self.writers)

    def wait(self, more, seconds=30.0):
        """Until so many more writes are acknowledged."""
        goal = self.acknowledged + more

        def look():
            assert not self.threads.troubles, self.threads.troubles[0]
            return self.acknowledged >= goal

        wait_for(f"{more} more writes", look, seconds)

    def check(self):
        with self.cell.client(timeout=30.0) as client:
            for writer in self.writers:
                writer.check(client)

    def longest_gap(self):
        """Seconds without any acknowledgement, between the first and the last."""
        times = sorted(moment for writer in self.writers for moment in writer.times)
        return max(later - sooner for sooner, later in zip(times, times[1:]))

    def __str__(self):
        return f"{self.acknowledged} writes acknowledged, {self.unknown} of unknown outcome"
