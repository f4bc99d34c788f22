# SPDX-License-Identifier: Apache-2.0
"""Watchers who want too much, read too little or ask for everything at once: bounded
memory, no turn held up, nobody else disturbed, and what is not told is said so."""

import contextlib
import json
import pathlib
import re
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell, SANITIZED, elapsed
from harness.honest import Honest
from harness.rpc import Connection, RpcError, parse_address
from harness.tap import case, main, note, wait_for

WATCHES_MAX = 1000000  # Of a master.
PAGE = 1000
# Half of a master lease is too long for a turn.  Sanitizers take their time, so
# there masters get more of it.
SLOW_MS = 2500 if SANITIZED else 250
LEASES = {"heartbeat_ms": 500, "master_lease_ms": 5000} if SANITIZED else {}


# ------------------------------------------------------------------ helpers


@contextlib.contextmanager
def measured(replica):
    """What the replica's memory and turns did meanwhile, as a note; judges the turns."""
    before, start = replica.rss_kib(), len(replica.log())
    began = time.monotonic()
    yield
    turns = [int(ms) for ms in re.findall(r"loop\.slow\b.*?\bms=(\d+)", replica.log()[start:])]
    note(f"{elapsed(began):.1f} s; resident memory {before} KiB, then {replica.rss_kib()} KiB;"
         f" slow turns: {turns or 'none'}")
    assert not turns or max(turns) < SLOW_MS, f"a turn took {max(turns)} ms"


def page(first, count, name, number=0, **options):
    """One watch.add, as a line; `name` may have a place for the watch's number."""
    watches = [{"watch": n, "name": name.format(n), **options}
               for n in range(first, first + count)]
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "watch.add",
                       "params": {"watches": watches}}).encode() + b"\n"


def add(connection, count, name, first=1, **options):
    """Sets watches in pages, some of them on their way; how many pages were taken.
    What is refused must be so with `overloaded`."""
    pages = [(at, min(PAGE, first + count - at)) for at in range(first, first + count, PAGE)]
    taken = on_way = 0

    def collect():
        message = connection.answer(60.0)
        if "result" in message:
            return 1
        assert message["error"]["data"]["code"] == "overloaded", message
        return 0

    for number, (at, size) in enumerate(pages):
        connection.send(page(at, size, name, number, **options))
        on_way += 1
        if on_way == 8:
            taken, on_way = taken + collect(), on_way - 1
    return taken + sum(collect() for _ in range(on_way))


def status(replica):
    found = replica.status()
    assert found is not None, f"{replica} says nothing"
    return found


def fill(connection, count, name="/ls/local/fill", size=4096):
    """So many writes, pipelined; the revision of the last."""
    content = "x" * size
    ids = set()
    for n in range(count):
        ids.add(connection.request("node.put", name=name, content=f"{n:08}{content[8:]}"))
        if len(ids) == 48:
            gather(connection, ids, 24)
    return gather(connection, ids, 0)


def gather(connection, ids, left):
    revision = 0
    while len(ids) > left:
        message = connection.answer(30.0)
        assert "result" in message, message
        ids.remove(message["id"])
        revision = max(revision, message["result"]["revision"])
    return revision


def deaf(replica, line):
    """A connection that asks and never reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(parse_address(replica.client))
    made.settimeout(5.0)
    made.sendall(line)
    return made


def small(connection):
    """Little of what is not read shall lie in the kernel."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    return connection


def code_of(connection, method, **params):
    """The JSON-RPC code with which it is refused, and the word."""
    try:
        connection.call(method, **params)
    except RpcError as error:
        assert error.message, error
        return error.code, error.name
    return None


# -------------------------------------------------------------------- forms


@case("watches of a wrong form are refused by a clear error; those on the edge are taken")
def _():
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect() as connection:
            name = "/ls/local/x"
            invalid = (-32602, "invalid_params")

            def add_one(**members):
                return code_of(connection, "watch.add", watches=[members])

            for watches in (None, {}, [], [[]], [1], ["x"], [{}], [{"watch": 1}], [{"name": name}]):
                assert code_of(connection, "watch.add", watches=watches) == invalid, watches
            assert code_of(connection, "watch.add") == invalid
            for number in (0, -1, 2**53, 1.5, "1", None, True):
                assert add_one(watch=number, name=name) == invalid, number
            for odd in ({"scope": "galaxy"}, {"scope": 1}, {"kinds": []}, {"kinds": ["x"]},
                        {"kinds": "content"}, {"kinds": ["lock", "lock"]},
                        {"kinds": ["lock"] * 20000}, {"from": -1}, {"from": 2**53},
                        {"content": 1}, {"old_content": "yes"}, {"other": 1}):
                assert add_one(watch=1, name=name, **odd) == invalid, odd
            twice = [{"watch": 1, "name": name}, {"watch": 1, "name": name}]
            assert code_of(connection, "watch.add", watches=twice) == invalid
            many = [{"watch": n, "name": name} for n in range(1, PAGE + 2)]
            assert code_of(connection, "watch.add", watches=many) == invalid
            for odd in (None, {}, [], [[]], [0], [2**53], ["1"], list(range(1, PAGE + 2))):
                assert code_of(connection, "watch.remove", watches=odd) == invalid, odd
            for bad in ("", "x", "/ls/other/x", "/ls/local//x", "/ls/local/" + "/".join("x" * 65)):
                assert add_one(watch=1, name=bad) == (-32000, "bad_name"), bad

            # On the edge, and in order; what is to come already is a past that isn't ours.
            now = connection.call("node.put", name=name, content="")["revision"]
            assert connection.watch(name, watch=9, **{"from": 2**53 - 1}) == now
            assert connection.event(5.0) == (9, {"kind": "gap", "revision": now})
            connection.call("watch.remove", watches=[9])
            deep = "/ls/local/" + "/".join("x" * 64)
            for number in (1, 2**53 - 1):
                for scope in ("node", "children", "subtree"):
                    assert connection.watch(deep, watch=number, scope=scope) >= 0
            assert connection.watch("/ls/local", watch=2, scope="subtree") >= 0
            connection.call("watch.remove", watches=[1, 2, 2**53 - 1])
            connection.call("watch.remove", watches=[1, 77])  # Is none: so it is not there.
            assert status(master)["watches"] == 0, status(master)
            connection.call("node.put", name=name, content="")
            with contextlib.suppress(TimeoutError):
                raise AssertionError(f"a removed watch was told {connection.notice(0.3)}")
        follower = cell.followers()[0]
        with follower.connect() as connection:
            try:
                connection.watch(name)
                raise AssertionError("a follower took a watch")
            except RpcError as error:
                assert error.name == "not_master" and error.data["master"] == master.client, error


@case("locks and handles of a wrong form are refused by a clear error")
def _():
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect() as connection:
            name = "/ls/local/x"
            session = connection.call("session.open")["session"]
            request = 0

            def of_session(method, **params):
                nonlocal request
                request += 1
                return code_of(connection, method, session=session, request=request,
                               ack=[request - 1], name=name, **params)

            invalid = (-32602, "invalid_params")
            for delay in (60001, -1, 1.5, "1", None, 2**53):
                assert of_session("lock.acquire", create=True, lock_delay_ms=delay) == invalid
            assert of_session("lock.acquire", create=True, lock_delay_ms=60000) is None
            for odd in ({"create": True}, {"create": "tree"}, {"ephemeral": 1}, {"handle": -1},
                        {"handle": 2**53}, {"if_instance": -1}, {"create": "directory",
                                                                 "content": "x"}):
                assert of_session("node.open", **odd) == invalid, odd
            for odd in ({}, {"handle": 1}, {"if_instance": -1}, {"if_instance": "1"}):
                assert of_session("node.close", **odd) == invalid, odd
            for odd in ("", ":", "x:exclusive:1", name + ":exclusive:", name + ":both:1",
                        name + ":exclusive:-1", f"{name}:exclusive:{2**53}", 7, None):
                found = code_of(connection, "lock.check", sequencer=odd)
                assert found in (invalid, (-32000, "bad_name")), (odd, found)
            # Of what is not held, or not there, it says so.
            for odd in (name + ":shared:1", name + ":exclusive:2", "/ls/local/none:shared:1"):
                assert connection.call("lock.check", sequencer=odd)["valid"] is False, odd


# ------------------------------------------------------------------- floods


@case(f"{WATCHES_MAX} watches, no more: the rest is overloaded, and they are gone with"
      " their connection", seconds=240)
def _():
    with Cell(**LEASES) as cell:
        master = cell.start()
        with Honest(master, watching=True), master.connect(timeout=60.0) as connection:
            before = master.rss_kib()
            with measured(master):
                taken = add(connection, WATCHES_MAX + 2 * PAGE, "/ls/local/dir/n{}")
                held = status(master)["watches"]
            grown = (master.rss_kib() - before) * 1024
            note(f"{taken} pages taken, {held} watches, {grown / held:.0f} octets each")
            assert WATCHES_MAX - PAGE <= held <= WATCHES_MAX, held
            if not SANITIZED:
                assert grown / held < 400, "a watch takes too much memory"
            with measured(master):
                connection.close()
                wait_for("the watches to be gone", lambda: status(master)["watches"] <= 1, 30)
        assert cell.master() is master, "mastership changed"


@case("thousands of watchers of one file are each told one write, once", seconds=120)
def _():
    count, connections = (2000 if SANITIZED else 4000), []
    with Cell(**LEASES) as cell:
        master = cell.start()
        before = master.rss_kib()
        for _ in range(count):
            connections.append(Connection(master.client))
            connections[-1].send(page(1, 1, "/ls/local/one", content=True))
        for connection in connections:
            connection.answer(30.0)
        note(f"{(master.rss_kib() - before) * 1024 / count:.0f} octets for a connection and its watch")
        for content in ("a", "b" * 100000):
            with measured(master), master.connect() as writer:
                began = time.monotonic()
                writer.call("node.put", name="/ls/local/one", content=content)
                for connection in connections:
                    _, event = connection.event(30.0)
                    assert event["size"] == len(content), event
                    assert ("content" in event) == (len(content) == 1), event
                note(f"{count} watchers told after {elapsed(began) * 1000:.0f} ms")
        for connection in connections:
            assert not connection.notices and not connection.buffer, "it was told twice"
            connection.close()


# ----------------------------------------------------------------- slowness


@case("watchers that never read: bounded memory, and others are told at once", seconds=180)
def _():
    readers, name = 50, "/ls/local/noise"
    with Cell(**LEASES) as cell:
        master = cell.start()
        with Honest(master, watching=True), master.connect() as writer:
            slow = [deaf(master, page(1, 100, name, content=True, old_content=True))
                    for _ in range(readers)]
            wait_for("the watches", lambda: status(master)["watches"] >= readers * 100, 20)
            before = master.rss_kib()
            with measured(master):
                fill(writer, 2000, name)
            grown = master.rss_kib() - before
            # History has its own 16 MiB of this; then 128 KiB and a turn's worth for each.
            note(f"grown by {grown} KiB for {readers} deaf watchers and 2,000 writes of 4 KiB")
            if not SANITIZED:
                assert grown < 32 * 1024 + readers * 1024, "memory grew with the unread"
            for made in slow:
                made.close()
            wait_for("the watches to be gone", lambda: status(master)["watches"] <= 1, 20)


@case("a file with 200,000 watches of one client on it is written as fast as others",
      seconds=120)
def _():
    count, writes, name = (50000 if SANITIZED else 200000), 400, "/ls/local/popular"
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect(timeout=60.0) as connection, master.connect() as writer:
            assert add(connection, count, name) == count // PAGE
            with Honest(master), measured(master):
                fill(writer, writes, name, size=100)
        wait_for("the watches to be gone", lambda: status(master)["watches"] == 0, 30)


@case("a watcher that reads late is told less, never something wrong", seconds=180)
def _():
    """Every change is told, stands in a range, or lies below a gap."""
    writes, name = 8000, "/ls/local/noise"
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect() as writer, small(Connection(master.client)) as reader:
            told = reader.watch(name, content=True)
            last = fill(writer, writes, name, size=1000)
            kinds = {"events": 0, "coalesced": 0, "gaps": 0}
            generation = 0
            while told < last:
                _, event = reader.event(20.0)
                if event["kind"] == "gap":
                    kinds["gaps"] += 1
                    assert event["revision"] >= told, (told, event)
                    told, generation = event["revision"], None
                    continue
                first = event.get("first_revision", event["revision"])
                assert told < first <= event["revision"], (told, event)
                count = event.get("count", 1)
                kinds["coalesced" if count > 1 else "events"] += 1
                if generation is not None:
                    assert event["generation"] == generation + count, (generation, event)
                generation, told = event["generation"], event["revision"]
                assert int(event["content"][:8]) == generation - 1, event
            note(kinds)
            assert generation == writes, generation
            assert kinds["coalesced"] + kinds["gaps"] > 0, "it was never slow"


@case("a slow reader of 256 KiB files that watches them, too: an event before its reply",
      seconds=120)
def _():
    name, size = "/ls/local/large", 256 * 1024
    with Cell(**LEASES) as cell:
        master = cell.start()
        with Honest(master), master.connect() as writer, \
                small(Connection(master.client)) as reader:
            reader.watch(name, content=True)
            written = 0
            for _ in range(40):
                written = writer.call("node.put", name=name, content="x" * size)["revision"]
                reader.request("node.get", name=name)
            answers, told = 0, 0
            while answers < 40:
                message = reader.message(20.0)
                if "id" in message:
                    answers += 1
                    stat = message["result"]["stat"]
                    assert told >= stat["revision"], ("a reply before its event", told, stat)
                    assert len(message["result"]["content"]) == size
                elif message["method"] == "watch.event":
                    told = message["params"]["event"]["revision"]
            assert told == written, (told, written)


@case("everything from the beginning, asked for by many at once, holds up no turn", seconds=240)
def _():
    storms, writes = 30, (3000 if SANITIZED else 9000)
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect() as writer:
            fill(writer, writes)  # 8 KiB of history each: the oldest go.
        found = status(master)
        note({name: found[name] for name in ("history_bytes", "history_floor", "revision")})
        assert found["history_bytes"] <= 64 * 1024 * 1024 + 65536, found
        assert SANITIZED or found["history_floor"] > 0, found
        with Honest(master, watching=True) as honest, measured(master), \
                contextlib.ExitStack() as stack:
            for n in range(storms):
                line = page(1, 20, "/ls/local", scope="subtree", **{"from": 0}, content=True)
                stack.callback(deaf(master, line).close)
            reader = stack.enter_context(master.connect(timeout=60.0))
            reader.watch("/ls/local/fill", **{"from": 0}, kinds=["content"])
            told, generation = 0, 0
            while generation < writes:
                _, event = reader.event(30.0)
                assert event["revision"] >= told, (told, event)
                told = event["revision"]
                if event["kind"] == "gap":
                    assert generation == 0 and told >= found["history_floor"] > 0, event
                    generation = told  # There were no other changes.
                else:
                    generation += event.get("count", 1)
                    assert event["generation"] == generation, (generation, event)
            wait_for("the honest client", lambda: honest.count >= 100, 60)
        assert cell.master() is master, "mastership changed"


# ------------------------------------------------------------- much at once


def in_batches(connection, requests, batch=48):
    """Sends requests, a batch at a time; every answer must be a result."""
    results = []
    for start in range(0, len(requests), batch):
        ids = [connection.request(method, **params)
               for method, params in requests[start:start + batch]]
        found = {}
        while len(found) < len(ids):
            message = connection.answer(30.0)
            assert "result" in message, message
            found[message["id"]] = message["result"]
        results += [found[number] for number in ids]
    return results


@case("10,000 ephemerals go with their session, at once, and each is told", seconds=180)
def _():
    count = 2000 if SANITIZED else 10000
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect() as connection, master.connect(timeout=60.0) as watcher:
            connection.call("node.create", name="/ls/local/members", kind="directory")
            session = connection.call("session.open")["session"]
            with measured(master):
                in_batches(connection, [
                    ("node.open", {"session": session, "request": n, "ack": [max(0, n - 100)],
                                   "name": f"/ls/local/members/{n}", "create": "file",
                                   "ephemeral": True, "handle": n})
                    for n in range(1, count + 1)])
            assert status(master)["opens"] == count, status(master)
            watcher.watch("/ls/local/members", scope="children", kinds=["child"])
            with Honest(master), measured(master):
                connection.call("session.close", timeout=30.0, session=session,
                                request=count + 1, ack=[count])
                gone = [watcher.event(30.0)[1] for _ in range(count)]
            assert {event["kind"] for event in gone} == {"deleted"}, gone[0]
            assert len({event["name"] for event in gone}) == count
            assert len({event["revision"] for event in gone}) == 1
            assert status(master)["opens"] == 0 and status(master)["nodes"] <= 3, status(master)
        cell.wait_settled()


@case("a failed session leaves 10,000 locks in lock-delay; all are on the disks", seconds=240)
def _():
    count = 2000 if SANITIZED else 10000
    with Cell(**LEASES) as cell:
        master = cell.start()
        with master.connect() as connection:
            connection.call("node.create", name="/ls/local/locks", kind="directory")
            session = connection.call("session.open", lease_ms=5000)["session"]
            with measured(master):
                in_batches(connection, [
                    ("lock.acquire", {"session": session, "request": n, "ack": [max(0, n - 100)],
                                      "name": f"/ls/local/locks/{n}", "create": True,
                                      "lock_delay_ms": 20000})
                    for n in range(1, count + 1)])
        with Honest(master), measured(master):
            wait_for("the session to end", lambda: status(master)["locks_delayed"] == count, 30)
        assert status(master)["locks_held"] == 0, status(master)

        # All replicas die with them in their tables and their logs.
        cell.wait_settled()
        for replica in cell.replicas:
            replica.kill()
        for replica in cell.replicas:
            replica.start(wait=False)
        master = cell.master()
        assert status(master)["locks_delayed"] == count, status(master)
        views = cell.wait_settled()
        assert all(view["history_bytes"] == views[0]["history_bytes"] for view in views), views
        with Honest(master), measured(master):
            wait_for("the delays to end", lambda: status(master)["locks_delayed"] == 0, 60)
        with master.connect() as connection:
            session = connection.call("session.open")["session"]
            connection.call("lock.acquire", session=session, request=1,
                            name="/ls/local/locks/1", wait_ms=0)
        cell.wait_settled()


@case("ephemerals opened and closed without a break leave nothing behind", seconds=120)
def _():
    rounds, names = (300 if SANITIZED else 1500), 40
    with Cell(**LEASES) as cell:
        master = cell.start()
        with Honest(master), master.connect() as connection:
            session = connection.call("session.open")["session"]
            request = 0

            def of_session(**params):
                nonlocal request
                request += 1
                return {"session": session, "request": request, "ack": [max(0, request - 200)],
                        **params}

            before = status(master)
            with measured(master):
                for _ in range(rounds // names * 4):
                    opened = in_batches(connection, [
                        ("node.open", of_session(name=f"/ls/local/e{n}", create="file",
                                                 ephemeral=True, handle=n))
                        for n in range(names)])
                    in_batches(connection, [
                        ("node.close", of_session(name=f"/ls/local/e{n}", handle=n,
                                                  if_instance=opened[n]["stat"]["instance"]))
                        for n in range(names)])
            after = status(master)
            assert after["opens"] == 0, after
            assert after["nodes"] <= before["nodes"] + 1, (before["nodes"], after["nodes"])
        cell.wait_settled()


main()
