# SPDX-License-Identifier: Apache-2.0
"""honest.py -- a client that does its work beside hostile ones."""

import threading
import time

from harness.tap import Threads, note


class Honest:
    """Puts and gets, on one connection that must never break; and, once it has been
    told to, hears of its puts on another: `with Honest(replica) as honest`."""

    def __init__(self, replica, name="/ls/local/honest", watching=False, patience=3.0):
        self.name = name
        self.connection = replica.connect()
        self.watch = replica.connect() if watching else None
        self.patience = patience
        self.stop = threading.Event()
        self.threads = Threads()
        self.slowest = 0.0
        self.count = 0

    def __enter__(self):
        if self.watch is not None:
            self.watch.watch(self.name, kinds=["content"], content=True)
        self.threads.start(self.run)
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(20.0)
            note(f"honest client: {self.count} calls, slowest {self.slowest * 1000:.0f} ms")
            assert self.count > 0
            assert self.slowest < self.patience, "the honest client was held up"
        self.connection.close()
        if self.watch is not None:
            self.watch.close()

    def run(self):
        while not self.stop.is_set():
            start = time.monotonic()
            text = str(self.count)
            self.connection.call("node.put", name=self.name, content=text)
            if self.watch is not None:
                _, event = self.watch.event()
                assert event["content"] == text, (event, text)
            assert self.connection.call("node.get", name=self.name)["content"] == text
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.count += 1
            self.stop.wait(0.005)
