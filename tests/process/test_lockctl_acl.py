# SPDX-License-Identifier: Apache-2.0
"""lockctl acl, and what principals see and may do, each through a port of its own; the way
back through the local socket."""

import json
import pathlib
import shlex
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell, run
from harness.tap import case, main

OK, USAGE, CONFLICT, NO_NODE, UNAVAILABLE, DENIED = 0, 64, 65, 66, 69, 77
PORTS = 3  # Further ones, beside the first, which is "local"'s.


class Guarded(Cell):
    """A cell with a port for each of some principals: `cell.as_("reader", "get", "x")`."""

    def __init__(self, *principals, **settings):
        super().__init__(**settings)
        self.ports = {"local": self.endpoints}
        for at, principal in enumerate(principals):
            assert at < PORTS  # From +4, +7 and +14 on; a cell has clients from +1, peers from +11.
            self.ports[principal] = ",".join(
                f"{self.host}:{self.port + 10 * (at // 2) + 4 + 3 * (at % 2) + replica.number - 1}"
                for replica in self.replicas)
        for replica in self.replicas:
            replica.write_config(listeners=[
                {"listen": self.ports[principal].split(",")[replica.number - 1],
                 "principal": principal} for principal in principals])

    def as_(self, principal, *arguments, stdin=b""):
        return self.lockctl(*arguments, endpoints=self.ports[principal], stdin=stdin)

    def as_root(self, replica, *arguments):
        """Through the local socket."""
        return run(LOCKCTL, "--endpoints", f"unix:{replica.folder}/lockd.sock", *arguments)


def ok(done):
    assert done.returncode == OK, (done.returncode, done.stderr.decode())
    return done.stdout.decode()


def told(done):
    return json.loads(ok(done))


def fails(status, done, *words):
    error = done.stderr.decode()
    assert done.returncode == status, (status, done.returncode, done.stdout, error)
    for word in words:
        assert word in error, (word, error)


def helped():
    """The commands that `lockctl acl --help` shows, as words."""
    text = ok(run(LOCKCTL, "acl", "--help"))
    return [shlex.split(line, comments=True)[1:] for line in text.splitlines()
            if line.startswith("  lockctl ")]


@case("the first list as the help makes it: who makes it is not locked out, others are; and "
      "who locks himself out comes back through the local socket")
def _():
    with Guarded("guest", count=1) as cell:
        master = cell.start()
        *steps, way_back = helped()
        assert len(steps) >= 5 and way_back[0] == "--endpoints", (steps, way_back)
        for step in steps:
            ok(cell.as_("local", *[word.replace("ADMIN", "local") for word in step]))
        for attempt in (("put", "acl/admins", "guest"), ("rm", "acl/admins"),
                        ("put", "acl/own", "guest"),
                        ("acl", "set", "--write", "anyone", "acl"),
                        ("acl", "set", "--write", "anyone", "acl/admins"),
                        ("acl", "set", "--change", "anyone", "/ls/local")):
            fails(DENIED, cell.as_("guest", *attempt), "not allowed")
        ok(cell.as_("guest", "put", "x", "1"))
        ok(cell.as_("local", "put", "acl/admins", "local\nboss"))
        ok(cell.as_("local", "acl", "set", "--change", "admins", "acl/admins"))

        ok(cell.as_("local", "put", "acl/admins", "nobody-at-all"))
        back = ("acl", "set", "--change", "anyone", "/ls/local")
        fails(DENIED, cell.as_("local", *back), "not allowed")
        socket = way_back[1].replace("DATA_DIR", str(master.folder))
        ok(run(LOCKCTL, "--endpoints", socket, *way_back[2:]))
        ok(cell.as_("local", *back))


@case("three principals with three rights see and do exactly what they should")
def _():
    with Guarded("reader", "writer", "changer") as cell:
        cell.start()
        ok(cell.as_("local", "mkdir", "acl"))
        for right in ("reader", "writer", "changer"):
            ok(cell.as_("local", "put", f"acl/{right}s", right))
        ok(cell.as_("local", "mkdir", "vault"))
        ok(cell.as_("local", "put", "vault/gold", "7"))
        for name in ("vault", "vault/gold"):
            ok(cell.as_("local", "acl", "set", "--read", "readers", "--write", "writers",
                        "--change", "changers", name))
        may = {
            "reader": (("get", "vault/gold"), ("stat", "vault/gold"), ("ls", "vault"),
                       ("locks", "vault/gold"), ("get", "--level", "lease", "vault/gold")),
            "writer": (("put", "vault/gold", "8"), ("put", "vault/silver", "1"),
                       ("mkdir", "vault/deep"), ("lock", "vault/gold", "--", "true"),
                       ("elect", "vault/gold", "me", "--", "true"), ("rm", "vault/silver"),
                       ("rm", "vault/deep")),
            "changer": (("acl", "set", "--read", "anyone", "vault/gold"),
                        ("acl", "set", "--read", "readers", "vault/gold")),
        }
        for owner, commands in may.items():
            for command in commands:
                for principal in ("local", "reader", "writer", "changer"):
                    if principal != owner:
                        fails(DENIED, cell.as_(principal, *command))
            for command in commands:
                ok(cell.as_(owner, *command))
        # Who may change the names, and not read the node, must see them nevertheless.
        for principal in ("reader", "changer"):
            assert "writers" in ok(cell.as_(principal, "acl", "get", "vault/gold"))
        for principal in ("local", "writer"):
            fails(DENIED, cell.as_(principal, "acl", "get", "vault/gold"))
        # What is made has the names of its directory.
        ok(cell.as_("writer", "put", "vault/new", "1"))
        assert ok(cell.as_("reader", "get", "vault/new")) == "1"
        fails(DENIED, cell.as_("local", "get", "vault/new"))
        # Who may not read is not told what is there.
        for principal in ("local", "writer", "changer"):
            for name in ("vault/gold", "vault/none", "vault/none/deeper"):
                fails(DENIED, cell.as_(principal, "get", name), "not allowed")
                fails(DENIED, cell.as_(principal, "locks", name), "not allowed")
        fails(NO_NODE, cell.as_("reader", "get", "vault/none"))
        # Nor does a watch.
        fails(DENIED, cell.as_("local", "watch", "--count", "1", "vault/gold"))
        # In lists of all, what may not be read is left out or marked.
        for principal, seen in (("local", False), ("reader", True)):
            shown = ok(cell.as_("writer", "lock", "vault/gold", "--", LOCKCTL, "--endpoints",
                                cell.ports[principal], "locks"))
            assert ("/ls/test/vault/gold" in shown) == seen, shown
        rows = ok(cell.as_("local", "ls", "-l")).splitlines()
        assert any(row.split()[:2] == ["directory", "denied"] and row.endswith("  vault")
                   for row in rows), rows
        entries = [json.loads(line)
                   for line in ok(cell.as_("local", "-o", "json", "ls")).splitlines()]
        assert {"name": "vault", "kind": "directory", "denied": True} in entries, entries
        assert ok(cell.as_("local", "ls")).split() == ["acl", "vault"]


@case("a watch of a subtree tells only what its principal may read")
def _():
    with Guarded("guest") as cell:
        cell.start()
        for command in (("mkdir", "acl"), ("put", "acl/locals", "local"), ("mkdir", "d"),
                        ("put", "d/open", "0"), ("put", "d/shut", "0"),
                        ("acl", "set", "--read", "locals", "d/shut")):
            ok(cell.as_("local", *command))
        with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints",
                               cell.ports["guest"], "-v", "watch", "-r", "--count", "2", "d"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=ENVIRONMENT) as watch:
            try:
                assert b"watching from" in watch.stderr.readline()
                for name in ("d/open", "d/shut", "d/shut", "d/open"):
                    ok(cell.as_("local", "put", name, "1"))
                events = [json.loads(line) for line in watch.stdout]
                assert watch.wait(20) == 0
            finally:
                watch.kill()
        assert [event["name"] for event in events] == ["/ls/test/d/open"] * 2, events


@case("acl get, set and ls: what they print, and what they refuse")
def _():
    with Guarded("guest", count=1) as cell:
        cell.start()
        put = lambda *arguments: ok(cell.as_("local", *arguments))
        assert put("acl", "ls") == ""
        assert "no ACLs yet" in cell.as_("local", "-v", "acl", "ls").stderr.decode()
        put("mkdir", "acl")
        put("put", "acl/staff", "  ann \t\nbob smith # since May\n\n# nobody else\n*\n")
        put("put", "acl/none", "# nobody")
        put("put", "acl/shut", "local")
        put("acl", "set", "--read", "shut", "acl/shut")
        put("mkdir", "acl/folder")
        put("put", "f", "1")

        assert put("acl", "get", "f") == "read    anyone\nwrite   anyone\nchange  anyone\n"
        assert put("acl", "set", "--write", "staff", "f").startswith("/ls/local/f acl_generation 1 ")
        assert put("acl", "get", "f") == "read    anyone\nwrite   staff\nchange  anyone\n"
        assert put("-o", "table", "acl", "get", "f").split() == [
            "READ", "WRITE", "CHANGE", "NAME", "anyone", "staff", "anyone", "/ls/local/f"]
        found = json.loads(put("-o", "json", "acl", "get", "f"))
        assert found["acl"] == {"read": "", "write": "staff", "change": ""}, found
        assert found["level"] == "linearizable" and found["revision"] > 0, found
        found = json.loads(put("-o", "json", "acl", "get", "--level", "stale", "f"))
        assert found["level"] == "stale", found
        found = json.loads(put("-o", "json", "acl", "set", "f", "--write", "",
                               "--if-generation", "1"))
        assert found["stat"]["acl_generation"] == 2, found
        assert put("acl", "set", "--write", "anyone", "f").startswith("/ls/local/f acl_generation 2 ")

        assert put("acl", "ls", "staff") == "ann\nbob smith\n*\n"
        assert put("acl", "ls").splitlines() == [
            "none              (nobody)", "shut              local",
            "staff             ann, bob smith, *"]
        assert ok(cell.as_("guest", "acl", "ls")).splitlines()[1] == "shut              (denied)"
        lines = [json.loads(line)
                 for line in ok(cell.as_("guest", "-o", "json", "acl", "ls")).splitlines()]
        assert lines == [{"name": "none", "principals": []}, {"name": "shut", "denied": True},
                         {"name": "staff", "principals": ["ann", "bob smith", "*"]}], lines

        fails(NO_NODE, cell.as_("local", "acl", "set", "--read", "unmade", "f"), "no ACL",
              "acl --help")
        fails(NO_NODE, cell.as_("local", "acl", "set", "--read", "folder", "f"), "no ACL")
        fails(CONFLICT, cell.as_("local", "acl", "set", "--if-generation", "7", "--read", "staff",
                                 "f"))
        fails(NO_NODE, cell.as_("local", "acl", "get", "unmade"))
        fails(NO_NODE, cell.as_("local", "acl", "ls", "unmade"))
        fails(DENIED, cell.as_("guest", "acl", "ls", "shut"))
        fails(USAGE, cell.as_("local", "acl"), "get, set or ls")
        fails(USAGE, cell.as_("local", "acl", "frob"), "get, set or ls")
        fails(USAGE, cell.as_("local", "acl", "set", "f"), "--read")
        fails(USAGE, cell.as_("local", "acl", "set", "--read", "staff"), "NAME")
        fails(USAGE, cell.as_("local", "acl", "set", "--if-generation", "x", "--read", "staff",
                              "f"), "x")
        fails(NO_NODE, cell.as_("local", "acl", "set", "--read", "a/b", "f"), "no ACL")
        fails(USAGE, cell.as_("local", "acl", "set", "--read", "x" * 65, "f"))
        fails(USAGE, cell.as_("local", "acl", "ls", "a", "b"))


@case("the local socket: everything at the master's, status and old reads at any, no way on "
      "from another's")
def _():
    with Cell() as cell:
        master = cell.start()
        follower = cell.followers()[0]
        at = lambda replica: f"unix:{replica.folder}/lockd.sock"
        ok(cell.lockctl("put", "x", "1", endpoints=at(master)))
        assert ok(cell.lockctl("get", "x", endpoints=at(master))) == "1"
        environment = {**ENVIRONMENT, "LOCKD_ENDPOINTS": at(master)}
        done = subprocess.run([LOCKCTL, "get", "x"], env=environment, capture_output=True,
                              timeout=20, check=False)
        assert ok(done) == "1"
        done = cell.lockctl("--timeout", "1s", "put", "x", "2", endpoints=at(follower))
        fails(UNAVAILABLE, done, master.client)
        assert ok(cell.lockctl("get", "--level", "sequential", "x", endpoints=at(follower)))
        for replica in (master, follower):
            status = told(cell.lockctl("-o", "json", "status", endpoints=at(replica)))
            assert status["serving"] and len(status["replicas"]) == 3, status
            assert status["replicas"][0]["endpoint"] == at(replica), status
        fails(UNAVAILABLE, cell.lockctl("--timeout", "1s", "status", endpoints="unix:/none/x"),
              "no master")
        for wrong in ("unix:", "unix:relative", "unix:/" + "x" * 108):
            fails(USAGE, cell.lockctl("get", "x", endpoints=wrong), "unix:/PATH")


main()
