# SPDX-License-Identifier: Apache-2.0
"""SIGTERM of the master hands the mastership over: a short gap, nothing lost,
exit status 0.  kill -9 beside it, for comparison."""

import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell
from harness.tap import case, main, note
from harness.writers import Writers

TRIALS = 3


def gap_of(cell, end):
    """Seconds without an acknowledgement when the master ends by `end`."""
    with Writers(cell, 4) as writers:
        writers.wait(100)
        master = cell.master()
        end(master)
        writers.wait(100)
    writers.check()
    master.start()
    cell.wait_settled()
    return writers.longest_gap()


def trials(end, **settings):
    with Cell(**settings) as cell:
        cell.start()
        gaps = sorted(gap_of(cell, end) for _ in range(TRIALS))
    note("gaps " + ", ".join(f"{gap * 1000:.0f} ms" for gap in gaps))
    return gaps


def terminate(master):
    start = time.monotonic()
    status = master.terminate()
    note(f"ended after {(time.monotonic() - start) * 1000:.0f} ms with status {status}")
    assert status == 0, f"exit status {status}"


def kill(master):
    master.kill()


@case("SIGTERM of the master: a short gap, exit status 0", seconds=90)
def _():
    assert trials(terminate)[TRIALS // 2] < 1.0, "it took as long as an election"


@case("kill -9 of the master: another serves within seconds", seconds=90)
def _():
    assert trials(kill)[-1] < 5.0


@case("the same with firm leases, which are waited out unless handed over", seconds=120)
def _():
    assert trials(terminate, lease_reads=True)[TRIALS // 2] < 1.0
    gaps = trials(kill, lease_reads=True)
    assert gaps[-1] < 5.0
    assert gaps[0] > 0.3, "a firm lease was not waited out"


@case("SIGTERM of all replicas: each exits 0 and all is there afterwards", seconds=60)
def _():
    with Cell() as cell:
        cell.start()
        with cell.client() as client:
            client.call("node.put", name="/ls/local/kept", content="kept")
        for replica in cell.replicas:
            status = replica.terminate()
            assert status == 0, f"{replica}: exit status {status}"
        for replica in cell.replicas:
            replica.start(wait=False)
        cell.master()
        with cell.client() as client:
            assert client.read("node.get", name="/ls/local/kept")["content"] == "kept"


main()
