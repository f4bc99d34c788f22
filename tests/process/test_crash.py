# SPDX-License-Identifier: Apache-2.0
"""Replicas are killed while clients write: nothing acknowledged is lost, and
nothing is executed twice."""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell
from harness.rpc import Unknown
from harness.tap import case, main, note
from harness.writers import Writers

CLIENTS = 32


@case("kill -9 of the master under 32 writing clients, three times over", seconds=150)
def _():
    with Cell() as cell:
        cell.start()
        with Writers(cell, CLIENTS) as writers:
            for _ in range(3):
                writers.wait(200)
                master = cell.master()
                master.kill()
                writers.wait(200)
                master.start()
        note(writers)
        note(f"longest gap {writers.longest_gap() * 1000:.0f} ms")
        writers.check()
        cell.wait_settled()


@case("kill -9 of all three under writing clients, restart: all there", seconds=120)
def _():
    with Cell() as cell:
        cell.start()
        with Writers(cell, CLIENTS) as writers:
            for _ in range(2):
                writers.wait(200)
                for replica in cell.replicas:
                    replica.kill()
                for replica in cell.replicas:
                    replica.start(wait=False)
                cell.master()
            writers.wait(100)
        note(writers)
        writers.check()
        cell.wait_settled()

        # Once more, idle, so that what is compared comes from the disk alone.
        for replica in cell.replicas:
            replica.kill()
        for replica in cell.replicas:
            replica.start(wait=False)
        cell.master()
        writers.check()
        cell.wait_settled()


@case("a follower killed under load catches up: equal slots, equal digests", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        follower = cell.followers()[0]
        with Writers(cell, 8) as writers:
            writers.wait(100)
            follower.kill()
            writers.wait(1000)
            follower.start()
            writers.wait(200)
        writers.check()
        statuses = cell.wait_settled()
        note(f"slot {statuses[0]['slot_applied']}, digest {statuses[0]['digest']}")


@case("five replicas: kill -9 of two, the master among them, and of one more at once after",
      seconds=120)
def _():
    with Cell(count=5) as cell:
        cell.start()
        with Writers(cell, CLIENTS) as writers:
            writers.wait(200)
            master = cell.master()
            other = cell.followers()[0]
            other.kill()
            master.kill()
            writers.wait(200)
            master.start()
            cell.master().kill()
            writers.wait(200)
            for replica in cell.replicas:
                if replica.process is None:
                    replica.start()
        note(writers)
        writers.check()
        cell.wait_settled()


@case("without a majority nothing is acknowledged; with it the cell goes on", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        with cell.client() as client:
            client.call("node.put", name="/ls/local/before", content="1")
        first, second = cell.followers()
        first.kill()
        second.kill()
        with cell.client(timeout=3.0, exchange=3.0) as client:
            try:
                client.call("node.put", name="/ls/local/alone", content="1")
            except (Unknown, TimeoutError) as error:
                note(f"alone: {error!r}")
            else:
                raise AssertionError("a single replica acknowledged a write")
        first.start(wait=False)
        cell.master()
        with cell.client() as client:
            assert client.read("node.get", name="/ls/local/before")["content"] == "1"
            client.call("node.put", name="/ls/local/after", content="1")


main()
