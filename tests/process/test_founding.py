# SPDX-License-Identifier: Apache-2.0
"""How a cell comes to be, and who never belongs to it: the first formation needs
all; a lost store is lost, never new."""

import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell, elapsed
from harness.tap import case, main, note, wait_for


def start_all(replicas):
    for replica in replicas:
        replica.start(wait=False)


def assert_no_master(cell, seconds):
    """For so long nobody serves; long against an election."""
    start = time.monotonic()
    while elapsed(start) < seconds:
        assert cell.find_master() is None, "a master serves"
        time.sleep(0.1)


def log_has(replica, *words):
    return lambda: any(all(word in line for word in words) for line in replica.log().splitlines())


@case("two of three founders don't form a cell; the third makes it form")
def _():
    with Cell() as cell:
        cell.init()
        start_all(cell.replicas[:2])
        assert_no_master(cell, 3.0)
        for replica in cell.replicas[:2]:
            status = replica.status()
            if status is not None:
                assert status["role"] == "forming", status
        for replica in cell.replicas[:2]:
            wait_for("who is waited for, in the log",
                     log_has(replica, "forming: replica 3", "initialise all members anew"), 15)
        cell.replicas[2].start(wait=False)
        cell.master()
        cell.wait_settled()


@case("founders that restart in the middle of the founding still form it")
def _():
    with Cell() as cell:
        cell.init()
        start_all(cell.replicas[:2])
        assert_no_master(cell, 1.0)
        cell.replicas[0].kill()
        cell.replicas[2].start(wait=False)
        assert_no_master(cell, 1.0)
        cell.replicas[0].start(wait=False)
        cell.master()
        cell.wait_settled()


@case("a founder with other members is refused by name, and the cell does not form")
def _():
    with Cell() as cell:
        first, second, third = cell.replicas
        third.write_config(peers={"1": first.peer, "3": third.peer, "4": second.peer})
        cell.init()
        start_all(cell.replicas)
        wait_for("the refusal in a log", lambda: any(
            log_has(replica, "3")() and "members" in replica.log() for replica in (first, second)))
        assert_no_master(cell, 2.0)
        for replica in (first, second):
            told = [line for line in replica.log().splitlines() if "members" in line]
            note("\n".join(told[:3]))


@case("a founder with other settings is refused, and the cell does not form")
def _():
    with Cell() as cell:
        cell.replicas[2].write_config(lease_reads=True)
        cell.init()
        start_all(cell.replicas)
        wait_for("the refusal in a log",
                 lambda: any("settings" in replica.log() for replica in cell.replicas))
        assert_no_master(cell, 2.0)


@case("a store lost before the cell is formed: the founding stops and says so")
def _():
    with Cell() as cell:
        cell.init()
        start_all(cell.replicas[:2])
        first, second, third = cell.replicas

        # Let 1 and 2 pin each other, then lose 2.
        wait_for("the pinning", log_has(first, "pinned"), 10)
        second.kill()
        second.wipe()
        second.init()
        second.start(wait=False)
        third.start(wait=False)
        wait_for("the refusal in the log", log_has(first, "identity", "2"), 10)
        assert_no_master(cell, 2.0)


@case("a store lost after the cell is formed is lost: its successor never votes")
def _():
    with Cell() as cell:
        cell.start()
        cell.wait_settled()
        lost = cell.followers()[0]
        lost.kill()
        lost.wipe()

        # Without init it does not even start.
        lost.start(wait=False)
        assert lost.wait_exit() != 0
        assert "init" in lost.log()

        # With init it is a stranger under a known number: the log names the refusal.
        lost.init()
        lost.start(wait=False)
        number = str(lost.number)
        wait_for("the refusal in a log", lambda: any(
            log_has(replica, "identity", number)() for replica in cell.replicas), 10)
        with cell.client() as client:
            client.call("node.put", name="/ls/local/x", content="1")
            assert client.read("node.get", name="/ls/local/x")["content"] == "1"

            # One old member and the stranger are no majority.
            other = [replica for replica in cell.followers() if replica is not lost][0]
            other.kill()
            wait_for("the master to step down", lambda: cell.find_master() is None, 10)
            assert_no_master(cell, 3.0)
            other.start(wait=False)
            cell.master(among=[replica for replica in cell.replicas if replica is not lost])
            assert client.read("node.get", name="/ls/local/x")["content"] == "1"


@case("all stores lost: new stores make a new cell, never the old one's continuation")
def _():
    with Cell() as cell:
        cell.start()
        old = cell.replicas[0].status()["cell_id"]
        for replica in cell.replicas:
            replica.kill()
            replica.wipe()
        master = cell.start()
        assert master.status()["cell_id"] != old


@case("a replica of another cell, under a member's number and address, counts for nothing")
def _():
    with Cell() as cell, Cell() as other:
        cell.start()
        other.start()
        cell.wait_settled()
        victim = cell.followers()[0]
        victim.kill()
        twin = other.replicas[victim.number - 1]
        twin.kill()
        victim.write_config(data_dir=str(twin.folder))
        victim.start(wait=False)
        wait_for("the stranger's answer", victim.status, 10)
        assert victim.status()["cell_id"] != cell.master().status()["cell_id"]
        with cell.client() as client:
            client.call("node.put", name="/ls/local/x", content="1")

            # It and one member are no majority.
            [member] = [replica for replica in cell.followers() if replica is not victim]
            member.kill()
            wait_for("the master to step down", lambda: cell.find_master() is None, 10)
            assert_no_master(cell, 3.0)
            member.start(wait=False)
            cell.master(among=[replica for replica in cell.replicas if replica is not victim])
            assert client.read("node.get", name="/ls/local/x")["content"] == "1"


main()
