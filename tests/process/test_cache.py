# SPDX-License-Identifier: Apache-2.0
"""Caches of real clients against a real cell: no cached read lags an acknowledged write,
over the death of masters too, and who does not answer holds up a write no longer than its
cache lease."""

import contextlib
import pathlib
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import LOCKCTL, Cell, run
from harness.proxy import Proxy
from harness.reading import Reader, Writer, judge, judge_order, now_us
from harness.tap import case, main, note, wait_for

LEASE = 3.0  # cache_lease_ms, as it is unless given.
SLACK = 1.5  # For processes to get their turn.
NAME = "/ls/local/x"


def put(cell, content, name=NAME):
    """How long it took, and when it was acknowledged."""
    with cell.client(exchange=10.0) as client:
        start = time.monotonic()
        client.call("node.put", name=name, content=content)
        return time.monotonic() - start, now_us()


def from_memory(reads):
    return sum(read["cached"] for read in reads)


@case("the judge finds a read that lags, one from the future, and one that goes back")
def _():
    class Writes:
        begun, acknowledged = [100, 200, 300], [150, 250, 350]
        newest = Writer.newest

    def found(judged, *reads):
        reads = [{"asked_us": at, "took_us": 10, "revision": int(value), "content": value,
                  "level": "linearizable"} for at, value in reads]
        try:
            judged(reads)
        except AssertionError:
            return True
        return False

    judged = lambda reads: judge(reads, Writes())
    assert not found(judged, (120, "1"), (160, "1"), (240, "1"), (240, "2"), (251, "2"))
    assert found(judged, (251, "1"))
    assert found(judged, (160, "2"))
    assert not found(judge_order, (1, "1"), (2, "1"), (3, "2"))
    assert found(judge_order, (1, "2"), (2, "1"))


@case("a cached reader never lags an acknowledged write of another process, with masters "
      "killed in between", seconds=180)
def _():
    with Cell() as cell:
        cell.start()
        writer = Writer(cell, NAME)
        with Reader(cell.endpoints, NAME, "--cache") as one, \
                Reader(cell.endpoints, NAME, "--cache") as two:
            one.wait_cached()
            two.wait_cached()
            with writer:
                for _ in range(3):
                    time.sleep(1.0)
                    master = cell.master()
                    master.kill()
                    killed = now_us()
                    cell.master()
                    for reader in (one, two):
                        reader.wait_cached(killed)
                    time.sleep(1.0)
                    master.start()
            reads = [one.end(), two.end()]
        for of_one in reads:
            shown = judge(of_one, writer)
            judge_order(of_one)
            note(f"{shown} reads, {from_memory(of_one)} of them from memory, "
                 f"{len(writer.acknowledged)} writes")
            assert from_memory(of_one) >= 1000
        assert len(writer.acknowledged) >= 50


@case("who is stopped, or killed, holds up a write no longer than the cache lease; who goes on "
      "then reads what is new", seconds=120)
def _():
    with Cell() as cell:
        master = cell.start()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            put(cell, "old")
            with Reader(cell.endpoints, NAME, "--cache", every="10ms") as reader:
                reader.wait_cached(now_us())
                reader.signal(number)
                took, acknowledged = put(cell, "new")
                note(f"signal {number}: the write took {took:.2f} s")
                assert LEASE / 3 < took < LEASE + SLACK, took
                took, acknowledged = put(cell, "newer")
                assert took < SLACK, f"it was waited for twice: {took}"
                if number == signal.SIGSTOP:
                    reader.signal(signal.SIGCONT)
                    read = reader.wait("a read", lambda read: True, acknowledged)
                    assert read["content"] == "newer" and not read["cached"], read
                    reader.wait_cached(acknowledged)
                    took, _ = put(cell, "newest")
                    assert took < SLACK, took
        assert master.status()["held"] == 0


@case("who is cut off stops reading from memory before anybody is told of what is new, whether "
      "the master lives or is killed", seconds=120)
def _():
    for killed in (False, True):
        with contextlib.ExitStack() as stack:
            cell = stack.enter_context(Cell())
            proxies = []
            for replica in cell.replicas:
                port = f"{cell.host}:{cell.port + 3 + replica.number}"
                proxies.append(stack.enter_context(Proxy(port)))
                replica.write_config(listeners=[{"listen": port, "principal": "guest",
                                                 "advertise": proxies[-1].address}])
            cell.start()
            put(cell, "old")
            reader = stack.enter_context(Reader(",".join(proxy.address for proxy in proxies),
                                                NAME, "--cache"))
            reader.wait_cached()
            for proxy in proxies:
                proxy.cut()
            cut = now_us()
            if killed:
                cell.master().kill()
                cell.master()
            took, acknowledged = put(cell, "new")
            note(f"the write took {took:.2f} s{' at the new master' if killed else ''}")
            assert LEASE / 3 < took < LEASE + SLACK, took
            wait_for("that to pass", lambda: now_us() > acknowledged + 500000)
            since = [read for read in reader.end() if read["asked_us"] > cut]
            late = [read for read in since if read["asked_us"] > acknowledged]
            assert not late, late[0]
            assert from_memory(since) >= 100, "it believed in nothing any more at once"


@case("while a write waits for a cache: status says so, other writes and all reads go on")
def _():
    with Cell() as cell:
        master = cell.start()
        put(cell, "old")
        with Reader(cell.endpoints, NAME, "--cache", every="10ms") as reader:
            reader.wait_cached()
            wait_for("status to count it", lambda: master.status()["cached"] == 1)
            assert b"1 names kept by clients" in cell.lockctl("status").stdout
            reader.signal(signal.SIGSTOP)
            with master.connect() as waiting, cell.client() as other:
                waiting.request("node.put", name=NAME, content="new")
                wait_for("it to be held", lambda: master.status()["held"] == 1, 2, every=0.005)
                start = time.monotonic()
                other.call("node.put", name="/ls/local/y", content="1")
                assert other.read("node.get", name=NAME)["content"] == "old"
                assert time.monotonic() - start < LEASE / 3, "others were held up too"
                assert "result" in waiting.answer(LEASE + SLACK)
                assert other.read("node.get", name=NAME)["content"] == "new"
            reader.signal(signal.SIGCONT)


@case("who leaves on a signal, or because nobody listens, holds up nothing")
def _():
    with Cell() as cell:
        cell.start()
        put(cell, "old")
        with Reader(cell.endpoints, NAME, "--cache") as reader:
            reader.wait_cached()
            reader.end()
        took, _ = put(cell, "new")
        assert took < LEASE / 3, took
        done = run("sh", "-c", f"{LOCKCTL} --endpoints {cell.endpoints} get --cache --every 50ms x "
                               "| head -n 3")
        assert done.stdout.count(b"memory") == 2, done
        wait_for("it to be gone", lambda: cell.master().status()["sessions"] == 0, LEASE)
        took, _ = put(cell, "newer")
        assert took < LEASE / 3, took


@case("that there is nothing is kept too, until it is made; and what is deleted is gone",
      seconds=90)
def _():
    with Cell() as cell, cell.client() as client:
        cell.start()
        truths = []  # (since when, until when, content): all between is to show just that.
        kept = lambda read: read["cached"]
        with Reader(cell.endpoints, NAME, "--cache") as reader:
            since = now_us()
            for content in map(str, range(20)):
                reader.wait("nothing, from memory", kept, since)
                truths.append((since, now_us(), None))
                client.call("node.put", name=NAME, content=content)
                since = now_us()
                reader.wait("the file, from memory", kept, since)
                truths.append((since, now_us(), content))
                client.call("node.delete", name=NAME)
                since = now_us()
            reads = reader.end()
        judged = 0
        for since, until, content in truths:
            for read in reads:
                if since < read["asked_us"] and read["asked_us"] + read["took_us"] < until:
                    assert read.get("content") == content, (content, read)
                    assert content is not None or read["error"] == "no_node", read
                    judged += 1
        note(f"{judged} reads judged, {from_memory(reads)} of {len(reads)} were from memory")
        assert judged >= 2 * len(truths)


@case("a change of the names of the lists, or of a list, drops what is kept", seconds=90)
def _():
    with Cell() as cell:
        ports = {}
        for replica in cell.replicas:
            ports[replica] = f"{cell.host}:{cell.port + 3 + replica.number}"
            replica.write_config(listeners=[{"listen": ports[replica], "principal": "guest"}])
        cell.start()
        for arguments in (("mkdir", "acl"), ("put", "acl/locals", "local"),
                          ("put", "acl/both", "local\nguest"), ("put", "x", "secret")):
            done = cell.lockctl(*arguments)
            assert done.returncode == 0, done.stderr
        sees = lambda read: read["cached"] and "error" not in read
        with Reader(",".join(ports.values()), NAME, "--cache") as reader:
            def changed(*arguments):
                done = cell.lockctl(*arguments)
                assert done.returncode == 0, done.stderr
                return now_us()

            since = 0
            for shut, opened in ((("acl", "set", "--read", "locals", "x"),
                                  ("acl", "set", "--read", "both", "x")),
                                 (("put", "acl/both", "local"),
                                  ("put", "acl/both", "guest\nlocal"))):
                reader.wait("it, from memory", sees, since)
                since = changed(*shut)
                denied = reader.wait("denial", lambda read: read.get("error") == "denied", since)
                first = next(read for read in reader.reads if read["asked_us"] > since)
                assert first == denied, (first, denied)
                assert not denied["cached"], denied
                assert cell.lockctl("get", "x").stdout == b"secret"
                since = changed(*opened)
            reader.wait("it, from memory", sees, since)
            first = next(read for read in reader.reads if read["asked_us"] > since)
            assert first["content"] == "secret", first


main()
