# SPDX-License-Identifier: Apache-2.0
"""watching.py -- watches over the bare protocol, over any number of masters.

As rpc.py, deliberately not built on any code of ours.  A watcher follows the
master, sets its watches again at each, from where they were, and keeps all that
it was told.  That nothing is missed and nothing repeated is for its user to say.
"""

import threading
import time

from harness.rpc import Closed, Connection, RpcError
from harness.tap import Threads, wait_for

SILENCE = 8.0  # Seconds without a word after which a master is left; progress comes every 5.


class _Watch:
    def __init__(self, number, options):
        self.number = number
        self.options = options
        self.events = []
        self.told = None     # Up to this revision; None: not set yet.
        self.newest = 0      # Events told of the newest revision, which may have more.
        self.again = 0       # Of those, how many have come again.

    def params(self):
        """The watch to be set, from where it was."""
        params = {"watch": self.number, **self.options}
        if self.told is not None:
            # A connection may end between two events of one revision.
            params["from"] = self.told - 1 if self.newest else self.told
        self.again = 0
        return params

    def take(self, event):
        assert event["kind"] != "gap", event
        if self.newest and event["revision"] == self.told and self.again < self.newest:
            first = len(self.events) - self.newest
            assert event == self.events[first + self.again], (event, self.events[first:])
            self.again += 1
            return
        self.newest = self.newest + 1 if self.told == event["revision"] else 1
        self.again = self.newest
        self.told = event["revision"]
        self.events.append(event)

    def progress(self, revision):
        if self.told is not None and revision >= self.told:
            self.told, self.newest = revision, 0


class Watcher:
    """Some watches, each given as its parameters: `with Watcher(addresses, {...}) as watcher`.
    Their events are `watcher.events[n]`, from 0."""

    def __init__(self, addresses, *watches):
        self.addresses = list(addresses)
        self.watches = [_Watch(number, options) for number, options in enumerate(watches, 1)]
        self.events = [watch.events for watch in self.watches]
        self.masters = 0  # At so many they were set.
        self.turn = 0
        self.hint = None
        self.stop = threading.Event()
        self.threads = Threads()

    def __enter__(self):
        self.threads.start(self._run)
        self.wait(lambda: self.masters > 0, "the watches to be set")
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(10.0)

    def wait(self, condition, what="the event", seconds=30.0):
        def look():
            assert not self.threads.troubles, self.threads.troubles[0]
            return condition()

        return wait_for(what, look, seconds)

    def _run(self):
        while not self.stop.is_set():
            address = self.hint or self.addresses[self.turn % len(self.addresses)]
            self.turn += self.hint is None
            self.hint = None
            try:
                with Connection(address, timeout=2.0) as connection:
                    self._set(connection)
                    self._listen(connection)
            except (Closed, OSError):
                time.sleep(0.02)
            except RpcError as error:
                assert error.name in ("not_master", "unavailable", "overloaded"), error
                self.hint = error.data.get("master") or None
                time.sleep(0.02)

    def _set(self, connection):
        params = [watch.params() for watch in self.watches]
        number = connection.request("watch.add", watches=params)
        while True:
            message = connection.message()
            if "id" not in message:
                self._take(message)
                continue
            assert message["id"] == number, message
            if "error" in message:
                raise RpcError(message["error"])
            break
        for watch in self.watches:
            if watch.told is None:
                watch.told = message["result"]["revision"]
        self.masters += 1

    def _listen(self, connection):
        heard = time.monotonic()
        while not self.stop.is_set() and time.monotonic() < heard + SILENCE:
            try:
                if not self._take(connection.message(timeout=0.1)):
                    return
            except TimeoutError:
                continue
            heard = time.monotonic()

    def _take(self, message):
        """False: the watches have ended here."""
        params = message["params"]
        if message["method"] == "watch.event":
            self.watches[params["watch"] - 1].take(params["event"])
        elif message["method"] == "watch.progress":
            for watch in self.watches:
                watch.progress(params["revision"])
        else:
            assert message["method"] == "watch.end", message
            self.hint = params.get("master") or None
            return False
        return True
