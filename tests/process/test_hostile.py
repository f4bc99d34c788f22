# SPDX-License-Identifier: Apache-2.0
"""Bad input of any kind gets a clear error or a closed connection, costs bounded
memory and disturbs nobody else."""

import collections
import json
import pathlib
import random
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import hostile
from harness.cell import Cell, elapsed
from harness.honest import Honest
from harness.rpc import Closed, RpcError, parse_address
from harness.tap import Threads, case, main, note, wait_for

SEED = 20260101
LINES = 10000
CONNECTIONS = 8
GROWTH_KIB = 48 * 1024  # The sanitizers' own bookkeeping is in it.


class Attacker:
    """Sends bad lines, each few followed by an honest question, and expects one
    answer to each line, or the end of its connection."""

    def __init__(self, replica, seed, lines):
        self.replica = replica
        self.rng = random.Random(seed)
        self.lines = lines
        self.seen = collections.Counter()
        self.probes = 0

    def run(self):
        connection = self.replica.connect(timeout=30.0)
        left = self.lines
        while left > 0:
            count = min(left, self.rng.randrange(1, 20))
            left -= count
            if not self.round(connection, count):
                self.seen["closed"] += 1
                connection.close()
                connection = self.replica.connect(timeout=30.0)
        connection.close()

    def round(self, connection, count):
        """False when the server closed the connection."""
        self.probes += 1
        probe = f"probe-{self.probes}"
        text = b"".join(hostile.line(self.rng) + b"\n" for _ in range(count))
        connection.notices.clear()  # Some of the lines are watches.
        question = {"jsonrpc": "2.0", "id": probe, "method": "cell.status", "params": {}}
        replies, answered = 0, False
        try:
            connection.send(text + json.dumps(question).encode() + b"\n")
        except ConnectionError:
            pass  # What it still said can be read.
        try:
            while replies < count or not answered:
                message = connection.answer()
                if message["id"] == probe:
                    assert "result" in message, message
                    answered = True
                else:
                    replies += 1
                    assert replies <= count, f"{replies} answers to {count} lines"
                    self.tally(message)
            return True
        except Closed:
            return False

    def tally(self, message):
        if "result" in message:
            self.seen["accepted"] += 1
            return
        error = message["error"]
        assert isinstance(error["code"], int), error
        assert isinstance(error["message"], str) and error["message"], error
        assert error["data"]["code"], error
        self.seen[error["data"]["code"]] += 1


def attack(replica, seed, lines):
    threads = Threads()
    attackers = [
        Attacker(replica, seed + n, lines // CONNECTIONS) for n in range(CONNECTIONS)
    ]
    for attacker in attackers:
        threads.start(attacker.run)
    threads.join(200.0)
    seen = collections.Counter()
    for attacker in attackers:
        seen.update(attacker.seen)
    return seen


@case(f"{LINES} bad lines: clear errors, no growth, an honest client undisturbed", seconds=240)
def _():
    with Cell() as cell:
        master = cell.start()
        note(f"seed {SEED}")
        with Honest(master):
            attack(master, SEED, LINES // 4)  # Warms allocator and caches up.
            before = master.rss_kib()
            descriptors = master.descriptors()
            seen = attack(master, SEED + 1000, LINES)
            after = master.rss_kib()
        note(", ".join(f"{name} {count}" for name, count in seen.most_common()))
        note(f"resident memory {before} KiB before, {after} KiB after")
        assert after - before < GROWTH_KIB, "memory grew"
        wait_for("the connections to be gone", lambda: master.descriptors() <= descriptors, 10)
        for name in ("parse_error", "invalid_request", "invalid_params", "method_not_found"):
            assert seen[name] > 0, f"nothing was refused as {name}"
        cell.wait_settled()


@case("bad lines and bad frames at the peer port disturb nobody", seconds=60)
def _():
    rng = random.Random(SEED)
    with Cell() as cell:
        master = cell.start()
        with Honest(master):
            for n in range(200):
                target = cell.replicas[n % 3].peer
                with socket.create_connection(parse_address(target), timeout=5) as peer:
                    peer.settimeout(5)
                    try:
                        peer.sendall(rng.randbytes(rng.randrange(1, 4096)))
                        if n % 2:
                            peer.shutdown(socket.SHUT_WR)
                            while peer.recv(65536):
                                pass
                    except ConnectionError:
                        pass
        assert cell.master() is master, "mastership changed"


@case("10,000 pipelined requests on one connection: each is answered once", seconds=120)
def _():
    count = 10000
    with Cell() as cell:
        master = cell.start()
        with master.connect(timeout=60.0) as connection:
            threads = Threads()
            ids = []

            def send():
                name = "/ls/local/p"
                for n in range(count):
                    if n % 10 == 0:
                        ids.append(connection.request("node.put", name=name, content=str(n)))
                    else:
                        ids.append(connection.request("node.get", name=name))

            threads.start(send)
            outcomes = collections.Counter()
            found = set()
            for _ in range(count):
                message = connection.answer()
                assert message["id"] not in found, f"two answers to {message['id']}"
                found.add(message["id"])
                error = message.get("error")
                outcomes[error["data"]["code"] if error else "ok"] += 1
            threads.join(10.0)
            assert found == set(ids)
        note(dict(outcomes))
        assert set(outcomes) <= {"ok", "overloaded", "no_node"}, outcomes
        assert outcomes["ok"] > count / 10


@case("writes pipelined on one connection take effect in their order", seconds=60)
def _():
    count = 500
    with Cell() as cell:
        master = cell.start()
        with master.connect(timeout=30.0) as connection:
            connection.request("node.create", name="/ls/local/d", kind="directory")
            for n in range(count):
                connection.request("node.put", name="/ls/local/d/f", content=str(n))
            indices = []
            for _ in range(count + 1):
                message = connection.answer()
                assert "result" in message, message
                indices.append((message["id"], message["result"]["index"]))
            indices.sort()
            assert all(a[1] < b[1] for a, b in zip(indices, indices[1:])), "out of order"
            result = connection.call("node.get", name="/ls/local/d/f")
            assert result["content"] == str(count - 1)
            assert result["stat"]["generation"] == count


@case("readers that never read are cut off or held back, in bounded memory", seconds=120)
def _():
    readers = 20
    unread = 1024 * 1024
    with Cell(output_max_bytes=unread) as cell:
        master = cell.start()
        with master.connect() as connection:
            connection.call("node.put", name="/ls/local/big", content="x" * 200 * 1024)
        before = master.rss_kib()
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "node.get",
                              "params": {"name": "/ls/local/big"}}).encode() + b"\n"
        slow = []
        with Honest(master):
            for _ in range(readers):
                made = socket.socket()
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                made.connect(parse_address(master.client))
                made.settimeout(0.2)
                slow.append(made)
                try:
                    made.sendall(request * 2000)
                except (TimeoutError, ConnectionError):
                    pass  # It reads no more of us, or has cut us off.
            top = before
            start = time.monotonic()
            while elapsed(start) < 5.0:
                top = max(top, master.rss_kib())
                time.sleep(0.05)
        for made in slow:
            made.close()
        note(f"resident memory {before} KiB before, {top} KiB at most")
        assert top - before < readers * 2 * unread / 1024 + GROWTH_KIB, "memory grew"


@case("half a line ends its connection; so does silence", seconds=60)
def _():
    half_line, silence = 2, 5
    with Cell(line_deadline_ms=half_line * 1000, idle_deadline_ms=silence * 1000) as cell:
        master = cell.start()
        start = time.monotonic()
        half = master.connect()
        half.send(b'{"jsonrpc":"2.0","id":1,')
        idle = master.connect()
        with Honest(master):
            for what, connection, seconds in (("half a line", half, half_line),
                                              ("silence", idle, silence)):
                try:
                    while True:
                        note(f"{what}: {connection.line(timeout=30)[:200]!r}")
                except Closed:
                    pass
                note(f"{what}: closed after {elapsed(start):.1f} s")
                assert seconds * 0.9 <= elapsed(start) <= seconds + 3


def flood(replica, count):
    """Opens connections and keeps them; how many were served."""
    kept, served = [], 0
    for _ in range(count):
        try:
            connection = replica.connect(timeout=5.0)
            kept.append(connection)
            connection.call("cell.status")
            served += 1
        except RpcError as error:
            assert error.name == "overloaded", error
        except (Closed, OSError):
            pass
    return kept, served


def wait_served(replica):
    """Until a new connection is served again."""
    wait_for("a connection to be served again", lambda: replica.status(timeout=2.0), 10)


@case("a flood of connections beyond clients_max is refused and passes", seconds=60)
def _():
    limit = 50
    with Cell(clients_max=limit) as cell:
        master = cell.start()
        with Honest(master):
            kept, served = flood(master, 3 * limit)
            note(f"{served} of {3 * limit} served")
            assert limit // 2 <= served <= limit
            for connection in kept:
                connection.close()
            wait_served(master)


@case("out of descriptors: the rest is turned away, without a busy loop", seconds=60)
def _():
    descriptors = 64
    with Cell() as cell:
        cell.init()
        for replica in cell.replicas:
            replica.start(under=["prlimit", f"--nofile={descriptors}:{descriptors}"])
        master = cell.master()
        with Honest(master):
            kept, served = flood(master, descriptors + 20)
            note(f"{served} of {descriptors + 20} served")
            assert 0 < served < descriptors
            start, cpu = time.monotonic(), master.cpu_seconds()
            waiting = [socket.create_connection(parse_address(master.client)) for _ in range(10)]
            time.sleep(2.0)
            share = (master.cpu_seconds() - cpu) / elapsed(start)
            note(f"{share * 100:.0f} % of a processor meanwhile")
            assert share < 0.6, "it spins"
            for connection in kept + waiting:
                connection.close()
            wait_served(master)
        assert cell.master() is master, "mastership changed"


main()
