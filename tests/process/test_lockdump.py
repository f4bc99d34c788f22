# SPDX-License-Identifier: Apache-2.0
"""lockdump on the store of a stopped replica: it shows what is there, and
changes nothing."""

import pathlib
import sqlite3
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import LOCKDUMP, Cell, run
from harness.tap import case, main


def octets(replica):
    return {path.name: path.read_bytes() for path in replica.folder.iterdir() if path.is_file()}


def stopped_cell(cell, end):
    """A replica of a cell that held two files, ended by `end`."""
    cell.start()
    with cell.client() as client:
        client.call("node.create", name="/ls/local/conf", kind="directory")
        client.call("node.put", name="/ls/local/conf/motd", content="hello, lockdump")
        client.call("node.put", name="/ls/local/gone", content="1")
        client.call("node.delete", name="/ls/local/gone")
    cell.wait_settled()
    for replica in cell.replicas:
        end(replica)
    return cell.replicas[0]


@case("it shows identity, members, log and nodes, and changes nothing")
def _():
    for end in (lambda replica: replica.terminate(), lambda replica: replica.kill()):
        with Cell() as cell:
            replica = stopped_cell(cell, end)
            before = octets(replica)
            done = run(LOCKDUMP, replica.folder)
            assert done.returncode == 0, done.stderr.decode()
            told = done.stdout.decode()
            for word in ("test", "conf/motd", "gone", *(r.peer for r in cell.replicas)):
                assert word in told, f"{word} is not in it:\n{told[:3000]}"
            assert octets(replica) == before, "lockdump changed the store"
            for replica in cell.replicas:
                replica.start(wait=False)
            cell.master()
            with cell.client() as client:
                result = client.read("node.get", name="/ls/local/conf/motd")
                assert result["content"] == "hello, lockdump"


@case("--copy makes a file that any SQLite reads, and refuses to overwrite one")
def _():
    with Cell() as cell:
        replica = stopped_cell(cell, lambda replica: replica.terminate())
        before = octets(replica)
        out = cell.folder / "copy.db"
        done = run(LOCKDUMP, "--copy", replica.folder, out)
        assert done.returncode == 0, done.stderr.decode()
        with sqlite3.connect(out) as database:
            tables = [row[0] for row in database.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
            rows = {name: database.execute(f'SELECT * FROM "{name}"').fetchall()
                    for name in tables}
        assert any("motd" in str(row) for row in sum(rows.values(), [])), tables
        copied = out.read_bytes()
        done = run(LOCKDUMP, "--copy", replica.folder, out)
        assert done.returncode != 0 and str(out).encode() in done.stderr, done
        assert out.read_bytes() == copied
        assert octets(replica) == before, "lockdump changed the store"


@case("a running replica's store, a folder without one and no folder are refused")
def _():
    with Cell(count=1) as cell:
        master = cell.start()
        for folder in (master.folder, cell.folder, cell.folder / "none"):
            done = run(LOCKDUMP, folder)
            assert done.returncode not in (0, 99), (folder, done)
            assert str(folder).encode() in done.stderr, (folder, done.stderr)
        with cell.client() as client:
            client.call("node.put", name="/ls/local/x", content="still served")


main()
