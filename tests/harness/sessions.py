# SPDX-License-Identifier: Apache-2.0
"""sessions.py -- sessions and locks over the bare protocol.

As rpc.py, deliberately not built on any code of ours.  A session follows the
master, keeps itself alive while it waits for an answer, and repeats a request
under its number until it is answered, so whatever it did, it did once.
"""

import time

from harness.rpc import Closed, Connection, RpcError

# Refusals after which the same request, under its number, is sent again.
_AGAIN = ("not_master", "unavailable", "overloaded", "unknown_outcome")


class Session:
    """One session on a connection of its own; for one thread."""

    def __init__(self, addresses, lease_ms=12000, label="test"):
        self.addresses = list(addresses)
        self.lease_ms = lease_ms
        self.connection = None
        self.turn = 0
        self.hint = None
        self.number = 0        # Of the last request.
        self.credential = None
        self.keepalive_id = None
        self.keepalive_at = 0.0
        opened = self._call("session.open", 30.0, lease_ms=lease_ms, label=label)
        self.credential = opened["session"]
        self.lease_ms = opened["lease_ms"]

    @property
    def id(self):
        return self.credential.partition("-")[0]

    def close_connection(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    # -------------------------------------------------------- connection

    def _connect(self):
        address = self.hint
        if address is None:
            address = self.addresses[self.turn % len(self.addresses)]
            self.turn += 1
        self.hint = None
        self.connection = Connection(address, timeout=1.0)
        self.keepalive_id = None
        self.keepalive_at = 0.0

    def _keep_alive(self):
        """Sends one when it is time and none is on its way."""
        now = time.monotonic()
        if self.credential is None or self.keepalive_id is not None or now < self.keepalive_at:
            return
        self.keepalive_at = now + self.lease_ms / 3000.0
        self.keepalive_id = self.connection.request("session.keepalive", session=self.credential)

    def _answer(self, number):
        """Reads on until the answer to `number`, keeping the session alive."""
        while True:
            self._keep_alive()
            try:
                message = self.connection.answer(timeout=0.2)
            except TimeoutError:
                if self.keepalive_id is not None:
                    # A master that says nothing for a second is none.
                    if time.monotonic() > self.keepalive_at - self.lease_ms / 3000.0 + 1.0:
                        raise Closed("no answer") from None
                continue
            if message["id"] == self.keepalive_id:
                self.keepalive_id = None
                if "error" in message:
                    raise RpcError(message["error"])
            elif message["id"] == number:
                if "error" in message:
                    raise RpcError(message["error"])
                return message["result"]

    def _call(self, method, seconds, **params):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.connection is None:
                    self._connect()
                return self._answer(self.connection.request(method, **params))
            except (Closed, OSError):
                self.close_connection()
                time.sleep(0.01)
            except RpcError as error:
                if error.name not in _AGAIN:
                    raise
                self.close_connection()
                self.hint = error.data.get("master") or None
                time.sleep(0.01)
        raise TimeoutError(f"{method}: not answered within {seconds:g} s")

    def call(self, method, seconds=60.0, **params):
        """A request of the session, executed once; acknowledges all before it."""
        self.number += 1
        return self._call(method, seconds, session=self.credential, request=self.number,
                          ack=[self.number - 1], **params)

    # ------------------------------------------------------------- locks

    def acquire(self, name, seconds=60.0, **params):
        """Waits for ever, as far as the cell is concerned.  The token."""
        return self.call("lock.acquire", seconds, name=name, create=True, **params)["token"]

    def release(self, name, token, seconds=60.0):
        self.call("lock.release", seconds, name=name, token=token)

    def keep_alive(self):
        """One KeepAlive, and its answer."""
        return self._call("session.keepalive", 30.0, session=self.credential)

    def close(self):
        self.call("session.close")
        self.close_connection()
