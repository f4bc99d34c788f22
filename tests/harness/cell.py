# SPDX-License-Identifier: Apache-2.0
"""cell.py -- real cells: configured, founded, started, hurt and cleaned up.

    with Cell() as cell:
        cell.start()
        master = cell.master()
        master.kill()

Every cell has a loopback address of its own, made from the process id, so that
test programs running at the same time never compete for a port and a replica
finds its port free when it comes back.  Leaving the `with` ends every replica,
whatever happened, and fails the case if one of them died by itself or its log
shows a failed assertion or a sanitizer's report.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from harness.rpc import CellClient, Closed, Connection, RpcError
from harness.tap import complain, wait_for

LOCKD = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
LOCKCTL = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
LOCKDUMP = LOCKCTL.with_name("lockdump") if LOCKCTL else None
# Built with sanitizers: everything takes longer and is larger then.
SANITIZED = LOCKD is not None and b"__asan_init" in LOCKD.read_bytes()

# A small quarantine, or every test of memory would measure the sanitizer.
ENVIRONMENT = {
    **os.environ,
    "ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=8",
    "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99:print_stacktrace=1",
}
for _name in ("LOCKD_ENDPOINTS", "XDG_STATE_HOME"):
    ENVIRONMENT.pop(_name, None)

# Whoever started us may have had them ignored, as nohup(1) does; what we start
# shall obey them.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)

_BAD_LOG = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion `")

_cells = 0


def run(*command, timeout=20, stdin=b""):
    """Runs a command to its end; bytes in, bytes out."""
    return subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        env=ENVIRONMENT,
        check=False,
    )


class Replica:
    """One replica: its files, and its process while it runs."""

    def __init__(self, cell, number):
        self.cell = cell
        self.number = number
        self.folder = cell.folder / str(number)
        self.config_path = cell.folder / f"{number}.json"
        self.log_path = cell.folder / f"{number}.log"
        self.client = f"{cell.host}:{cell.port + number}"
        self.peer = f"{cell.host}:{cell.port + 10 + number}"
        # Where clients of other principals come in, and the administrator of the machine.
        self.ports = {
            principal: f"{cell.host}:{cell.port + 20 * place + number}"
            for place, principal in enumerate(cell.principals, 1)
        }
        self.local = f"unix:{self.folder}/lockd.sock"
        self.process = None
        self.ready_line = None
        self.killed = False

    def __repr__(self):
        return f"replica {self.number}"

    # ------------------------------------------------------------- files

    def config(self, **changes):
        fields = {
            "cell": self.cell.name,
            "replica": self.number,
            "data_dir": str(self.folder),
            "listen": self.client,
            "advertise": self.client,
            "peers": {str(r.number): r.peer for r in self.cell.replicas},
            "listeners": [
                {"listen": address, "advertise": address, "principal": principal}
                for principal, address in self.ports.items()
            ] or None,
            **self.cell.settings,
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def write_config(self, **changes):
        """Writes the configuration; a change to None leaves the field out."""
        self.config_path.write_text(json.dumps(self.config(**changes), indent=2))

    def init(self):
        done = run(LOCKD, "init", "--config", self.config_path)
        assert done.returncode == 0, done.stderr.decode()

    def wipe(self):
        shutil.rmtree(self.folder)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # ----------------------------------------------------------- process

    def start(self, wait=True, under=()):
        """Starts it, `under` another command if one is given; its log goes to a file,
        its ready line to `ready_line`."""
        assert self.process is None, f"{self} runs already"
        self.killed = False
        self.ready_line = None
        with open(self.log_path, "ab") as log:
            # The kernel ends it should this process die without cleaning up.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *under,
                 str(LOCKD), "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=ENVIRONMENT,
            )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        if wait:
            self.wait_ready()

    def _listen(self, process):
        for line in process.stdout:
            if self.process is process and line.startswith(b"ready "):
                self.ready_line = line.decode().rstrip("\n")

    def wait_ready(self, seconds=20.0):
        def look():
            code = self.process.poll()
            assert code is None, f"{self} ended with {code}:\n{self.log()[-2000:]}"
            return self.ready_line

        return wait_for(f"{self}'s ready line", look, seconds)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        """kill -9, and gone when this returns."""
        self.killed = True
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def terminate(self, seconds=20.0):
        """SIGTERM; returns the exit status."""
        self.killed = True
        self.process.terminate()
        status = self.process.wait(seconds)
        self.process = None
        return status

    def wait_exit(self, seconds=20.0):
        """Waits for it to end by itself; returns the exit status."""
        self.killed = True
        status = self.process.wait(seconds)
        self.process = None
        return status

    def pause(self):
        """SIGSTOP, and stopped when this returns."""
        self.signal(signal.SIGSTOP)
        wait_for(f"{self} to stop", lambda: self._state() == "T", 5)

    def resume(self):
        self.signal(signal.SIGCONT)

    def _state(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    def rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def cpu_seconds(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # ---------------------------------------------------------- requests

    def address(self, principal=None):
        """Where clients of a principal find it; None: of its first port."""
        if principal == "root":
            return self.local
        return self.client if principal is None else self.ports[principal]

    def connect(self, timeout=10.0, principal=None):
        return Connection(self.address(principal), timeout)

    def status(self, timeout=5.0):
        """Its cell.status, or None if it does not answer."""
        try:
            with Connection(self.client, timeout) as connection:
                return connection.call("cell.status")
        except (OSError, Closed, RpcError):
            return None

    def trouble(self):
        """What is wrong with it that no test did to it, or None."""
        log = self.log()
        for sign in _BAD_LOG:
            if sign in log:
                return f"{self}'s log shows {sign!r}"
        if not self.killed and self.process is not None and self.process.poll() is not None:
            return f"{self} ended by itself with {self.process.returncode}"
        return None


class Cell:
    """Some replicas in a folder of their own.  Each has a port for each of `principals`,
    besides its first one, whose principal is a setting as all others."""

    def __init__(self, count=3, name="test", principals=(), **settings):
        global _cells
        _cells += 1
        pid = os.getpid()
        self.host = f"127.{1 + (pid >> 16)}.{(pid >> 8) & 255}.{pid & 255}"
        self.port = 7400 + 100 * _cells
        self.principals = tuple(principals)
        assert len(self.principals) <= 4, "a cell's ports are a hundred"
        self.name = name
        self.settings = settings
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lockd-test-"))
        self.replicas = []
        for number in range(1, count + 1):
            self.replicas.append(Replica(self, number))
        for replica in self.replicas:
            replica.write_config()

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        troubles = [replica.trouble() for replica in self.replicas]
        troubles = [trouble for trouble in troubles if trouble]
        if kind is not None or troubles:
            self._show_logs()
        for replica in self.replicas:
            if replica.process is not None:
                replica.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        if kind is None:
            assert not troubles, "; ".join(troubles)

    def _show_logs(self):
        for replica in self.replicas:
            lines = replica.log().splitlines()
            complain(f"--- {replica}, the last of {len(lines)} lines")
            complain("\n".join(lines[-40:]))

    def init(self):
        for replica in self.replicas:
            replica.init()

    def start(self):
        """init on all, start all, and wait until a master serves."""
        self.init()
        for replica in self.replicas:
            replica.start(wait=False)
        for replica in self.replicas:
            replica.wait_ready()
        return self.master()

    @property
    def addresses(self):
        return self.addresses_of(None)

    def addresses_of(self, principal):
        return [replica.address(principal) for replica in self.replicas]

    @property
    def endpoints(self):
        return ",".join(self.addresses)

    def running(self):
        return [replica for replica in self.replicas if replica.process is not None]

    def find_master(self, among=None):
        """The replica that serves as master under the highest epoch, or None."""
        best = None
        for replica in among if among is not None else self.running():
            status = replica.status(timeout=1.0)
            if status is None or status["role"] != "master" or not status["serving"]:
                continue
            if best is None or status["epoch"] > best[0]:
                best = (status["epoch"], replica)
        return best[1] if best else None

    def master(self, seconds=20.0, among=None):
        return wait_for("a serving master", lambda: self.find_master(among), seconds)

    def followers(self):
        master = self.master()
        return [replica for replica in self.running() if replica is not master]

    def client(self, principal=None, **options):
        return CellClient(self.addresses_of(principal), **options)

    def settled(self):
        """All running replicas have applied the same slot and show the same digest."""
        statuses = [replica.status() for replica in self.running()]
        if any(status is None for status in statuses):
            return None
        views = {(status["slot_applied"], status["digest"]) for status in statuses}
        return statuses if len(views) == 1 else None

    def wait_settled(self, seconds=20.0):
        return wait_for("equal slots and digests on all replicas", self.settled, seconds)

    def wait_caught_up(self, replica, seconds=20.0):
        """It has applied what the master has by now, whatever goes on meanwhile."""
        slot = self.master().status()["slot_applied"]

        def look():
            status = replica.status()
            return status is not None and status["slot_applied"] >= slot

        wait_for(f"{replica} to catch up", look, seconds)

    def lockctl(self, *arguments, stdin=b"", timeout=30, endpoints=None):
        return run(
            LOCKCTL,
            "--endpoints",
            endpoints or self.endpoints,
            *arguments,
            stdin=stdin,
            timeout=timeout,
        )


def elapsed(start):
    return time.monotonic() - start
