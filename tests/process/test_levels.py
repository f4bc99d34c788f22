# SPDX-License-Identifier: Apache-2.0
"""Reads at all levels against a real cell: followers answer those that may be old, each
says how old it may be and is no older, and a client that reads on never goes back."""

import json
import pathlib
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell
from harness.reading import Reader, Writer, judge, judge_order, now_us
from harness.rpc import RpcError
from harness.tap import case, main, note, wait_for

NAME = "/ls/local/x"
TOO_OLD = 75


def refused(word, connection, **params):
    try:
        result = connection.call("node.get", name=NAME, **params)
    except RpcError as error:
        assert error.name == word, error
        return error
    raise AssertionError(f"not refused with {word}: {result}")


def get(cell, replica, *options, timeout="5s"):
    """lockctl, told of one replica."""
    return cell.lockctl("-o", "json", "--timeout", timeout, "get", *options, "x",
                        endpoints=replica.client)


@case("followers answer sequential and stale reads themselves, and the rest the master")
def _():
    with Cell() as cell, cell.client() as client:
        cell.start()
        put = client.call("node.put", name=NAME, content="1")
        for follower in cell.followers():
            with follower.connect() as connection:
                read = connection.call("node.get", name=NAME, level="sequential",
                                       min_revision=put["revision"], wait_ms=5000)
                assert (read["content"], read["level"]) == ("1", "sequential"), read
                read = connection.call("node.get", name=NAME, level="stale")
                assert (read["content"], read["level"]) == ("1", "stale"), read
                assert read["revision"] == put["revision"] and read["epoch"] == put["epoch"], read
                for level in ("linearizable", "lease"):
                    refused("not_master", connection, level=level)
                refused("too_old", connection, level="sequential",
                        min_revision=put["revision"] + 1)
                start = time.monotonic()
                refused("too_old", connection, level="sequential",
                        min_revision=put["revision"] + 1, wait_ms=300)
                assert 0.25 < time.monotonic() - start < 2.0
            for level in ("linearizable", "lease", "sequential", "stale"):
                told = json.loads(get(cell, follower, "--level", level).stdout)
                assert told["content"] == "1" and told["revision"] == put["revision"], told
                assert told["epoch"] == put["epoch"] and told["index"] >= put["index"], told
                assert ("age_ms" in told) == (level in ("sequential", "stale")), told
                if level != "lease":
                    assert told["level"] == level, told
            options = ("--level", "sequential", "--max-age", "10s")
            for command in (("stat", *options, "x"), ("ls", *options), ("ls", "-l", *options),
                            ("acl", "get", *options, "x")):
                done = cell.lockctl(*command, endpoints=follower.client)
                assert done.returncode == 0 and done.stdout, done


@case("a sequential read waits until the follower has what the client has seen")
def _():
    with Cell() as cell, cell.client() as client:
        cell.start()
        follower = cell.followers()[0]
        with follower.connect() as connection:
            for number in range(40):  # Each may take a heartbeat to get there.
                put = client.call("node.put", name=NAME, content=str(number))
                read = connection.call("node.get", name=NAME, level="sequential",
                                       min_revision=put["revision"], wait_ms=5000)
                assert read["content"] == str(number), (number, read)
                assert read["revision"] >= put["revision"], read


@case("the age covers what a replica misses, stopped, cut off or under another master",
      seconds=120)
def _():
    with Cell() as cell:
        cell.start()
        writer = Writer(cell, NAME, pause=0.005)
        readers = [Reader(replica.client, NAME, "--level", level, every="2ms")
                   for replica in cell.replicas for level in ("stale", "sequential")]
        try:
            with writer:
                for _ in range(2):
                    time.sleep(0.5)
                    follower = cell.followers()[0]
                    follower.pause()
                    time.sleep(1.5)
                    follower.resume()
                    time.sleep(0.5)
                    master = cell.master()
                    master.pause()
                    cell.master(among=[replica for replica in cell.replicas
                                       if replica is not master])
                    time.sleep(0.5)
                    master.resume()
                    time.sleep(0.5)
            reads = [reader.end() for reader in readers]
        finally:
            for reader in readers:
                reader.process.kill()
        for at, of_one in enumerate(reads):
            shown = judge(of_one, writer)
            ages = [read["age_ms"] for read in of_one if "age_ms" in read]
            note(f"{shown} reads, {len(ages)} with an age, of {min(ages)} to {max(ages)} ms")
            assert shown >= 300
            if at % 2 == 1:
                judge_order(of_one)


@case("a follower that is cut off says its age, and is refused beyond the age asked for",
      seconds=90)
def _():
    with Cell() as cell, cell.client() as client:
        cell.start()
        client.call("node.put", name=NAME, content="1")
        left = cell.followers()[0]
        wait_for("it there", lambda: get(cell, left, "--level", "stale").returncode == 0)
        fresh = get(cell, left, "--level", "stale", "--max-age", "2s")
        assert fresh.returncode == 0, fresh
        for replica in cell.replicas:
            if replica is not left:
                replica.kill()
        cut = time.monotonic()
        time.sleep(2.5)
        for level in ("stale", "sequential"):
            told = json.loads(get(cell, left, "--level", level).stdout)
            gone = 1000 * (time.monotonic() - cut)
            assert 2400 <= told["age_ms"] <= gone + 1500, (told, gone)
            assert told["content"] == "1", told
            done = get(cell, left, "--level", level, "--max-age", "2s", timeout="1s")
            assert done.returncode == TOO_OLD, done
            assert b"--max-age" in done.stderr, done.stderr
            done = get(cell, left, "--level", level, "--max-age", "1m", timeout="1s")
            assert done.returncode == 0, done
        with left.connect() as connection:
            refused("too_old", connection, level="stale", max_age_ms=2000)
            assert left.status()["age_ms"] >= 2400
        rows = cell.lockctl("status", "--wait", "0", endpoints=left.client).stdout.decode()
        assert "AGE" in rows, rows
        row = next(line.split() for line in rows.splitlines() if left.client in line)
        assert float(row[-1]) >= 2.4, row


@case("a client that reads sequentially never goes back, whichever replica is left to it",
      seconds=120)
def _():
    with Cell() as cell:
        cell.start()
        writer = Writer(cell, NAME, pause=0.005)
        master = cell.master()
        ahead, behind = cell.followers()
        endpoints = f"{ahead.client},{behind.client},{master.client}"
        with Reader(endpoints, NAME, "--level", "sequential", every="2ms") as reader:
            with writer:
                for _ in range(3):
                    reader.wait("a read", lambda read: "error" not in read, now_us())
                    behind.pause()
                    time.sleep(0.5)
                    ahead.kill()  # With `behind` stopped nobody writes.
                    behind.resume()
                    reader.wait("a read", lambda read: "error" not in read, now_us())
                    ahead.start()
                    cell.master()
                    ahead, behind = behind, ahead
            reads = reader.end()
        judge_order(reads)
        note(f"{judge(reads, writer)} reads, {len(writer.acknowledged)} writes")
        assert len(reads) >= 500 and len(writer.acknowledged) >= 50


@case("a client that was stopped reads on at level stale, and its answers say their age")
def _():
    with Cell() as cell:
        cell.start()
        writer = Writer(cell, NAME, pause=0.005)
        follower = cell.followers()[0]
        with Reader(follower.client, NAME, "--level", "stale", every="2ms") as reader:
            with writer:
                time.sleep(0.5)
                reader.signal(signal.SIGSTOP)
                time.sleep(0.5)
                reader.signal(signal.SIGCONT)
                time.sleep(0.5)
            reads = reader.end()
        assert judge(reads, writer) >= 100
        assert all(read["level"] == "stale" for read in reads if "error" not in read)


main()
