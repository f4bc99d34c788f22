# SPDX-License-Identifier: Apache-2.0
"""Replays docs/protocol.md and tests/transcripts/protocol/*.txt against a real
cell of one replica.  The notation is described at the end of docs/protocol.md.

    run_protocol.py LOCKD LOCKCTL [TEXT]     only blocks with TEXT in their name

A page's blocks run in order against one cell.  A .txt file is one block, or
several behind `=== TITLE` lines.
"""

import atexit
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness.tap import case, main, wait_for  # pylint: disable=wrong-import-position

LOCKD = pathlib.Path(sys.argv[1]).resolve()
PAGE = HERE.parents[1] / "docs" / "protocol.md"
SECONDS = 10.0


# ------------------------------------------------------------------- a cell


class DevCell:
    """`lockd --dev` on a free port, in a folder of its own."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="lockd-protocol-")
        self.process = None
        self.address = None

    def start(self):
        if self.process is not None:
            assert self.process.poll() is None, f"lockd ended: {self.process.returncode}"
            return
        with open(f"{self.folder.name}/log", "wb") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [LOCKD, "--dev", "--data-dir", f"{self.folder.name}/data", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log)
        atexit.register(self.process.kill)  # When the case that stops it is not among those run.
        ready = self.process.stdout.readline().decode()
        found = re.search(r"client=(\S+):(\d+)", ready)
        assert found, (ready, pathlib.Path(f"{self.folder.name}/log").read_text(encoding="utf-8"))
        self.address = (found[1], int(found[2]))
        status = getattr(JsonRpc(self.address), "cell.status")
        wait_for("the master", lambda: status()["serving"])

    def stop(self):
        """Ends it as an operator would; what it says of its memory counts."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            status = self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        assert status == 0, (status, pathlib.Path(f"{self.folder.name}/log").read_text("utf-8"))


class Connection:
    """Lines to and from a replica."""

    def __init__(self, cell):
        self.socket = socket.create_connection(cell.address, SECONDS)
        self.reader = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        line = self.reader.readline()
        assert line.endswith(b"\n"), f"closed within a line: {line[:200]!r}" if line else "closed"
        return line[:-1].decode("utf-8")

    def closed(self):
        try:
            return self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.reader.close()
        self.socket.close()


# ------------------------------------------------------------- a transcript


class Bindings:
    """What the placeholders of a block stand for."""

    def __init__(self):
        self.values = {}

    def fill(self, text):
        """The text to send, with the values known so far."""
        return re.sub(r"<(\w+)>", lambda m: self.values.get(m[1], m[0]), text)

    def match(self, pattern, line):
        """Does the line match?  If so, binds what is new."""
        expression, names, at = "", [], 0
        for found in re.finditer(r"<(\w+)>", pattern):
            expression += re.escape(pattern[at : found.start()])
            at = found.end()
            name = found[1]
            if name == "any":
                expression += ".*?"
            elif name in self.values:
                expression += re.escape(self.values[name])
            elif name in names:
                expression += f"(?P={name})"
            else:
                names.append(name)
                expression += f'(?P<{name}>[^",{{}}\\[\\]]*)'
        result = re.fullmatch(expression + re.escape(pattern[at:]), line)
        if result is not None:
            self.values.update(result.groupdict())
        return result is not None


VERBS = (">", ">hex", ">repeat", "<", "*", "closed", "connect", "on")


def parse(lines):
    """Lines of a block as (verb, [argument]), neighbours of one verb joined."""
    steps = []
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        verb, _, rest = line.partition(" ")
        assert verb in VERBS, f"line {number}: {line}"
        if steps and steps[-1][0] == "<" and verb == "<":
            steps[-1][1].append((number, rest))
        else:
            steps.append((verb, [(number, rest)]))
    return steps


PROGRESS = '"method":"watch.progress"'  # Comes when it likes.


def expect(connection, bindings, patterns):
    """Each pattern is met by one line, in any order."""
    left = list(patterns)
    while left:
        line = connection.line()
        if PROGRESS in line and not any(PROGRESS in pattern for _, pattern in left):
            continue
        for i, (_, pattern) in enumerate(left):
            if bindings.match(pattern, line):
                del left[i]
                break
        else:
            wanted = "\n".join(f"line {number}: {bindings.fill(p)}" for number, p in left)
            raise AssertionError(f"expected\n{wanted}\ngot\n{line}")


class Connections:
    """Those of a block, by name; one of them is the current one."""

    def __init__(self, cell):
        self.cell, self.all, self.name = cell, {}, ""
        self.go_on("")

    @property
    def current(self):
        return self.all[self.name]

    def go_on(self, name):
        self.name = name
        if name not in self.all:
            self.all[name] = Connection(self.cell)

    def renew(self):
        self.all.pop(self.name).close()
        self.go_on(self.name)

    def close(self):
        for connection in self.all.values():
            connection.close()


def replay(cell, lines):
    cell.start()
    bindings, connections, out = Bindings(), Connections(cell), b""
    try:
        for verb, arguments in parse(lines):
            number, rest = arguments[0]
            if verb == ">":
                out += bindings.fill(rest).encode() + b"\n"
            elif verb == ">hex":
                out += bytes.fromhex(rest)
            elif verb == ">repeat":
                count, _, text = rest.partition(" ")
                out += text.encode() * int(count)
            else:
                send_all(connections.current, out)
                out = b""
                if verb in ("<", "*"):
                    expect(connections.current, bindings, arguments)
                elif verb == "closed":
                    assert connections.current.closed(), f"line {number}: it did not close"
                elif verb == "on":
                    connections.go_on(rest)
                else:
                    connections.renew()
        assert not out, "the block ends with something to send"
    finally:
        connections.close()


def send_all(connection, out):
    try:
        connection.send(out)
    except (BrokenPipeError, ConnectionResetError):
        pass  # It closed while we were writing; what it said before can still be read.


# ------------------------------------------------------------------ sources


def blocks_of_page(path):
    title, lines = None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```transcript"):
            title, lines = line.removeprefix("```transcript").strip(), []
        elif line.startswith("```") and title is not None:
            yield title, lines
            title = None
        elif title is not None:
            lines.append((number, line))
    assert title is None, f"{path}: the block {title} does not end"


def blocks_of_file(path):
    title, lines = path.stem, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("=== "):
            if parse(lines):
                yield title, lines
            title, lines = f"{path.stem}: {line[4:]}", []
        else:
            lines.append((number, line))
    yield title, lines


def add_source(path, blocks):
    cell = DevCell()
    for title, lines in blocks:
        case(f"{path.name}: {title}", seconds=60)(lambda lines=lines: replay(cell, lines))
    case(f"{path.name}: the replica ends well", seconds=30)(cell.stop)


# ------------------------------------------------- a library of other people


class JsonRpc:
    """What any JSON-RPC 2.0 library does over lines; knows nothing of lockd."""

    def __init__(self, address):
        self.file = socket.create_connection(address, SECONDS).makefile("rwb")
        self.calls = 0

    def __getattr__(self, method):
        def call(**params):
            self.calls += 1
            request = {"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params}
            self.file.write(json.dumps(request).encode() + b"\n")
            self.file.flush()
            reply = json.loads(self.file.readline())
            assert reply["jsonrpc"] == "2.0" and reply["id"] == self.calls, reply
            assert ("result" in reply) != ("error" in reply), reply
            if "error" in reply:
                raise RuntimeError(reply["error"]["code"], reply["error"]["message"])
            return reply["result"]

        return call


@case("a client that knows only JSON-RPC 2.0 can put, get and understand a refusal")
def _():
    cell = DevCell()
    cell.start()
    rpc = JsonRpc(cell.address)
    put, get = getattr(rpc, "node.put"), getattr(rpc, "node.get")
    for content in ("plain", "größe ☃ 🔒", 'quotes " and \\', "a\tb\r\nc", ""):
        put(name="/ls/local/file", content=content)
        assert get(name="/ls/local/file")["content"] == content
    try:
        get(name="/ls/local/none")
        raise AssertionError("a missing file was served")
    except RuntimeError as error:
        assert error.args[0] == -32000, error
    rpc.file.close()
    cell.stop()


@case("acquires that wait keep no one behind them from being read, and have a limit", seconds=100)
def _():
    cell = DevCell()
    cell.start()
    sessions, each = 17, 1000
    connection = Connection(cell)

    def send(*requests):
        connection.send(b"".join(
            json.dumps({"jsonrpc": "2.0", "id": i, "method": method, "params": params}).encode() + b"\n"
            for i, method, params in requests))

    def receive():
        return json.loads(connection.line())

    credentials = []
    for _ in range(sessions):
        send(("open", "session.open", {"lease_ms": 60000}))
        credentials.append(receive()["result"]["session"])
    lock = {"name": "/ls/local/crowded", "create": True}
    send(("held", "lock.acquire", {**lock, "session": credentials[0], "request": each + 1}))
    token = receive()["result"]["token"]
    for session in credentials[:-1]:
        send(*((f"{session} {i}", "lock.acquire",
                {**lock, "session": session, "request": i, "handle": i}) for i in range(1, each + 1)))
        send(("alive", "session.keepalive", {"session": session}))
        assert receive()["id"] == "alive"
    last = credentials[-1]
    send(*((i, "lock.acquire", {**lock, "session": last, "request": i, "handle": i})
           for i in range(1, each + 1)), ("alive", "session.keepalive", {"session": last}))
    refused = 0
    while (reply := receive())["id"] != "alive":
        assert reply["error"]["data"]["code"] == "overloaded", reply
        assert "on this connection" in reply["error"]["message"], reply
        refused += 1
    assert refused == sessions * each - 16384, refused
    # The lock goes to the first of all those who wait, and to nobody else.
    send(("free", "lock.release",
          {"name": lock["name"], "session": credentials[0], "request": each + 2, "token": token}))
    replies = {reply["id"]: reply for reply in (receive(), receive())}
    assert replies.keys() == {"free", f"{credentials[0]} 1"}, replies.keys()
    connection.close()
    cell.stop()


add_source(PAGE, blocks_of_page(PAGE))
for file in sorted((HERE / "protocol").glob("*.txt")):
    add_source(file, blocks_of_file(file))
main()
