# SPDX-License-Identifier: Apache-2.0
"""One story on a cell of three replicas whose master is killed twice: a lock whose
holder fails and owes a lock-delay, an ephemeral file, an election, and a watcher
to whom all of it is told, once."""

import contextlib
import json
import pathlib
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell
from harness.rpc import RpcError
from harness.sessions import Session
from harness.tap import Threads, case, main, note, wait_for
from harness.watching import Watcher

ROOT = "/ls/local/story"
LOCK = ROOT + "/lock"
MEMBER = ROOT + "/member"
OFFICE = ROOT + "/office"
LOG = ROOT + "/log"
DELAY = 4.0  # Seconds.


# ------------------------------------------------------------------ helpers


class Kept:
    """A session that a thread of its own keeps alive, for one caller at a time."""

    def __init__(self, cell, label):
        self.session = Session(cell.addresses, lease_ms=12000, label=label)
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.threads = Threads()

    def __enter__(self):
        self.threads.start(self._run)
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(30.0)
        self.session.close_connection()

    def _run(self):
        while not self.stop.wait(1.0):
            with self.lock:
                self.session.keep_alive()

    def call(self, method, **params):
        with self.lock:
            return self.session.call(method, **params)


class Diary:
    """Somebody who writes 1, 2, 3, ... into a file without a break, in a session:
    each of them exactly once, whatever becomes of masters."""

    def __init__(self, cell):
        self.session = Session(cell.addresses, label="diary")
        self.written = 0
        self.stop = threading.Event()
        self.threads = Threads()

    def __enter__(self):
        self.threads.start(self._run)
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(60.0)

    def _run(self):
        while not self.stop.wait(0.002):
            self.session.call("node.put", name=LOG, content=str(self.written + 1))
            self.written += 1
        self.session.close()


@contextlib.contextmanager
def observed(cell, name):
    """What `lockctl observe` has printed, line by line, while it runs."""
    command = ["setpriv", "--pdeathsig", "KILL", str(LOCKCTL), "--endpoints", cell.endpoints,
               "observe", name]
    lines = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          env=ENVIRONMENT) as process:

        def read():
            for line in process.stdout:
                lines.append(json.loads(line))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield lines
        finally:
            process.kill()
            reader.join(10.0)


def claims(cell, name):
    with cell.client() as client:
        return client.read("lock.list", name=name)["locks"][0]["claims"]


def delayed(cell, name):
    """The one claim whose lock-delay runs, once there is one."""

    def look():
        found = [claim for claim in claims(cell, name) if claim.get("delayed")]
        assert len(found) < 2, found
        return found and found[0]

    return wait_for("a lock-delay", look, 20)


def kill_master(cell):
    """Kills it and waits for the next; when it died."""
    dead = cell.master()
    dead.kill()
    died = time.monotonic()
    cell.master()
    note(f"{dead} killed; another serves after {time.monotonic() - died:.2f} s")
    dead.start()
    cell.wait_caught_up(dead)
    return died


def short(event):
    """An event without what depends on the run."""
    name = event["name"].rpartition("/")[2]
    return f"{name} {event['kind']}" + (" failed" if event.get("failed") else "")


# -------------------------------------------------------------------- story


@case("a lock-delay, an ephemeral, an election and a watch live through two dead masters",
      seconds=180)
def _():
    with Cell() as cell, contextlib.ExitStack() as stack:
        cell.start()
        with cell.client() as client:
            for path in (ROOT, ROOT + "/empty"):
                client.call("node.create", name=path, kind="directory")
        watcher = stack.enter_context(Watcher(
            cell.addresses,
            {"name": ROOT, "scope": "subtree", "content": True, "old_content": True},
            {"name": LOG, "kinds": ["content"], "content": True}))
        everything, log = watcher.events
        told = stack.enter_context(observed(cell, OFFICE))
        watcher.wait(lambda: told and told[-1]["token"] is None, "nobody to lead")
        diary = stack.enter_context(Diary(cell))

        # A member is there, and a leader is in office.
        one = stack.enter_context(Kept(cell, "one"))
        two = stack.enter_context(Kept(cell, "two"))
        member = one.call("node.open", name=MEMBER, create="file", ephemeral=True, handle=7,
                          content="here I am")["stat"]
        assert member["ephemeral"] is True, member
        term = one.call("lock.acquire", name=OFFICE, create=True)["token"]
        one.call("node.put", name=OFFICE, content="one")
        watcher.wait(lambda: told[-1]["token"] == term, "the first leader")

        # A holder fails, and somebody waits.
        failing = Session(cell.addresses, lease_ms=1000, label="failing")
        first = failing.acquire(LOCK, lock_delay_ms=int(DELAY * 1000))
        threads, granted = Threads(), []

        def contend():
            other = Session(cell.addresses, label="waiting")
            granted.append((other.acquire(LOCK), time.monotonic()))
            other.close()

        threads.start(contend)
        wait_for("it to wait", lambda: len(claims(cell, LOCK)) == 2)
        failing.close_connection()
        claim = delayed(cell, LOCK)
        assert claim["session"] == failing.id and claim["token"] == first, claim
        assert claim["label"] == "failing", claim

        # Its delay begins anew with each master; nothing else does.
        for _ in range(2):
            died = kill_master(cell)
            assert not granted, "granted in lock-delay"
            claim = delayed(cell, LOCK)
            assert claim["session"] == failing.id and claim["token"] == first, claim
            assert 0 < claim["left_ms"] <= DELAY * 1000 * 1.03, claim
        threads.join(60.0)
        second, when = granted[0]
        note(f"granted {when - died:.1f} s after the second master's death")
        assert second > first, (first, second)
        assert DELAY <= when - died < DELAY + 20.0, when - died

        # The member and the leader outlived both, and end when they say so.
        with cell.client() as client:
            stat = client.read("node.stat", name=MEMBER)["stat"]
            assert stat["instance"] == member["instance"], (member, stat)
            sequencer = f"/ls/{cell.name}/story/office:exclusive:{term}"
            assert client.read("lock.check", sequencer=sequencer)["valid"] is True
        one.call("node.close", name=MEMBER, handle=7, if_instance=member["instance"])
        try:
            with cell.client() as client:
                client.read("node.stat", name=MEMBER)
            raise AssertionError("the ephemeral file has outlived its opener")
        except RpcError as error:
            assert error.name == "no_node", error
        one.call("lock.release", name=OFFICE, token=term)
        next_term = two.call("lock.acquire", name=OFFICE)["token"]
        two.call("node.put", name=OFFICE, content="two")
        watcher.wait(lambda: told[-1]["token"] == next_term, "the second leader")

        # Who watched and who observed was told all of it, once.
        diary.stop.set()
        diary.threads.join(60.0)
        with cell.client() as client:
            client.call("node.delete", name=ROOT + "/empty")
        watcher.wait(lambda: short(everything[-1]) == "empty deleted", "the last event")
        watcher.wait(lambda: len(log) >= diary.written, "the last page of the diary")
        note(f"{diary.written} writes, {len(everything)} events, {watcher.masters} masters")
        assert watcher.masters >= 3, watcher.masters
        pages = [str(n + 1) for n in range(diary.written)]
        assert [event["content"] for event in log] == pages
        assert [event["generation"] for event in log] == list(range(1, diary.written + 1))
        ours = [event for event in everything if event["name"].endswith("/log")]
        assert [event["content"] for event in ours] == pages
        assert [event.get("old_content") for event in ours] == [None, *pages[:-1]]
        revisions = [event["revision"] for event in everything]
        assert revisions == sorted(revisions), "out of order"
        found = [short(event) for event in everything if not event["name"].endswith("/log")]
        of_lock = [text for text in found if text.startswith("lock ")]
        assert of_lock == ["lock created", "lock granted", "lock contended",
                           "lock released failed", "lock granted", "lock released"], of_lock
        of_member = [text for text in found if text.startswith("member ")]
        assert of_member == ["member created", "member deleted"], of_member
        of_office = [text for text in found if text.startswith("office ")]
        assert of_office == ["office created", "office granted", "office written",
                             "office released", "office granted", "office written"], of_office
        failures = [event for event in everything if event.get("failed")]
        assert [(event["session"], event["token"], event["lock_delay_ms"])
                for event in failures] == [(failing.id, first, DELAY * 1000)], failures
        leaders = [(line["token"], line.get("value")) for line in told]
        assert leaders[0][0] is None, leaders
        wait_for("nobody in between", lambda: len(told) >= 3, 1)
        terms = [token for token, _ in leaders if token is not None]
        assert terms == sorted(terms) and set(terms) == {term, next_term}, leaders
        values = {token: value for token, value in leaders if token is not None}
        assert values == {term: "one", next_term: "two"}, leaders


@case("a master that hands over says so to its watchers; a dead one's are set again", seconds=60)
def _():
    with Cell() as cell:
        master = cell.start()
        with master.connect() as connection:
            connection.watch(ROOT)
            assert master.terminate() == 0
            end = connection.notice()
            assert end["method"] == "watch.end" and end["params"]["code"] == "not_master", end
        with cell.master().connect() as connection:
            assert connection.call("cell.status")["watches"] == 0
            connection.watch(ROOT)
            connection.call("node.put", name=ROOT, content="")
            assert connection.event()[1]["kind"] == "created"


main()
