# SPDX-License-Identifier: Apache-2.0
"""Sessions and locks as anyone meets them who writes JSON to a socket: what lives
on a connection, what outlives it, and what outlives the master."""

import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell, elapsed
from harness.rpc import Closed, RpcError, Unknown
from harness.sessions import Session
from harness.tap import case, main, note, wait_for

NAME = "/ls/local/leader"


# ------------------------------------------------------------------ helpers


def refused(word, function, *arguments, **params):
    """The error, which must be this one."""
    try:
        result = function(*arguments, **params)
    except RpcError as error:
        assert error.name == word, (word, error)
        return error
    raise AssertionError(f"{word} was expected, not {result}")


def nothing_comes(connection, seconds):
    try:
        line = connection.line(timeout=seconds)
    except TimeoutError:
        return
    raise AssertionError(f"nothing was expected, not {line}")


def result_of(connection, number, timeout=10.0):
    message = connection.answer(timeout)
    assert message["id"] == number, (number, message)
    if "error" in message:
        raise RpcError(message["error"])
    return message["result"]


def claims(connection, name=NAME):
    locks = connection.call("lock.list", name=name)["locks"]
    return [(claim["held"], claim["session"]) for claim in locks[0]["claims"]]


def repeat(cell, method, **params):
    """Sends the same request to whoever is the master by now until it is answered."""

    def look():
        master = cell.find_master()
        if master is None:
            return None
        try:
            with master.connect() as connection:
                return connection.call(method, **params)
        except (Closed, OSError):
            return None
        except RpcError as error:
            if error.name in ("not_master", "unavailable", "unknown_outcome"):
                return None
            raise

    return wait_for(f"an answer to {method}", look, 30)


# --------------------------------------------------------------- connections


@case("open, keep alive, acquire, wait on a second connection, release, close")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as one, master.connect() as two:
            first = one.call("session.open", label="first")
            second = two.call("session.open", label="second", lease_ms=20000)
            assert first["session"].startswith(first["session_id"] + "-"), first
            assert first["lease_ms"] == 12000 and second["lease_ms"] == 20000, (first, second)
            assert one.call("session.keepalive", session=first["session"])["lease_ms"] == 12000

            held = one.call("lock.acquire", session=first["session"], request=1, name=NAME,
                            create=True)
            assert held["sequencer"] == f"/ls/test/leader:exclusive:{held['token']}", held
            refused("locked", two.call, "lock.acquire", session=second["session"], request=1,
                    name=NAME, wait_ms=0)
            waiting = two.request("lock.acquire", session=second["session"], request=2, ack=[1],
                                  name=NAME)
            nothing_comes(two, 0.3)
            assert claims(one) == [(True, first["session_id"]), (False, second["session_id"])]

            # The one who waits holds up nothing behind it, not even a session's own.
            beat = two.request("session.keepalive", session=second["session"])
            assert result_of(two, beat)["lease_ms"] == 20000
            put = two.request("node.put", session=second["session"], request=3,
                              name="/ls/local/other", content="1")
            assert result_of(two, put)["created"] is True

            released = one.call("lock.release", session=first["session"], request=2, name=NAME,
                                token=held["token"])
            granted = result_of(two, waiting)
            assert granted["token"] > held["token"], (held, granted)
            assert granted["index"] == released["index"], "it is handed over in the same command"
            refused("not_held", one.call, "lock.release", session=first["session"], request=3,
                    name=NAME, token=held["token"])
            two.call("session.close", session=second["session"], request=4)
            assert claims(one) == []
            refused("session_expired", two.call, "session.keepalive", session=second["session"])


@case("a session outlives its connection; its secret opens it on another, no other does")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            session = connection.call("session.open")
            params = {"session": session["session"], "request": 1, "name": NAME, "create": True}
            held = connection.call("lock.acquire", **params)
        with master.connect() as connection:
            assert connection.call("lock.acquire", **params) == held
            forged = session["session_id"] + "-" + "0" * 32
            refused("denied", connection.call, "session.keepalive", session=forged)
            refused("denied", connection.call, "lock.release", session=forged, request=2,
                    name=NAME, token=held["token"])
            assert claims(connection) == [(True, session["session_id"])]


@case("an acquire whose connection is gone is joined by its retry")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as one:
            first = one.call("session.open")["session"]
            second = one.call("session.open")["session"]
            held = one.call("lock.acquire", session=first, request=1, name=NAME, create=True)
            with master.connect() as lost:
                lost.request("lock.acquire", session=second, request=1, name=NAME)
                wait_for("it to wait", lambda: len(claims(one)) == 2)
            with master.connect() as again:
                waiting = again.request("lock.acquire", session=second, request=1, name=NAME)
                nothing_comes(again, 0.3)
                assert len(claims(one)) == 2, "it waits twice"
                one.call("lock.release", session=first, request=2, name=NAME, token=held["token"])
                granted = result_of(again, waiting)
                assert granted["token"] > held["token"], (held, granted)
                # Granted it is, whoever asks again.
                assert again.call("lock.acquire", session=second, request=1,
                                  name=NAME)["index"] == granted["index"]


@case("an acquire is cancelled: it, and the cancel, say so, and it is never granted")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as one, master.connect() as two:
            first = one.call("session.open")["session"]
            second = two.call("session.open")["session"]
            held = one.call("lock.acquire", session=first, request=1, name=NAME, create=True)
            two.request("lock.acquire", session=second, request=1, name=NAME)
            wait_for("it to wait", lambda: len(claims(one)) == 2)
            two.request("lock.cancel", session=second, request=2, cancel=1)
            words = [two.answer()["error"]["data"]["code"] for _ in range(2)]
            assert words == ["cancelled", "cancelled"], words
            one.call("lock.release", session=first, request=2, name=NAME, token=held["token"])
            assert claims(one) == []


# ----------------------------------------------------------------- the lease


@case("a session of 1 s ends after 1 s of silence, and the next waiter is served")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as one, master.connect() as two:
            first = one.call("session.open", lease_ms=1000)
            second = two.call("session.open")
            held = one.call("lock.acquire", session=first["session"], request=1, name=NAME,
                            create=True)
            waiting = two.request("lock.acquire", session=second["session"], request=1, name=NAME)

            # Kept alive, it lives on well beyond a lease, though it does nothing else.
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                one.call("session.keepalive", session=first["session"])
                time.sleep(0.2)
            assert not two.buffer and claims(one)[0] == (True, first["session_id"])

            last = time.monotonic()
            one.call("session.keepalive", session=first["session"])
            granted = result_of(two, waiting, timeout=20.0)
            silence = elapsed(last)
            note(f"granted {silence * 1000:.0f} ms after the last KeepAlive was sent")
            assert granted["token"] > held["token"], (held, granted)
            assert silence >= 1.0, f"its lease was cut short: {silence:.3f} s"
            assert silence < 5.0, silence
            refused("session_expired", one.call, "session.keepalive", session=first["session"])
            refused("session_expired", one.call, "lock.release", session=first["session"],
                    request=2, name=NAME, token=held["token"])
            assert claims(one) == [(True, second["session_id"])]


@case("leases out of bounds and what is no session are refused; one unknown has ended")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            for lease in (0, 999, 60001):
                try:
                    connection.call("session.open", lease_ms=lease)
                except RpcError as error:
                    assert error.code == -32602, error
                else:
                    raise AssertionError(f"a lease of {lease} ms was granted")
            for unknown in ("", "x", "0" * 16, "0" * 16 + "-" + "z" * 32):
                try:
                    connection.call("session.keepalive", session=unknown)
                except RpcError as error:
                    assert error.code == -32602, error
                else:
                    raise AssertionError(f"{unknown!r} is a session")
            refused("session_expired", connection.call, "session.keepalive",
                    session="0123456789abcdef-" + "0" * 32)


# ---------------------------------------------------- lock-delay and handles


@case("a holder that fails owes its lock-delay; who tries is told what is left, and of whom")
def _():
    delay = 3000
    with Cell() as cell:
        master = cell.start()
        with master.connect() as one, master.connect() as two:
            first = one.call("session.open", lease_ms=1000, label="failing")
            second = two.call("session.open")
            held = one.call("lock.acquire", session=first["session"], request=1, name=NAME,
                            create=True, lock_delay_ms=delay)
            last = time.monotonic()
            one.call("session.keepalive", session=first["session"])

            def closed():
                found = one.call("lock.list", name=NAME)["locks"][0]["claims"]
                return found if found[0].get("delayed") else None

            claim = wait_for("the lock-delay", closed, 20)[0]
            failed = time.monotonic()
            assert claim["held"] is False and claim["token"] == held["token"], claim
            assert claim["label"] == "failing", claim
            assert 0 < claim["left_ms"] <= delay * 1.02, claim
            error = refused("lock_delay", two.call, "lock.acquire", session=second["session"],
                            request=1, name=NAME, wait_ms=0)
            assert 0 < error.data["left_ms"] <= claim["left_ms"], error.data
            assert error.data["holder"]["session"] == first["session_id"], error.data
            refused("locked", two.call, "node.delete", name=NAME)
            assert two.call("lock.check", sequencer=held["sequencer"])["valid"] is False

            waiting = two.request("lock.acquire", session=second["session"], request=2, ack=[1],
                                  name=NAME)
            granted = result_of(two, waiting, timeout=30.0)
            note(f"granted {elapsed(last) * 1000:.0f} ms after the last KeepAlive was sent")
            assert granted["token"] > held["token"], (held, granted)
            assert elapsed(last) >= (1000 + delay) / 1000, elapsed(last)
            assert elapsed(failed) < delay / 1000 + 5.0, elapsed(failed)

            # Who gives it back, or says good-bye, owes nothing.
            two.call("lock.release", session=second["session"], request=3, name=NAME,
                     token=granted["token"])
            again = two.call("lock.acquire", session=second["session"], request=4, name=NAME,
                             wait_ms=0, lock_delay_ms=60000)
            two.call("lock.release", session=second["session"], request=5, name=NAME,
                     token=again["token"])
            two.call("lock.acquire", session=second["session"], request=6, name=NAME, wait_ms=0,
                     lock_delay_ms=60000)
            two.call("session.close", session=second["session"], request=7)
            assert claims(one) == []


@case("an ephemeral node goes with its last opener, its last claim and its last child")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            one = connection.call("session.open")["session"]
            two = connection.call("session.open", lease_ms=1000)["session"]
            three = connection.call("session.open")["session"]
            team, member = "/ls/local/team", "/ls/local/team/member"

            def missing(name):
                try:
                    connection.call("node.stat", name=name)
                    return False
                except RpcError as error:
                    assert error.name == "no_node", error
                    return True

            opened = connection.call("node.open", session=one, request=1, name=team, handle=1,
                                     create="directory", ephemeral=True)
            assert opened["created"] and opened["stat"]["ephemeral"] is True, opened
            file = connection.call("node.open", session=two, request=1, name=member, handle=1,
                                   create="file", ephemeral=True, content="x")["stat"]
            again = connection.call("node.open", session=three, request=1, name=member, handle=1)
            assert again["created"] is False, again
            assert again["stat"]["instance"] == file["instance"], again
            refused("exists", connection.call, "node.open", session=three, request=2,
                    name=member, handle=2, create="file", if_instance=0)
            held = connection.call("lock.acquire", session=three, request=3, name=member)

            # The directory is closed, but not empty; then one opener's session expires.
            close = {"name": team, "handle": 1, "if_instance": opened["stat"]["instance"]}
            connection.call("node.close", session=one, request=2, **close)
            connection.call("node.close", session=one, request=3, **close)  # Does no harm.
            wait_for("a session to end", lambda: connection.call("cell.status")["opens"] == 1, 20)
            assert not missing(team) and not missing(member)
            connection.call("node.close", session=three, request=4, name=member, handle=1,
                            if_instance=file["instance"])
            assert not missing(member), "its lock is held"
            stat = connection.call("node.stat", name=member)["stat"]
            assert stat["lock_token"] == held["token"], (held, stat)
            gone = connection.call("lock.release", session=three, request=5, name=member,
                                   token=held["token"])
            assert missing(member) and missing(team)

            # A new one of the name is another: what names the old one is refused.
            connection.call("node.create", name=team, kind="directory")
            new = connection.call("node.put", name=member, content="y")["stat"]
            assert new["instance"] > file["instance"], (file, new)
            pinned = {"name": member, "if_instance": file["instance"]}
            for method in ("node.get", "node.stat", "lock.list"):
                refused("stale_handle", connection.call, method, **pinned)
            refused("stale_handle", connection.call, "node.put", content="z", **pinned)
            refused("stale_handle", connection.call, "node.delete", **pinned)
            refused("stale_handle", connection.call, "lock.acquire", session=three, request=6,
                    **pinned)
            refused("stale_handle", connection.call, "node.open", session=three, request=7,
                    handle=1, **pinned)
            assert connection.call("node.get", name=member)["revision"] > gone["revision"]


# -------------------------------------------------------------------- bounds


def answers(connection, count):
    """So many answers, by their ids."""
    found = {}
    while len(found) < count:
        message = connection.answer(timeout=20.0)
        found[message["id"]] = message
    return found


def word_of(message):
    return message["error"]["data"]["code"] if "error" in message else "ok"


@case("256 outcomes are remembered, no more; an acknowledgement makes room")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            session = connection.call("session.open")["session"]
            put = {"session": session, "name": "/ls/local/many", "content": "1"}
            ids = [connection.request("node.put", request=n + 1, **put) for n in range(260)]
            found = answers(connection, len(ids))
            words = [word_of(found[number]) for number in ids]
            assert words == ["ok"] * 256 + ["overloaded"] * 4, words
            refused("overloaded", connection.call, "node.put", request=257, **put)
            connection.call("node.put", request=257, ack=[100], **put)
            stat = connection.call("node.stat", name="/ls/local/many")["stat"]
            assert stat["generation"] == 257, stat


@case("a session awaits 1,024 locks, no more; its other requests are held up by none")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection, master.connect() as other:
            session = connection.call("session.open")["session"]
            holder = other.call("session.open")["session"]
            held = other.call("lock.acquire", session=holder, request=1, name=NAME, create=True)
            wait = {"session": session, "name": NAME, "mode": "shared"}
            waiting = [connection.request("lock.acquire", request=n + 1, handle=n, **wait)
                       for n in range(1024)]
            refused("overloaded", connection.call, "lock.acquire", request=1025, handle=1025,
                    **wait)
            assert connection.call("session.keepalive", session=session)["lease_ms"] == 12000
            connection.call("node.put", name="/ls/local/other", content="1", session=session,
                            request=1026)
            # All of them are readers, so all are served by one release.
            other.call("lock.release", session=holder, request=2, name=NAME, token=held["token"])
            found = answers(connection, len(waiting))
            assert set(found) == set(waiting)
            tokens = {message["result"]["token"] for message in found.values()}
            assert len(tokens) == 1 and min(tokens) > held["token"], tokens
            connection.call("session.close", session=session, request=1027)
            assert claims(other) == []


# ------------------------------------------------------ the death of a master


@case("kill -9 of the master: session, lock, queue and remembered outcomes live on",
      seconds=90)
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            first = connection.call("session.open", label="first")
            second = connection.call("session.open", label="second")
            acquire = {"session": first["session"], "request": 1, "name": NAME, "create": True}
            held = connection.call("lock.acquire", **acquire)
            put = {"session": first["session"], "request": 2, "name": "/ls/local/once",
                   "content": "1"}
            done = connection.call("node.put", **put)
            no = {"session": first["session"], "request": 3, "name": "/ls/local/once",
                  "kind": "file"}
            refusal = refused("exists", connection.call, "node.create", **no)
            wait = {"session": second["session"], "request": 1, "name": NAME}
            connection.request("lock.acquire", **wait)
            with master.connect() as other:
                wait_for("it to wait", lambda: len(claims(other)) == 2)
            master.kill()

        start = time.monotonic()
        alive = repeat(cell, "session.keepalive", session=first["session"])
        note(f"kept alive {elapsed(start) * 1000:.0f} ms after the kill")
        assert alive["lease_ms"] == first["lease_ms"], alive
        # The same answers, at the same places, as if nothing had happened.
        again = repeat(cell, "lock.acquire", **acquire)
        for member in ("token", "sequencer", "revision", "index"):
            assert again[member] == held[member], (member, held, again)
        assert repeat(cell, "node.put", **put)["index"] == done["index"]
        with cell.master().connect() as connection:
            assert connection.call("node.stat", name="/ls/local/once")["stat"]["generation"] == 1
            again = refused("exists", connection.call, "node.create", **no)
            assert again.data["index"] == refusal.data["index"], (again, refusal)
            assert claims(connection) == [(True, first["session_id"]),
                                          (False, second["session_id"])]
            waiting = connection.request("lock.acquire", **wait)
            with cell.master().connect() as other:
                other.call("lock.release", session=first["session"], request=4,
                           ack=[3], name=NAME, token=held["token"])
                granted = result_of(connection, waiting)
                assert granted["token"] > held["token"], (held, granted)
                assert claims(other) == [(True, second["session_id"])]
                # What was acknowledged is never executed again.
                refused("unknown_outcome", other.call, "node.put", **put)
        master.start()
        cell.wait_settled()


@case("a new master gives each session its own whole lease again, and no more")
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            short = connection.call("session.open", lease_ms=1000)
            long = connection.call("session.open", lease_ms=4000)
            for number, session in enumerate((short, long)):
                connection.call("lock.acquire", session=session["session"], request=1,
                                name=f"{NAME}{number}", create=True)
            start = time.monotonic()
            master.kill()
        with cell.master().connect() as connection:
            served = time.monotonic()

            def over(number):
                return wait_for(f"the end of session {number}",
                                lambda: not claims(connection, f"{NAME}{number}"), 20)

            over(0)
            assert elapsed(start) >= 1.0, elapsed(start)
            assert elapsed(served) < 3.0, "the shorter lease took as long as the longer"
            over(1)
            note(f"the last lease was over {elapsed(start):.1f} s after the kill")
            assert elapsed(start) >= 4.0, elapsed(start)
            assert elapsed(served) < 8.0, elapsed(served)


@case("kill -9 of all three: sessions, locks and remembered outcomes are on the disks",
      seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        session = Session(cell.addresses, lease_ms=20000)
        token = session.acquire(NAME)
        put = {"session": session.credential, "request": session.number + 1,
               "name": "/ls/local/once", "content": "1"}
        done = repeat(cell, "node.put", **put)
        for replica in cell.replicas:
            replica.kill()
        for replica in cell.replicas:
            replica.start(wait=False)
        cell.master()
        assert repeat(cell, "node.put", **put)["index"] == done["index"]
        with cell.master().connect() as connection:
            assert claims(connection) == [(True, session.id)]
        session.number += 1
        session.release(NAME, token)
        session.close()


@case("a master that nobody follows prolongs no session and grants no lock", seconds=90)
def _():
    with Cell() as cell:
        master = cell.start()
        connection = master.connect(timeout=3.0)
        session = connection.call("session.open")["session"]
        for replica in cell.followers():
            replica.kill()
        for method, params in (("session.keepalive", {}),
                               ("lock.acquire", {"request": 1, "name": NAME, "create": True})):
            try:
                told = connection.call(method, session=session, **params)
            except RpcError as error:
                assert error.name in ("unavailable", "not_master", "unknown_outcome"), error
                note(f"{method}: {error.name}")
            except (Closed, TimeoutError, Unknown) as error:
                note(f"{method}: {error!r}")
                connection.close()
                connection = master.connect(timeout=3.0)
            else:
                raise AssertionError(f"alone it answered {method}: {told}")
        connection.close()


main()
