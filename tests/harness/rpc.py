# SPDX-License-Identifier: Apache-2.0
"""rpc.py -- the client protocol, as small as it can be.

Deliberately not built on any code of ours: a mistake that daemon and library
share would be invisible to a test that uses the library.
"""

import collections
import json
import socket
import time


class RpcError(Exception):
    """An answer of the cell that is an error: nothing was executed unless
    `name` is unknown_outcome."""

    def __init__(self, error):
        super().__init__(error)
        self.code = error.get("code")
        self.message = error.get("message", "")
        self.data = error.get("data") or {}
        self.name = self.data.get("code", "")


class Unknown(Exception):
    """The request may or may not have been executed."""


class Closed(Exception):
    """The server closed the connection."""


def parse_address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def _connect(address, timeout):
    """A socket connected to "host:port", or to the local socket "unix:PATH"."""
    if not address.startswith("unix:"):
        made = socket.create_connection(parse_address(address), timeout=timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(timeout)
        made.connect(address.removeprefix("unix:"))
    except OSError:
        made.close()
        raise
    return made


class Connection:
    """One connection to one replica."""

    def __init__(self, address, timeout=10.0):
        self.socket = _connect(address, timeout)
        self.timeout = timeout
        self.buffer = bytearray()
        self.next_id = 1
        self.answers = collections.deque()  # Read while a notification was wanted, ...
        self.notices = collections.deque()  # ... and while an answer was.

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """Octets as they are."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def request(self, method, **params):
        """Sends a request without waiting; returns its id."""
        number = self.next_id
        self.next_id += 1
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.send(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        return number

    def line(self, timeout=None):
        """The next line, without its newline.  Closed at the end of the stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[: end + 1]
                return line
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except ConnectionError as error:
                raise Closed(str(error)) from error
            if not data:
                raise Closed("end of stream")
            self.buffer += data

    def message(self, timeout=None):
        """The next message off the wire, parsed; strict about what JSON-RPC says of it."""
        message = json.loads(self.line(timeout).decode("utf-8"))
        assert message.get("jsonrpc") == "2.0", message
        if "method" in message:
            assert set(message) == {"jsonrpc", "method", "params"}, message
        else:
            assert "id" in message, message
            assert ("result" in message) != ("error" in message), message
        return message

    def _next(self, wanted, timeout, kept, kept_other):
        """The next message of a sort; those of the other sort are kept in their order."""
        if kept:
            return kept.popleft()
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            message = self.message(max(0.001, deadline - time.monotonic()))
            if wanted(message):
                return message
            kept_other.append(message)

    def answer(self, timeout=None):
        """The next answer; notifications that come before it are kept."""
        return self._next(lambda message: "id" in message, timeout, self.answers, self.notices)

    def notice(self, timeout=None):
        """The next notification; answers that come before it are kept."""
        return self._next(lambda message: "id" not in message, timeout, self.notices,
                          self.answers)

    def event(self, timeout=None):
        """The next event of a watch, as (watch, event); progress is passed over."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            notice = self.notice(max(0.001, deadline - time.monotonic()))
            if notice["method"] == "watch.event":
                return notice["params"]["watch"], notice["params"]["event"]
            assert notice["method"] == "watch.progress", notice

    def watch(self, name, watch=1, **options):
        """Sets one watch; the revision from which on it is told."""
        return self.call("watch.add", watches=[{"watch": watch, "name": name, **options}])[
            "revision"
        ]

    def call(self, method, timeout=None, **params):
        """One request and its answer, nothing else being outstanding."""
        number = self.request(method, **params)
        message = self.answer(timeout)
        if "error" in message and message["id"] is None:
            raise RpcError(message["error"])  # The connection itself is refused.
        assert message["id"] == number, (number, message)
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]


# Refusals after which another replica, or the same one a moment later, may do it.
_ELSEWHERE = ("not_master", "unavailable", "overloaded")


class CellClient:
    """Follows the master.  Tries again only what certainly was not executed."""

    def __init__(self, addresses, timeout=10.0, exchange=2.0):
        self.addresses = list(addresses)
        self.timeout = timeout    # Of a call.
        self.exchange = exchange  # Of one request and its answer within it.
        self.connection = None
        self.turn = 0
        self.hint = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _connect(self, deadline):
        address = self.hint
        if address is None:
            address = self.addresses[self.turn % len(self.addresses)]
            self.turn += 1
        self.hint = None
        left = max(0.05, min(1.0, deadline - time.monotonic()))
        self.connection = Connection(address, timeout=left)

    def call(self, method, timeout=None, **params):
        """The result; RpcError for a refusal; Unknown for a lost answer."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while time.monotonic() < deadline:
            try:
                if self.connection is None:
                    self._connect(deadline)
            except OSError:
                time.sleep(0.01)
                continue
            try:
                left = max(0.05, min(self.exchange, deadline - time.monotonic()))
                return self.connection.call(method, timeout=left, **params)
            except (Closed, OSError) as error:
                self.close()
                raise Unknown(repr(error)) from error
            except RpcError as error:
                if error.name == "unknown_outcome":
                    self.close()
                    raise Unknown(error.message) from error
                if error.name not in _ELSEWHERE:
                    raise
                self.close()
                self.hint = error.data.get("master") or None
                time.sleep(0.01)
        raise TimeoutError(f"{method}: no master within the time")

    def read(self, method, timeout=None, **params):
        """Like call() for what changes nothing, so a lost answer is asked for again."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            try:
                return self.call(method, timeout=max(0.05, deadline - time.monotonic()), **params)
            except Unknown:
                if time.monotonic() >= deadline:
                    raise
