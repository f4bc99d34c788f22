# SPDX-License-Identifier: Apache-2.0
"""A master that is stopped and wakes up later serves nothing of its old epoch,
however its sockets filled up meanwhile."""

import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell
from harness.rpc import Closed, RpcError
from harness.tap import case, main, note, wait_for

READS = 20
WRITES = 20


def answers(connection, count):
    """id -> message, as many as come before the connection ends."""
    found = {}
    try:
        while len(found) < count:
            message = connection.answer(timeout=10.0)
            assert message["id"] not in found, f"two answers to {message['id']}"
            found[message["id"]] = message
    except Closed:
        note("the connection was closed")
    return found


def ask(connection, name):
    """Reads and writes without waiting; which ids are which."""
    reads = [connection.request("node.get", name="/ls/local/state") for _ in range(READS)]
    writes = {
        connection.request("node.put", name=f"/ls/local/{name}-{n}", content="old master"): n
        for n in range(WRITES)
    }
    return reads, writes


def check_reads(found, reads, allowed):
    for number in reads:
        result = found.get(number, {}).get("result")
        if result is not None:
            assert result["content"] in allowed, f"served {result['content']!r}"


def check_refused(found, writes):
    for number in writes:
        message = found.get(number, {})
        assert "result" not in message, f"the woken master acknowledged a write: {message}"


def written(client, name):
    """Which of the writes that ask() sent are there, under the new master."""
    there = set()
    for n in range(WRITES):
        try:
            client.read("node.get", name=f"/ls/local/{name}-{n}")
            there.add(n)
        except RpcError as error:
            assert error.name == "no_node", error
    return there


def pause(seconds):
    """The master sleeps for so long; clients of before and of meanwhile ask it."""
    with Cell() as cell:
        old = cell.start()
        with old.connect() as before:
            before.call("node.put", name="/ls/local/state", content="old")
            epoch = before.call("cell.status")["epoch"]

            # Some requests are under way when the master stops.
            early_reads, early_writes = ask(before, "early")
            old.pause()
            start = time.monotonic()
            others = [replica for replica in cell.replicas if replica is not old]
            cell.master(among=others)
            note(f"a new master serves after {(time.monotonic() - start) * 1000:.0f} ms")
            with cell.client() as client:
                client.addresses = [replica.client for replica in others]
                client.call("node.put", name="/ls/local/state", content="new")

                # Others wait in its sockets until it wakes up.
                late_reads, late_writes = ask(before, "late")
                with old.connect() as meanwhile:
                    fresh_reads, fresh_writes = ask(meanwhile, "fresh")
                    wait_for("the pause to end", lambda: time.monotonic() - start >= seconds,
                             seconds + 1)
                    there_early = written(client, "early")
                    old.resume()
                    found = answers(before, 2 * (READS + WRITES))
                    found_fresh = answers(meanwhile, READS + WRITES)

                # Early reads may have been answered before the stop, with "old".
                check_reads(found, early_reads, ("old", "new"))
                check_reads(found, late_reads, ("new",))
                check_reads(found_fresh, fresh_reads, ("new",))

                # An early write that was acknowledged is there; whatever was not
                # there while the new master served, never comes.
                for number, n in early_writes.items():
                    if "result" in found.get(number, {}):
                        assert n in there_early, f"early write {n} was acknowledged and is lost"
                assert written(client, "early") == there_early
                check_refused(found, late_writes)
                check_refused(found_fresh, fresh_writes)
                assert not written(client, "late"), "a write to the stopped master was executed"
                assert not written(client, "fresh"), "a write to the stopped master was executed"

                wait_for("the woken replica to follow",
                         lambda: (old.status() or {}).get("epoch", 0) > epoch, 20)
                assert cell.master() is not None
        cell.wait_settled()


@case("the master stopped for 3 s serves nothing of its old epoch", seconds=60)
def _():
    pause(3)


@case("the master stopped for 20 s serves nothing of its old epoch", seconds=90)
def _():
    pause(20)


@case("a follower stopped for 3 s disturbs nobody and catches up", seconds=60)
def _():
    with Cell() as cell:
        master = cell.start()
        follower = cell.followers()[0]
        with master.connect() as connection:
            epoch = connection.call("cell.status")["epoch"]
            follower.pause()
            start = time.monotonic()
            count = 0
            while time.monotonic() - start < 3.0:
                connection.call("node.put", name="/ls/local/count", content=str(count))
                count += 1
            follower.resume()
            cell.wait_settled()
            assert connection.call("cell.status")["epoch"] == epoch, "mastership changed"
        note(f"{count} writes meanwhile")


main()
