# SPDX-License-Identifier: Apache-2.0
"""lockctl against a real cell: what it prints, octet for octet, and its exit
codes, one class after the other."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import LOCKCTL, Cell, run
from harness.rpc import Connection
from harness.tap import Threads, case, main, note, wait_for

USAGE, CONFLICT, NO_NODE, UNAVAILABLE, UNKNOWN, TRY_AGAIN = 64, 65, 66, 69, 73, 75
BINARY = bytes(range(256)) * 300 + b"\0\n\r\0"


def ok(done):
    assert done.returncode == 0, (done.returncode, done.stderr.decode())
    return done.stdout


def fails(status, done, *words):
    told = done.stderr.decode()
    assert done.returncode == status, (status, done.returncode, told)
    assert told.strip(), "it failed without a word"
    for word in words:
        assert word in told, (word, told)


@case("values from the argument, standard input and files; @@; octets exactly")
def _():
    with Cell() as cell:
        cell.start()
        ok(cell.lockctl("put", "argument", "hello"))
        assert ok(cell.lockctl("get", "argument")) == b"hello"
        ok(cell.lockctl("put", "stdin", stdin=BINARY))
        assert ok(cell.lockctl("get", "stdin")) == BINARY
        ok(cell.lockctl("put", "dash", "-", stdin=BINARY))
        assert ok(cell.lockctl("get", "dash")) == BINARY
        path = cell.folder / "value"
        path.write_bytes(BINARY)
        ok(cell.lockctl("put", "file", f"@{path}"))
        assert ok(cell.lockctl("get", "file")) == BINARY
        ok(cell.lockctl("put", "at", "@@home"))
        assert ok(cell.lockctl("get", "at")) == b"@home"
        ok(cell.lockctl("put", "empty", ""))
        assert ok(cell.lockctl("get", "empty")) == b""
        ok(cell.lockctl("put", "/ls/local/whole", "name"))
        assert ok(cell.lockctl("get", "whole")) == b"name"
        ok(cell.lockctl("put", "größe-☃", "unicode ✓\n"))
        assert ok(cell.lockctl("get", "größe-☃")) == "unicode ✓\n".encode()
        largest = b"\xff" * 256 * 1024
        ok(cell.lockctl("put", "largest", stdin=largest))
        assert ok(cell.lockctl("get", "largest")) == largest


@case("mkdir, ls, stat, rm")
def _():
    with Cell() as cell:
        cell.start()
        ok(cell.lockctl("mkdir", "a"))
        ok(cell.lockctl("mkdir", "-p", "a/b/c"))
        ok(cell.lockctl("put", "a/file", "1"))
        names = ok(cell.lockctl("ls", "a")).decode().split()
        assert [name.rstrip("/") for name in names] == ["b", "file"], names
        told = json.loads(ok(cell.lockctl("-o", "json", "stat", "a/file")))
        assert "generation" in json.dumps(told), told
        assert ok(cell.lockctl("stat", "a/file"))
        assert ok(cell.lockctl("--output", "table", "ls", "a"))
        ok(cell.lockctl("rm", "a/file"))
        ok(cell.lockctl("rm", "a/b/c"))
        fails(NO_NODE, cell.lockctl("get", "a/file"))


@case("ls pages through more names than one answer holds")
def _():
    with Cell(count=1) as cell:
        cell.start()
        with cell.client() as client:
            connection = None
            client.call("node.create", name="/ls/local/many", kind="directory")
            connection = client.connection
            for n in range(2500):
                connection.request("node.put", name=f"/ls/local/many/n{n:05}", content="")
            for _ in range(2500):
                message = connection.answer()
                assert "result" in message, message
        names = ok(cell.lockctl("ls", "many")).decode().split()
        assert names == [f"n{n:05}" for n in range(2500)], len(names)


@case("64: usage, bad names, too large")
def _():
    with Cell() as cell:
        cell.start()
        fails(USAGE, run(LOCKCTL))
        fails(USAGE, cell.lockctl("frobnicate"), "frobnicate")
        fails(USAGE, cell.lockctl("get"))
        fails(USAGE, cell.lockctl("get", "--nonsense", "x"), "nonsense")
        fails(USAGE, cell.lockctl("--timeout", "soon", "get", "x"), "soon")
        fails(USAGE, cell.lockctl("--output", "xml", "get", "x"), "xml")
        fails(USAGE, cell.lockctl("put", "--if-generation", "minus", "x", "1"), "minus")
        fails(USAGE, cell.lockctl("get", "a//b"))
        fails(USAGE, cell.lockctl("get", "a/../b"))
        fails(USAGE, cell.lockctl("get", "/ls/elsewhere/x"))
        fails(USAGE, cell.lockctl("put", "large", stdin=b"x" * (256 * 1024 + 1)))
        fails(USAGE, cell.lockctl("put", "x", f"@{cell.folder}/none"), "none")
        fails(USAGE, cell.lockctl("get", "--level", "exact", "x"), "exact", "sequential")
        fails(USAGE, cell.lockctl("get", "--max-age", "1s", "x"), "--level")
        fails(USAGE, cell.lockctl("ls", "--level", "lease", "--max-age", "1s"), "--level")
        fails(USAGE, cell.lockctl("get", "--level", "stale", "--max-age", "0", "x"), "\"0\"")
        fails(USAGE, cell.lockctl("get", "--cache", "--level", "stale", "x"), "exclude")
        fails(USAGE, cell.lockctl("get", "--every", "0", "x"), "\"0\"")
        fails(USAGE, cell.lockctl("get", "--every", "1s", "--instance", "1", "x"), "exclude")
        fails(USAGE, cell.lockctl("stat", "--cache", "x"), "--cache")


@case("65: conflict, exists, not empty")
def _():
    with Cell() as cell:
        cell.start()
        ok(cell.lockctl("put", "--if-generation", "0", "f", "1"))
        fails(CONFLICT, cell.lockctl("put", "--if-generation", "0", "f", "2"))
        ok(cell.lockctl("put", "--if-generation", "1", "f", "2"))
        fails(CONFLICT, cell.lockctl("put", "--if-generation", "1", "f", "3"))
        assert ok(cell.lockctl("get", "f")) == b"2"
        ok(cell.lockctl("mkdir", "d"))
        fails(CONFLICT, cell.lockctl("mkdir", "d"))
        ok(cell.lockctl("put", "d/f", "1"))
        fails(CONFLICT, cell.lockctl("rm", "d"))


@case("66: no such node, no parent")
def _():
    with Cell() as cell:
        cell.start()
        for arguments in (("get", "none"), ("stat", "none"), ("rm", "none"), ("ls", "none"),
                          ("put", "none/f", "1"), ("mkdir", "none/d")):
            fails(NO_NODE, cell.lockctl(*arguments), "none")


@case("69: no master reachable, within --timeout")
def _():
    with Cell() as cell:
        cell.start()
        for replica in cell.replicas[1:]:
            replica.kill()
        fails(UNAVAILABLE, cell.lockctl("--timeout", "2s", "get", "x", timeout=15))
        cell.replicas[0].kill()
        fails(UNAVAILABLE, cell.lockctl("--timeout", "500ms", "get", "x", timeout=15))
        fails(UNAVAILABLE, cell.lockctl("--timeout", "1", "put", "x", "1", timeout=15))


class Forgetful:
    """Stands before a replica and passes lines on, but never the answer to a put:
    it closes the connection instead, or says nothing more."""

    def __init__(self, address, closes):
        self.address = address
        self.closes = closes
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads = Threads()

    def __enter__(self):
        self.threads.start(self.run)
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __exit__(self, kind, _value, _trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if kind is None:
            self.threads.join(10.0)

    def run(self):
        while True:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            with taken, taken.makefile("rb") as lines, Connection(self.address) as replica:
                for line in lines:
                    replica.send(line)
                    answer = replica.line()
                    if b"node.put" not in line:
                        taken.sendall(answer + b"\n")
                    elif self.closes:
                        break


@case("73: the outcome of a put is unknown when its answer is lost")
def _():
    with Cell(count=1) as cell:
        master = cell.start()
        for closes in (True, False):
            with Forgetful(master.client, closes) as address:
                value = f"closes {closes}"
                done = cell.lockctl("--timeout", "2s", "put", "x", value, endpoints=address)
                fails(UNKNOWN, done)
                assert ok(cell.lockctl("get", "x")) == value.encode()
            with cell.client() as client:
                stat = client.read("node.stat", name="/ls/local/x")["stat"]
            assert stat["generation"] == (1 if closes else 2), "it was sent twice"


@case("69: a replica that accepts and says nothing is no master")
def _():
    with Cell(count=1) as cell:
        master = cell.start()
        master.pause()
        fails(UNAVAILABLE, cell.lockctl("--timeout", "1s", "put", "x", "1", timeout=15))
        master.resume()


@case("any endpoint will do: lockctl follows to the master; LOCKD_ENDPOINTS works")
def _():
    with Cell() as cell:
        master = cell.start()
        for replica in cell.replicas:
            ok(cell.lockctl("put", "x", str(replica.number), endpoints=replica.client))
            assert ok(cell.lockctl("get", "x")) == str(replica.number).encode()
        dead = f"{cell.host}:1"
        ok(cell.lockctl("get", "x", endpoints=f"{dead},{master.client}"))
        environment = {**os.environ, "LOCKD_ENDPOINTS": cell.endpoints}
        done = subprocess.run([LOCKCTL, "get", "x"], env=environment, capture_output=True,
                              timeout=20, check=False)
        assert ok(done)


@case("status shows replicas, master and how many more failures the cell survives")
def _():
    with Cell() as cell:
        cell.start()
        told = json.loads(ok(cell.lockctl("-o", "json", "status")))
        note(json.dumps(told)[:600])
        assert ok(cell.lockctl("status"))
        assert b"survives" in ok(cell.lockctl("status")) or b"failure" in ok(cell.lockctl("status"))
        for replica in cell.replicas:
            replica.kill()

        # --wait spans the time until there is a master.
        timer = threading.Timer(1.0, lambda: None)
        timer.start()
        with subprocess.Popen([LOCKCTL, "--endpoints", cell.endpoints, "status", "--wait", "20s"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
            try:
                timer.join()
                assert waiting.poll() is None, waiting.communicate()
                for replica in cell.replicas:
                    replica.start(wait=False)
                out, err = waiting.communicate(timeout=25)
                assert waiting.returncode == 0, err
                assert out
            finally:
                waiting.kill()


@case("status counts sessions, locks, lock-delays, open ephemerals, watches and history")
def _():
    with Cell() as cell:
        cell.start()
        with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints",
                               cell.endpoints, "open", "--ephemeral", "e"],
                              stdout=subprocess.PIPE) as holder, \
                subprocess.Popen(["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints",
                                  cell.endpoints, "watch", "--count", "1", "w"],
                                 stdout=subprocess.PIPE) as watch:
            try:
                assert holder.stdout.readline()
                master = lambda: json.loads(ok(cell.lockctl("-o", "json", "status")))["master"]
                wait_for("the watch", lambda: master()["watches"] == 1)
                told = master()
                assert (told["sessions"], told["opens"]) == (1, 1), told
                assert (told["locks_held"], told["locks_delayed"]) == (0, 0), told
                assert told["history_bytes"] > 0, told
                text = ok(cell.lockctl("status")).decode()
                assert "1 ephemerals open" in text and "1 watches" in text, text
                ok(cell.lockctl("put", "w", "1"))
                assert json.loads(watch.stdout.readline())["kind"] == "created"
                assert watch.wait(20) == 0
                wait_for("the watch to go", lambda: master()["watches"] == 0)
            finally:
                holder.kill()
                watch.kill()


@case("ls -l and stat show what is ephemeral and what is locked; --instance pins")
def _():
    with Cell() as cell:
        cell.start()
        first = json.loads(ok(cell.lockctl("-o", "json", "put", "f", "1")))["stat"]["instance"]
        assert ok(cell.lockctl("get", "--instance", str(first), "f")) == b"1"
        ok(cell.lockctl("rm", "f"))
        fails(CONFLICT, cell.lockctl("get", "--instance", str(first), "f"))
        ok(cell.lockctl("put", "f", "2"))
        fails(CONFLICT, cell.lockctl("get", "--instance", str(first), "f"))
        fails(CONFLICT, cell.lockctl("stat", "--instance", str(first), "f"))
        fails(USAGE, cell.lockctl("stat", "--instance", "one", "f"), "one")
        script = f"{LOCKCTL} -o json stat f; {LOCKCTL} stat f; {LOCKCTL} ls -l; echo $LOCKD_TOKEN"
        environment = {**os.environ, "LOCKD_ENDPOINTS": cell.endpoints}
        done = subprocess.run([LOCKCTL, "lock", "f", "--", "sh", "-c", script], env=environment,
                              capture_output=True, timeout=30, check=False)
        told, *text, token = ok(done).decode().splitlines()
        assert json.loads(told)["stat"]["lock_token"] == int(token), told
        assert f"lock_token       {token}" in text, text
        rows = [line.split() for line in text]
        assert any(row[:2] == ["file", "permanent"] and row[-2:] == [token, "f"] for row in rows), text
        assert "lock_token" not in ok(cell.lockctl("stat", "f")).decode()
        script = f"{LOCKCTL} stat e; {LOCKCTL} ls -l"
        done = subprocess.run([LOCKCTL, "open", "--ephemeral", "--directory", "e", "--", "sh", "-c",
                               script], env=environment, capture_output=True, timeout=30,
                              check=False)
        text = ok(done).decode()
        assert "kind             ephemeral directory" in text, text
        assert "directory ephemeral" in text, text


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  (\w+) +(\d+) us  revision (\d+)"
                  r"(?:  age (\d+) ms)?  (.*)")


@case("get --every: a line each, where it came from, and what is not printable as in C")
def _():
    with Cell() as cell:
        cell.start()
        ok(cell.lockctl("put", "f", stdin=b"a\\b\n\tc\x7f\xc3\xa9"))
        ok(cell.lockctl("put", "binary", stdin=b"\xffx\0"))

        def lines(*arguments):
            text = ok(cell.lockctl("get", "--every", "20ms", "--count", "3", *arguments)).decode()
            found = [LINE.fullmatch(line) for line in text.splitlines()]
            assert len(found) == 3 and all(found), text
            return [line.groups() for line in found]

        content = "a\\\\b\\n\\x09c\\x7f\u00e9"
        for source, _, revision, age, shown in lines("f"):
            assert (source, revision, age, shown) == ("master", "2", None, content), shown
        for source, _, _, age, shown in lines("--level", "stale", "f"):
            assert source == "replica" and age is not None and shown == content, (source, age)
        assert [line[0] for line in lines("--cache", "f")] == ["master", "memory", "memory"]
        assert {line[4] for line in lines("binary")} == {"\\xffx\\x00"}
        assert {line[4] for line in lines("none")} == {"(there is no such node)"}
        assert [line[0] for line in lines("--cache", "none")] == ["master", "memory", "memory"]
        told = [json.loads(line) for line in ok(cell.lockctl(
            "-o", "json", "get", "--cache", "--every", "20ms", "--count", "2", "f")).splitlines()]
        assert [read["cached"] for read in told] == [False, True], told
        first, second = told
        assert second["asked_us"] > first["asked_us"] and second["took_us"] >= 0, told
        assert first["level"] == "linearizable" and first["stat"] == second["stat"], told
        fails(UNAVAILABLE, cell.lockctl("--timeout", "500ms", "get", "--cache", "f",
                                        endpoints=f"{cell.host}:1"))
        done = cell.lockctl("--timeout", "300ms", "get", "--every", "10ms", "--count", "2", "f",
                            endpoints=f"{cell.host}:1")
        assert ok(done).count(b"nobody") == 2, done


@case("a broken pipe and an interrupt end it quietly")
def _():
    with Cell(count=1) as cell:
        cell.start()
        ok(cell.lockctl("put", "large", stdin=b"x" * 200 * 1024))
        with subprocess.Popen([LOCKCTL, "--endpoints", cell.endpoints, "get", "large"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            told = process.stderr.read()
            status = process.wait(20)
        assert status in (1, -signal.SIGPIPE), status
        assert b"Sanitizer" not in told, told


main()
