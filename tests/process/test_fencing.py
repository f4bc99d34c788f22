# SPDX-License-Identifier: Apache-2.0
"""A counter behind the file server of docs/examples, counted up under a lock of a
real cell by two holders, of whom one is paused between looking and writing until
its session is over and the other has written.  Without the fence an update is
lost; with it the late write is refused, also by a server that was restarted."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell, run
from harness.tap import case, main, wait_for

SERVER = LOCKCTL.parents[1] / "libclient" / "fenced_files"
LEASE = "2s"
USAGE, AGAIN, LOST = 64, 75, 79

# What runs under the lock: reads, says so, waits to be told, writes, says how it
# went.  The pause falls where it waits.
COUNTER = r"""
import os, socket, sys

def ask(words, octets=b""):
    server.sendall(words.encode() + b"\n" + octets)
    told = stream.readline().decode().split()
    return told, stream.read(int(told[1])) if told[0] == "OK" and len(told) == 2 else b""

token = os.environ["LOCKD_TOKEN"]
host, port = sys.argv[1].split(":")
server = socket.create_connection((host, int(port)))
stream = server.makefile("rb")
told, content = ask(f"GET counter {token}")
number = int(content or b"0")
print(" ".join(told[:1]), number, token, flush=True)
sys.stdin.readline()
content = str(number + 1).encode()
told, _ = ask(f"PUT counter {token} {len(content)}", content)
print(" ".join(told), flush=True)
"""


class Server:
    """The file server on a folder that outlives it."""

    def __init__(self, folder, *options):
        self.command = ["setpriv", "--pdeathsig", "KILL", SERVER, *options, folder]
        self.process = None
        self.address = None

    def start(self, port=0):
        self.process = subprocess.Popen([*self.command, str(port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, env=ENVIRONMENT)
        line = self.process.stdout.readline().decode()
        assert line.startswith("serving "), line
        self.address = line.split()[1]

    def restart(self):
        """kill -9, and back at the same address."""
        self.stop()
        self.start(int(self.address.split(":")[1]))

    def stop(self):
        self.process.kill()
        self.process.communicate(timeout=10)

    def ask(self, words, octets=b""):
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(words.encode() + b"\n" + octets)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read().decode()

    def value(self):
        told = self.ask("GET counter 0")
        return 0 if told == "NONE\n" else int(told.split("\n")[1])


@contextlib.contextmanager
def serving(*options):
    with tempfile.TemporaryDirectory(prefix="fenced-files-") as folder:
        server = Server(folder, *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Holder:
    """`lockctl lock` with the counter as its command."""

    def __init__(self, cell, server):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints", cell.endpoints,
             "lock", "--lease", LEASE, "counter", "--",
             sys.executable, "-c", COUNTER, server.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
        self.child = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # The kernel kills the command then.
        self.process.communicate(timeout=10)

    def read(self):
        """Waits until it has the lock and has read: the number and its token."""
        word, number, token = self.process.stdout.readline().decode().split()
        assert word in ("OK", "NONE"), word
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.child = int(path.read_text().split()[0])
        return int(number), int(token)

    def write(self):
        """Lets it write: what the server said."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().decode()

    def pause(self):
        for pid in (self.process.pid, self.child):
            os.kill(pid, signal.SIGSTOP)
            stat = pathlib.Path(f"/proc/{pid}/stat")
            wait_for("it to stop", lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def resume_command(self):
        """The command alone runs on, as one on another machine than its watchman."""
        os.kill(self.child, signal.SIGCONT)


def count_up(cell, server):
    with Holder(cell, server) as holder:
        number, token = holder.read()
        assert holder.write() == "OK\n"
        assert holder.process.wait(20) == 0
        return number + 1, token


def late_write(cell, server, between=lambda: None):
    """A holder sleeps while another counts up; what is said to its write then."""
    with Holder(cell, server) as late:
        number, token = late.read()
        late.pause()
        next_number, next_token = count_up(cell, server)
        assert (next_number, server.value()) == (number + 1, number + 1)
        assert next_token > token
        between()
        late.resume_command()
        return late.write(), next_token


@case("the control: without a fence the late write undoes another's", seconds=90)
def _():
    with Cell() as cell, serving("--unfenced") as server:
        cell.start()
        assert count_up(cell, server)[0] == 1
        told, _ = late_write(cell, server)
        assert told == "OK\n", told
        # Three updates were acknowledged, and two are there.
        assert server.value() == 2, server.value()


@case("with a fence it is refused, and nothing is lost", seconds=90)
def _():
    with Cell() as cell, serving() as server:
        cell.start()
        assert count_up(cell, server)[0] == 1
        told, mark = late_write(cell, server)
        assert told == f"STALE {mark}\n", (told, mark)
        assert server.value() == 2
        # The loser takes the lock anew and does its work on what is there now.
        assert count_up(cell, server)[0] == 3
        assert server.value() == 3


@case("also by a server killed meanwhile, and under a new master", seconds=90)
def _():
    with Cell() as cell, serving() as server:
        cell.start()
        with Holder(cell, server) as late:
            number, _ = late.read()
            late.pause()
            cell.master().kill()
            _, mark = count_up(cell, server)
            server.restart()
            # Its connection went with the server, so its words come from here.
            told = server.ask(f"PUT counter {mark - 1} 1", b"9")
            assert told == f"STALE {mark}\n", told
            assert server.value() == number + 1


@case("a late write is refused as soon as the next holder has read", seconds=90)
def _():
    with Cell() as cell, serving() as server:
        cell.start()
        assert count_up(cell, server)[0] == 1
        with Holder(cell, server) as late:
            late.read()
            late.pause()
            with Holder(cell, server) as holder:
                number, mark = holder.read()
                late.resume_command()
                assert late.write() == f"STALE {mark}\n"
                assert holder.write() == "OK\n"
                assert (number, server.value()) == (1, 2)


@case("the file server: what it takes, and what it refuses")
def _():
    with serving() as server:
        assert server.ask("GET a 0") == "NONE\n"
        assert server.ask("PUT a 5 3", b"one") == "OK\n"
        assert server.ask("PUT a 5 3", b"two") == "OK\n"
        assert server.ask("PUT a 4 3", b"old") == "STALE 5\n"
        assert server.ask("GET a 4") == "STALE 5\n"
        assert server.ask("GET a 0") == "OK 3\ntwo"
        assert server.ask("PUT b 4 0\nGET b 4\nGET a 9") == "OK\nOK 0\nOK 3\ntwo"
        assert server.ask("PUT a 6 4", b"cut") == ""  # Half a request does nothing.
        assert server.ask("GET a 0") == "OK 3\ntwo"
        assert server.ask("PUT a 8 3", b"old") == "STALE 9\n"
        for wrong in ("PUT a 9", "GET a", "GET ../a 0", "GET .fence 0", "PUT a 9 99999999",
                      "PUT a 0 0", "x" * 300, "GET a 0 1", "put a 9 0"):
            assert server.ask(wrong).startswith("ERROR "), wrong
        content = os.urandom(1 << 20)
        assert server.ask("PUT big 1 1048576", content) == "OK\n"
        assert server.ask("GET a 0") == "OK 3\ntwo"


# ------------------------------------------------------------- lockctl fence


def fence(*arguments):
    return run(LOCKCTL, "fence", *arguments)


def refused(status, done, *words):
    told = done.stderr.decode()
    assert done.returncode == status, (status, done.returncode, told)
    for word in words:
        assert word in told, (word, told)


@case("lockctl fence: 0 accepted, 79 stale, 75 in use, 64 usage, 1 damaged")
def _():
    with tempfile.TemporaryDirectory(prefix="fence-") as folder:
        path = os.path.join(folder, "marks")
        assert fence(path, "backup", "7").returncode == 0
        assert fence(path, "/ls/local/backup", "7").returncode == 0
        refused(LOST, fence(path, "backup", "6"), "stale")
        assert fence(path, "/ls/prod/x:exclusive:9").returncode == 0
        refused(LOST, fence(path, "/ls/prod/x:shared:8"), "stale")
        for wrong in ((), (path,), (path, "backup"), (path, "backup", "x"),
                      (path, "backup", "0"), (path, "x", "1", "2"), (path, "x:held:3")):
            refused(USAGE, fence(*wrong), "lockctl")
        refused(1, fence(os.path.join(folder, "none", "marks"), "a", "1"), "No such file")
        # Those who come at the same time wait for each other.
        many = [subprocess.Popen([LOCKCTL, "fence", path, "many", str(token)],
                                 env=ENVIRONMENT, stderr=subprocess.DEVNULL)
                for token in range(1, 9)]
        assert {process.wait(20) for process in many} <= {0, LOST}
        refused(LOST, fence(path, "many", "7"))
        assert fence(path, "many", "8").returncode == 0
        # Not for ever.
        with serving() as server:
            used = os.path.join(str(server.command[-1]), ".fence")
            done = run(LOCKCTL, "--timeout", "300ms", "fence", used, "a", "1")
            refused(AGAIN, done, "in use")
        with open(path, "r+b") as file:
            file.seek(30)
            octet = file.read(1)
            file.seek(30)
            file.write(bytes([octet[0] ^ 1]))
        refused(1, fence(path, "backup", "8"), "damaged")


@case("the script of docs/fencing.md receives what is new and refuses what is late")
def _():
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "fencing.md"
    script = re.search(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)[1]
    with tempfile.TemporaryDirectory(prefix="fence-") as folder:
        def receive(token, octets):
            return subprocess.run(
                ["sh", "-c", script.replace("/srv/backup", folder)], input=octets, timeout=20,
                capture_output=True, check=False,
                env={**ENVIRONMENT, "TOKEN": str(token),
                     "PATH": f"{LOCKCTL.parent}:{ENVIRONMENT['PATH']}"})

        for token, octets, status, stands in ((7, b"one", 0, b"one"), (9, b"two", 0, b"two"),
                                              (8, b"late", LOST, b"two")):
            done = receive(token, octets)
            assert done.returncode == status, (done.returncode, done.stderr)
            assert pathlib.Path(folder, "current").read_bytes() == stands


main()
