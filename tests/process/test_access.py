# SPDX-License-Identifier: Apache-2.0
"""Who may do what: three principals, each with one right and a port of its own, see
exactly what they should, whoever is the master.  And the way back in through the
local socket, for an administrator who has locked everybody out."""

import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKD, Cell, run
from harness.rpc import Connection, RpcError
from harness.sessions import Session
from harness.tap import Skip, case, main, wait_for
from harness.watching import Watcher

# Each has the right that its name says, and no other.  Who sets things up comes in
# through the first port, as "local".
PRINCIPALS = ("reader", "writer", "changer")
LISTS = {"reading": "reader", "writing": "# who may\n\twriter # him\n", "changing": "changer"}
OURS = {"read": "reading", "write": "writing", "change": "changing"}
D = "/ls/local/d"
OPERATIONS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md"

# What is tried, who may (each has one right), what they are answered.
TABLE = (
    # What is there.
    ("node.get", {"name": f"{D}/f"}, "reader", "ok"),
    ("node.stat", {"name": f"{D}/f"}, "reader", "ok"),
    ("node.stat", {"name": D}, "reader", "ok"),
    ("node.list", {"name": D}, "reader", "ok"),
    ("node.get_acl", {"name": f"{D}/f"}, "reader changer", "ok"),
    ("lock.list", {"name": f"{D}/held"}, "reader", "ok"),
    ("watch.add", {"watches": [{"watch": 1, "name": f"{D}/f"}]}, "reader", "ok"),
    ("watch.add", {"watches": [{"watch": 1, "name": D, "scope": "subtree"}]}, "reader", "ok"),
    ("node.open", {"name": f"{D}/f"}, "reader", "ok"),
    ("node.put", {"name": f"{D}/f", "content": "2"}, "writer", "ok"),
    ("node.put", {"name": f"{D}/f", "content": "2", "if_generation": 99}, "writer", "conflict"),
    ("node.create", {"name": f"{D}/f", "kind": "file"}, "writer", "exists"),
    ("node.delete", {"name": D}, "writer", "not_empty"),
    ("node.open", {"name": f"{D}/e"}, "writer", "ok"),
    ("lock.acquire", {"name": f"{D}/held", "wait_ms": 0}, "writer", "locked"),
    ("lock.acquire", {"name": f"{D}/held", "wait_ms": 0, "mode": "shared"}, "writer", "locked"),
    ("node.set_acl", {"name": f"{D}/f", **OURS}, "changer", "ok"),
    ("node.set_acl", {"name": f"{D}/f", "read": "nonsense"}, "changer", "no_acl"),
    ("node.set_acl", {"name": f"{D}/f", "if_generation": 99, "read": ""}, "changer", "conflict"),
    # What is not there is made by who may write the directory, ...
    ("node.create", {"name": f"{D}/n", "kind": "file"}, "writer", "ok"),
    ("node.delete", {"name": f"{D}/n"}, "writer", "ok"),
    ("node.put", {"name": f"{D}/n", "content": ""}, "writer", "ok"),
    ("node.delete", {"name": f"{D}/n"}, "writer", "ok"),
    ("node.open", {"name": f"{D}/n", "create": "directory"}, "writer", "ok"),
    ("node.delete", {"name": f"{D}/n"}, "writer", "ok"),
    # ... and nobody else learns that it is not there.
    ("node.get", {"name": f"{D}/none"}, "reader", "no_node"),
    ("node.stat", {"name": f"{D}/none/below/it"}, "reader", "no_node"),
    ("node.list", {"name": f"{D}/none"}, "reader", "no_node"),
    ("node.get_acl", {"name": f"{D}/none"}, "reader changer", "no_node"),
    ("lock.list", {"name": f"{D}/none"}, "reader", "no_node"),
    ("watch.add", {"watches": [{"watch": 1, "name": f"{D}/none"}]}, "reader", "ok"),
    ("node.open", {"name": f"{D}/none"}, "reader", "no_node"),
    ("node.delete", {"name": f"{D}/none"}, "writer", "no_node"),
    ("node.put", {"name": f"{D}/none/below", "content": ""}, "writer", "no_node"),
    ("lock.acquire", {"name": f"{D}/none", "wait_ms": 0}, "writer", "no_node"),
    ("node.set_acl", {"name": f"{D}/none", "read": ""}, "changer", "no_node"),
)

# These are requests of a session here.
IN_SESSION = ("node.put", "node.create", "node.delete", "node.set_acl", "node.open",
              "lock.acquire")


def refusal(function, *arguments, **params):
    """The error with which the call is refused."""
    try:
        result = function(*arguments, **params)
    except RpcError as error:
        return error
    raise AssertionError(f"{arguments} {params} was not refused: {result}")


class Setting:
    """A cell whose /ls/local/d belongs to the three, made by a session of "local"."""

    def __init__(self, cell):
        self.cell = cell
        self.ours = Session(cell.addresses, lease_ms=60000)
        call = self.ours.call
        call("node.create", name="/ls/local/acl", kind="directory")
        for name, content in LISTS.items():
            call("node.put", name=f"/ls/local/acl/{name}", content=content)
        call("node.put", name="/ls/local/acl/none", content="# nobody\n")
        call("node.create", name=D, kind="directory")
        for name in ("f", "hidden", "held"):
            call("node.put", name=f"{D}/{name}", content="1")
        call("node.open", name=f"{D}/e", create="file", ephemeral=True)
        self.sequencer = call("lock.acquire", name=f"{D}/held")["sequencer"]
        for name in (f"{D}/f", f"{D}/held", f"{D}/e", D):
            call("node.set_acl", name=name, **OURS)
        call("node.set_acl", name=f"{D}/hidden", **{**OURS, "read": "none"})
        self.sessions = {
            principal: Session(cell.addresses_of(principal), lease_ms=60000)
            for principal in PRINCIPALS
        }

    def list(self, name, content):
        """Says who is on a list."""
        self.ours.call("node.put", name=f"/ls/local/acl/{name}", content=content)

    def attempt(self, principal, method, params):
        """What a principal is answered: "ok", or the error."""
        session = self.sessions[principal]
        try:
            if method in IN_SESSION:
                session.call(method, **params)
            else:
                with self.cell.client(principal) as client:
                    client.read(method, **params)
        except RpcError as error:
            return error
        return "ok"

    def check(self):
        """Each tries everything."""
        table = (*TABLE, ("lock.check", {"sequencer": self.sequencer}, "reader", "ok"))
        denials = set()
        for method, params, allowed, expected in table:
            for principal in sorted(PRINCIPALS, key=lambda who: who in allowed):
                got = self.attempt(principal, method, params)
                name = got if got == "ok" else got.name
                wanted = expected if principal in allowed else "denied"
                assert name == wanted, f"{principal}: {method} {params}: {got}, not {wanted}"
                if name == "denied":
                    denials.add((got.code, got.message, *sorted(got.data)))
        # Whatever it is about, all denials look alike.
        assert len(denials) == 1, denials

    def check_levels(self):
        """Where it may be read from any replica, the lists of that replica's state count."""
        with self.cell.client("reader") as client:
            revision = client.read("node.stat", name=D)["revision"]
        for replica in self.cell.running():
            for principal in PRINCIPALS:
                with replica.connect(principal=principal) as connection:
                    self.check_levels_of(connection, principal, revision)

    @staticmethod
    def check_levels_of(connection, principal, revision):
        level = {"level": "sequential", "min_revision": revision, "wait_ms": 10000}
        for method, params, allowed, expected in TABLE:
            if method not in ("node.get", "node.stat", "node.list", "node.get_acl"):
                continue
            for how in (level, {"level": "stale"}):
                try:
                    connection.call(method, **params, **how)
                    name = "ok"
                except RpcError as error:
                    name = error.name
                wanted = expected if principal in allowed else "denied"
                assert name == wanted, f"{principal}: {method} {params} {how}: {name}"


@case("three principals with three rights: every operation, over fail-over and restart",
      seconds=240)
def _():
    with Cell(principals=PRINCIPALS) as cell:
        cell.start()
        setting = Setting(cell)
        setting.check()
        setting.check_levels()
        master = cell.master()
        master.kill()
        cell.master()
        setting.check()
        master.start()
        for replica in cell.replicas:
            replica.kill()
        for replica in cell.replicas:
            replica.start(wait=False)
        cell.master()
        setting.check()
        setting.check_levels()
        cell.wait_settled()


@case("a list shows of what may not be read its name and kind, and no more")
def _():
    with Cell(count=1, principals=PRINCIPALS) as cell:
        cell.start()
        setting = Setting(cell)
        with cell.client("reader") as client:
            entries = {
                entry.pop("name"): entry
                for entry in client.read("node.list", name=D)["entries"]
            }
            assert set(entries) == {"e", "f", "held", "hidden"}, entries
            assert entries.pop("hidden") == {"kind": "file", "denied": True}, entries
            assert all(set(entry) == {"stat"} for entry in entries.values()), entries
            # What may not be read can't be watched, nor is it told who holds it.
            for method, params in (
                ("node.get", {"name": f"{D}/hidden"}),
                ("watch.add", {"watches": [{"watch": 1, "name": f"{D}/hidden"}]}),
                ("lock.list", {"name": f"{D}/hidden"}),
            ):
                assert refusal(client.read, method, **params).name == "denied", method
        token = setting.sessions["writer"].acquire(f"{D}/hidden")
        told = {}
        for principal in (None, *PRINCIPALS):
            with cell.client(principal) as client:
                locks = client.read("lock.list")["locks"]
                told[principal] = sorted(lock["name"].rpartition("/")[2] for lock in locks)
        assert told == {None: [], "reader": ["held"], "writer": [], "changer": []}, told
        with cell.replicas[0].connect(principal="root") as connection:
            locks = connection.call("lock.list")["locks"]
            assert len(locks) == 2, locks
        setting.sessions["writer"].release(f"{D}/hidden", token)


@case("a watcher is told what it may read, and when it may again", seconds=120)
def _():
    with Cell(principals=PRINCIPALS) as cell:
        cell.start()
        setting = Setting(cell)
        writer, changer = setting.sessions["writer"], setting.sessions["changer"]

        def put(name, content):
            writer.call("node.put", name=f"{D}/{name}", content=content)

        with Watcher(cell.addresses_of("reader"),
                     {"name": D, "scope": "subtree", "content": True}) as watcher:
            told = watcher.events[0]
            expected = []

            def expect(*events):
                expected.extend(events)
                watcher.wait(lambda: len(told) >= len(expected), f"event {len(expected)}")
                seen = [(event["kind"], event["name"].rpartition("/")[2], event.get("content"))
                        for event in told]
                assert seen == expected, (seen, expected)

            put("f", "told")
            expect(("written", "f", "told"))
            put("hidden", "secret")
            changer.call("node.set_acl", name=f"{D}/f", read="none")
            put("f", "secret")
            put("held", "between")
            expect(("written", "held", "between"))

            # What happened meanwhile isn't told by the next master either.
            masters = watcher.masters
            cell.master().kill()
            watcher.wait(lambda: watcher.masters > masters, "the next master")
            put("f", "secret")
            changer.call("node.set_acl", name=f"{D}/f", read="reading")
            put("f", "told again")
            expect(("acl_changed", "f", None), ("written", "f", "told again"))

            # The same by the list itself: it counts as it is when the event is told.
            setting.list("reading", "somebody else")
            put("f", "secret")
            setting.list("reading", "reader")
            put("f", "told at last")
            expect(("written", "f", "told at last"))


@case("a waiter is asked again when its turn comes; a holder keeps what it holds")
def _():
    with Cell(count=1, principals=PRINCIPALS) as cell:
        cell.start()
        setting = Setting(cell)
        setting.list("writing", "writer\nlocal\n")
        writer = setting.sessions["writer"]
        token = writer.acquire(f"{D}/f")
        waiting = Session(cell.addresses)
        outcome = []

        def wait():
            outcome.append(refusal(waiting.acquire, f"{D}/f").name)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        with cell.client("reader") as client:
            def claims():
                return client.read("lock.list", name=f"{D}/f")["locks"][0]["claims"]

            wait_for("the waiter", lambda: len(claims()) == 2)
            setting.list("writing", "nobody")
            held = claims()
            assert held[0]["held"] and held[0]["token"] == token, held
            writer.release(f"{D}/f", token)
            thread.join(30)
            assert outcome == ["denied"], outcome
            assert not client.read("lock.list", name=f"{D}/f")["locks"][0]["claims"]
        assert refusal(writer.acquire, f"{D}/f").name == "denied"


@case("a session belongs to the principal that opened it")
def _():
    with Cell(count=1, principals=PRINCIPALS) as cell:
        cell.start()
        session = Session(cell.addresses)
        stolen = {"session": session.credential}
        requests = (
            ("session.keepalive", {}),
            ("node.put", {"name": "/ls/local/x", "content": "", "request": 1}),
            ("lock.acquire", {"name": "/ls/local/x", "create": True, "request": 1}),
            ("session.close", {"request": 1}),
        )
        for principal in (*PRINCIPALS, "root"):
            with cell.replicas[0].connect(principal=principal) as connection:
                for method, params in requests:
                    error = refusal(connection.call, method, **params, **stolen)
                    assert error.name == "denied", (principal, method, error)
        session.keep_alive()
        session.call("node.put", name="/ls/local/x", content="")
        session.close()


@case("not_master leads to the master's port of the same principal")
def _():
    with Cell(principals=PRINCIPALS) as cell:
        master = cell.start()
        cell.wait_settled()
        for follower in cell.followers():
            for principal in (None, *PRINCIPALS, "root"):
                # Who came through a socket of one machine is told a port for everybody.
                seen_as = None if principal == "root" else principal
                with follower.connect(principal=principal) as connection:
                    error = refusal(connection.call, "node.get", name="/ls/local")
                    assert error.name == "not_master", error
                    assert error.data["master"] == master.address(seen_as), (principal, error)
                    assert error.data["master_id"] == master.number, error
                    status = connection.call("cell.status")
                assert status["master"] == master.address(seen_as), status
                told = {member["id"]: member["client"] for member in status["members"]}
                assert told == {each.number: each.address(seen_as) for each in cell.replicas}, told


@case("where the master has no port for a principal, people are told where it is")
def _():
    with Cell(principals=("ops",)) as cell:
        for replica in cell.replicas[:2]:
            replica.write_config(listeners=None)
        cell.start()
        third = cell.replicas[2]
        if cell.master() is third:
            third.terminate()
            cell.master(among=cell.replicas[:2])
            third.start()
        cell.wait_settled()
        master = cell.master()
        assert master is not third
        with third.connect(principal="ops") as connection:
            error = refusal(connection.call, "node.get", name="/ls/local")
        assert error.name == "unavailable", error
        assert master.client in error.message and '"ops"' in error.message, error.message


@case("the last administrator locks himself out, and comes back through the local socket",
      seconds=120)
def _():
    with Cell() as cell:
        cell.start()
        secret = {"name": "/ls/local/acl/admins"}
        with cell.client() as client:
            client.call("node.create", name="/ls/local/acl", kind="directory")
            client.call("node.put", **secret, content="local\n")
            for name in ("/ls/local/acl/admins", "/ls/local/acl", "/ls/local"):
                client.call("node.set_acl", name=name, read="admins", write="admins",
                            change="admins")
            client.call("node.put", **secret, content="lokal\n")  # A slip of the pen.

            def is_out():
                for method, params in (
                    ("node.get", secret),
                    ("node.put", {**secret, "content": "local\n"}),
                    ("node.set_acl", {**secret, "write": ""}),
                    ("node.delete", secret),
                    ("node.list", {"name": "/ls/local"}),
                    ("node.create", {"name": "/ls/local/x", "kind": "file"}),
                ):
                    assert refusal(client.read, method, **params).name == "denied", method

            is_out()
            for follower in cell.followers():
                with follower.connect(principal="root") as connection:
                    error = refusal(connection.call, "node.put", **secret, content="local\n")
                    assert error.name == "not_master", error
            with cell.master().connect(principal="root") as connection:
                assert connection.call("node.get", **secret)["content"] == "lokal\n"
                connection.call("node.put", **secret, content="local\n")
            assert client.call("node.get", **secret)["content"] == "local\n"

            # Worse: there is no list any more.  The next master has a way back, too.
            client.call("node.delete", **secret)
            is_out()
            cell.master().kill()
            cell.master()
            is_out()
            with cell.master().connect(principal="root") as connection:
                error = refusal(connection.call, "node.set_acl", name="/ls/local/acl",
                                write="admins")
                assert error.name == "no_acl", error
                connection.call("node.put", **secret, content="local\n")
                acl = connection.call("node.get_acl", name="/ls/local")["acl"]
                assert acl == {"read": "admins", "write": "admins", "change": "admins"}, acl
            client.call("node.put", name="/ls/local/x", content="in again")


@case("the first set-up of docs/operations.md, and its way back in, with lockctl", seconds=120)
def _():
    with Cell(principals=("build-hosts",), principal="ops") as cell:
        cell.start()
        builders = ",".join(cell.addresses_of("build-hosts"))

        def ctl(line, status=0, endpoints=None):
            done = cell.lockctl(*shlex.split(line), endpoints=endpoints)
            assert done.returncode == status, (line, done)
            return done.stdout.decode() + done.stderr.decode()

        steps = re.search(r"^\$ lockctl mkdir acl$.*?^```$", OPERATIONS.read_text(),
                          re.MULTILINE | re.DOTALL)[0]
        for line in steps.splitlines():
            if line.startswith("$ lockctl "):
                told = ctl(line.removeprefix("$ lockctl ").replace("$'", "'").replace("\\n", "\n"))
                assert "acl ls" not in line or told == "ops\n", told
        told = ctl("acl ls builders")
        assert told.split() == ["ops", "build-hosts"], told
        ctl("put builds/1 x", endpoints=builders)
        ctl("put acl/admins build-hosts", status=77, endpoints=builders)
        ctl("put other x", status=77, endpoints=builders)
        ctl("acl set --change '' builds/1", status=77, endpoints=builders)
        assert ctl("get acl/admins", endpoints=builders) == "ops"

        ctl("put acl/admins oops")
        ctl("put acl/admins ops", status=77)
        master = cell.master()
        for follower in cell.followers():
            told = ctl("--timeout 1s put acl/admins ops", status=69, endpoints=follower.local)
            assert master.client in told, told
        ctl("put acl/admins ops", endpoints=master.local)
        ctl("put other x")


@case("only the owner can connect to the local socket")
def _():
    with Cell(count=1) as cell:
        path = cell.folder / "socket"
        replica = cell.replicas[0]
        replica.write_config(local_socket=str(path))
        cell.start()
        assert not (replica.folder / "lockd.sock").exists()
        found = path.lstat()
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600, found
        with Connection(f"unix:{path}") as connection:
            assert connection.call("cell.status")["serving"]
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            raise Skip("not root, or no setpriv: can't become somebody else")
        cell.folder.chmod(0o755)
        program = ("import socket, sys; made = socket.socket(socket.AF_UNIX)\n"
                   "try: made.connect(sys.argv[1])\n"
                   "except PermissionError: sys.exit(13)")
        done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                   sys.executable, "-c", program, path)
        assert done.returncode == 13, done


@case("a local socket that is left over is replaced; one in use is refused by name")
def _():
    with Cell(count=1) as cell, Cell(count=1, name="other") as other:
        replica, second = cell.replicas[0], other.replicas[0]
        path = replica.folder / "lockd.sock"
        cell.start()
        replica.kill()
        assert path.is_socket(), "kill -9 leaves it"
        replica.start()
        cell.master()
        with replica.connect(principal="root") as connection:
            connection.call("node.put", name="/ls/local/x", content="")
            second.init()
            second.write_config(local_socket=str(path))
            done = run(LOCKD, "--config", second.config_path)
            assert done.returncode not in (0, 99), done
            assert str(path).encode() in done.stderr and b"in use" in done.stderr, done.stderr
            connection.call("node.get", name="/ls/local/x")
        with replica.connect(principal="root") as connection:
            connection.call("node.get", name="/ls/local/x")
        assert replica.terminate() == 0
        assert not path.exists(), "an orderly end leaves nothing"
        path.write_text("precious")
        done = run(LOCKD, "--config", replica.config_path)
        assert done.returncode not in (0, 99) and str(path).encode() in done.stderr, done
        assert path.read_text() == "precious"
        replica.write_config(local_socket="")
        replica.start()
        assert path.read_text() == "precious"


@case("a replica that is stopped while it becomes the master ends in order")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.init()
        for turn in range(10):
            with subprocess.Popen([LOCKD, "--config", replica.config_path],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env=ENVIRONMENT) as process:
                try:
                    log = b""
                    while turn > 0 and b"preparing" not in log:
                        log += process.stderr.readline()
                    process.terminate()
                    log += process.stderr.read()
                    assert process.wait(20) in (0, -15), (turn, process.returncode, log)
                finally:
                    process.kill()


main()
