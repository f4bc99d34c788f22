# SPDX-License-Identifier: Apache-2.0
"""Sessions and locks on real processes: held through the death and the sleep of
masters, freed when a holder is gone, and given up before anyone else gets them."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell
from harness.proxy import Proxy
from harness.rpc import Closed
from harness.sessions import Session
from harness.tap import Threads, case, main, note, wait_for

USAGE, CONFLICT, NO_NODE, UNAVAILABLE, TRY_AGAIN, LOST = 64, 65, 66, 69, 75, 79
CLIENTS = 32
NAMES = 8
KILLS = 3
PAUSE = 5.0 if os.environ.get("CI") else 20.0

# A command that says the time over and over: how long does it run?  On one
# machine all processes have the same monotonic clock.
TICKER = """
import signal, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1], "w", buffering=1) as out:
    while True:
        out.write(f"{time.monotonic()}\\n")
        time.sleep(0.005)
"""
NOW = "import time; print(time.monotonic(), flush=True)"


# ------------------------------------------------------------------ helpers


@contextlib.contextmanager
def lockctl(cell, *arguments, endpoints=None):
    """A lockctl that runs beside the test, and is gone afterwards."""
    command = ["setpriv", "--pdeathsig", "KILL", str(LOCKCTL), "--endpoints",
               endpoints or cell.endpoints, *(str(argument) for argument in arguments)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process, status, seconds=20.0):
    """Its output and its errors, once it has ended so."""
    out, err = process.communicate(timeout=seconds)
    assert b"Sanitizer" not in err and b"runtime error" not in err, err.decode()
    assert process.returncode == status, (status, process.returncode, out, err.decode())
    return out.decode(), err.decode()


def fails(status, done, *words):
    told = done.stderr.decode()
    assert done.returncode == status, (status, done.returncode, told)
    assert told.strip(), "it failed without a word"
    for word in words:
        assert word in told, (word, told)


def claims(cell, name):
    """Who holds and awaits a lock, as `lockctl locks` tells; [] also for no node."""
    done = cell.lockctl("-o", "json", "locks", name)
    if done.returncode == NO_NODE:
        return []
    assert done.returncode == 0, done.stderr.decode()
    return [claim for line in done.stdout.splitlines() for claim in json.loads(line)["claims"]]


def wait_claims(cell, name, held, waiting, seconds=20.0):
    def look():
        found = claims(cell, name)
        counts = [claim["held"] for claim in found]
        return (found or True) if counts == [True] * held + [False] * waiting else None

    return wait_for(f"{held} holders and {waiting} waiters of {name}", look, seconds)


def delayed(cell, name):
    """The claim of one who failed, while its lock-delay runs; or None."""
    return next((claim for claim in claims(cell, name) if claim.get("delayed")), None)


def times(path):
    """What a TICKER wrote, whole lines only."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [float(line) for line in lines]


def ticking(path):
    return wait_for("the command to run", lambda: times(path), 20)


def gone(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def child_of(process):
    """The command of a lockctl, once it runs."""
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(wait_for("the command", lambda: path.read_text().split(), 20)[0])


# ------------------------------------------------------------- the command line


@case("lock runs a command: its status, its environment, tokens that grow")
def _():
    with Cell() as cell:
        cell.start()
        for command, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7),
                                (["sh", "-c", "kill -9 $$"], 137), (["/nowhere/none"], 127),
                                (["/tmp"], 126)):
            done = cell.lockctl("lock", "job", "--", *command)
            assert done.returncode == status, (command, done.returncode, done.stderr.decode())
        tokens = []
        for _ in range(3):
            done = cell.lockctl("lock", "job", "--", "sh", "-c",
                                'echo "$LOCKD_NAME $LOCKD_TOKEN $LOCKD_SEQUENCER $LOCKD_SESSION"')
            assert done.returncode == 0, done.stderr.decode()
            name, token, sequencer, session = done.stdout.decode().split()
            assert name == "/ls/local/job", name
            assert sequencer.endswith(f":exclusive:{token}"), sequencer
            assert len(session) == 16 and int(session, 16) >= 0, session
            tokens.append(int(token))
        assert tokens == sorted(set(tokens)), tokens
        assert claims(cell, "job") == []
        # Standard input goes through.
        done = cell.lockctl("lock", "job", "--", "cat", stdin=b"words")
        assert done.stdout == b"words", done.stdout


@case("lock: 64 usage, 69 no cell, 75 not acquired in time")
def _():
    with Cell() as cell:
        cell.start()
        for wrong in ((), ("x", "y"), ("x", "--"), ("x", "--try"), ("--lease", "0.5", "x"),
                      ("--lease", "61s", "x"), ("--try", "--timeout", "1s", "x"),
                      ("--timeout", "soon", "x"), ("--lock-delay", "61s", "x"), ("a//b",), ("/elsewhere/x",)):
            fails(USAGE, cell.lockctl("lock", *wrong))
        with lockctl(cell, "lock", "x") as holder:
            line = holder.stdout.readline().decode()
            assert line.startswith("/ls/local/x token "), line
            fails(TRY_AGAIN, cell.lockctl("lock", "--try", "x", "--", "true"))
            start = time.monotonic()
            fails(TRY_AGAIN, cell.lockctl("lock", "--timeout", "700ms", "x", "--", "true"))
            waited = time.monotonic() - start
            assert 0.7 <= waited < 5.0, waited
            fails(TRY_AGAIN, cell.lockctl("lock", "--shared", "--try", "x", "--", "true"))
            wait_claims(cell, "x", 1, 0)
            holder.terminate()
            ended(holder, 0)
        fails(NO_NODE, cell.lockctl("lock", "none/x", "--", "true"), "mkdir -p /ls/local/none")
        fails(UNAVAILABLE, cell.lockctl("--timeout", "1s", "lock", "x", "--", "true",
                                        endpoints=f"{cell.host}:1"))


@case("lock without a command holds until INT, TERM or HUP and gives back at once")
def _():
    with Cell() as cell:
        cell.start()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with lockctl(cell, "-o", "json", "lock", "x") as holder:
                told = json.loads(holder.stdout.readline())
                assert told["name"] == "/ls/local/x", told
                assert told["sequencer"].endswith(f":{told['token']}"), told
                held = wait_claims(cell, "x", 1, 0)[0]
                assert held["token"] == told["token"], (held, told)
                assert held["session"] == told["session"], (held, told)
                holder.send_signal(number)
                ended(holder, 0)
            assert claims(cell, "x") == []


@case("shared locks are held together; an exclusive one waits for all of them")
def _():
    with Cell() as cell:
        cell.start()
        with lockctl(cell, "lock", "--shared", "x") as one, \
                lockctl(cell, "lock", "--shared", "x") as two:
            first, second = (holder.stdout.readline().split() for holder in (one, two))
            assert first[2] == second[2], "shared holders together have one token"
            wait_claims(cell, "x", 2, 0)
            with lockctl(cell, "lock", "x", "--", "echo", "mine") as writer:
                wait_claims(cell, "x", 2, 1)
                # A reader behind the writer waits, or writers would starve.
                fails(TRY_AGAIN, cell.lockctl("lock", "--shared", "--try", "x", "--", "true"))
                one.terminate()
                ended(one, 0)
                wait_claims(cell, "x", 1, 1)
                two.terminate()
                ended(two, 0)
                assert ended(writer, 0)[0] == "mine\n"


@case("signals go on to the command; one that waits is ended by them")
def _():
    with Cell() as cell:
        cell.start()
        script = 'trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done'
        with lockctl(cell, "lock", "x", "--", "sh", "-c", script) as holder:
            assert holder.stdout.readline() == b"ready\n"
            with lockctl(cell, "lock", "x", "--", "true") as waiter:
                wait_claims(cell, "x", 1, 1)
                waiter.terminate()
                ended(waiter, 128 + signal.SIGTERM)
            wait_claims(cell, "x", 1, 0)
            holder.terminate()
            ended(holder, 5)
        with lockctl(cell, "lock", "x", "--", "sleep", "60") as holder:
            child_of(holder)
            holder.send_signal(signal.SIGUSR1)
            ended(holder, 128 + signal.SIGUSR1)
        assert claims(cell, "x") == []


@case("locks shows holder and waiters in the order of service, in each format")
def _():
    with Cell() as cell:
        cell.start()
        assert cell.lockctl("lock", "x", "--", "true").returncode == 0
        assert b"is free" in cell.lockctl("locks", "x").stdout
        fails(NO_NODE, cell.lockctl("locks", "none"))
        with contextlib.ExitStack() as stack:
            queue = []
            for count in range(3):
                queue.append(stack.enter_context(lockctl(cell, "lock", "x", "--", "sleep", "60")))
                found = wait_claims(cell, "x", 1, count)
                assert str(queue[-1].pid) in found[-1]["label"], (queue[-1].pid, found[-1])
            order = [claim["session"] for claim in found]
            for told in (cell.lockctl("locks", "x"), cell.lockctl("locks"),
                         cell.lockctl("-o", "table", "locks")):
                text = told.stdout.decode()
                assert told.returncode == 0 and "/x\n" in text, (text, told.stderr)
                places = [text.index(session) for session in order]
                assert places == sorted(places), text


# --------------------------------------------------------- the master is killed


class Contenders:
    """Clients that take and release a few locks without a break, and watch over
    what they are given."""

    def __init__(self, cell):
        self.cell = cell
        self.stop = threading.Event()
        self.threads = Threads()
        self.guard = threading.Lock()
        self.holders = {}  # name -> client
        self.tokens = {}   # name -> those granted, in order
        self.grants = []   # Moments.

    def __enter__(self):
        for number in range(CLIENTS):
            self.threads.start(self.run, number)
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop.set()
        if kind is None:
            self.threads.join(60.0)

    def run(self, number):
        chance = random.Random(number)
        session = Session(self.cell.addresses, label=f"client-{number}")
        while not self.stop.is_set():
            name = f"/ls/local/lock-{chance.randrange(NAMES)}"
            token = session.acquire(name)
            self.enter(name, number, token)
            time.sleep(chance.random() * 0.004)
            self.leave(name, number)
            session.release(name, token)
        session.keep_alive()  # session_expired would be raised.
        session.close()

    def enter(self, name, number, token):
        """Between grant and release nobody else may be here."""
        with self.guard:
            other = self.holders.get(name)
            assert other is None, f"{name} is held by {other} and by {number}"
            self.holders[name] = number
            row = self.tokens.setdefault(name, [])
            assert not row or token > row[-1], f"{name}: token {token} after {row[-1]}"
            row.append(token)
            self.grants.append(time.monotonic())

    def leave(self, name, number):
        with self.guard:
            assert self.holders.pop(name) == number

    def wait(self, more, seconds=30.0):
        goal = len(self.grants) + more

        def look():
            assert not self.threads.troubles, self.threads.troubles[0]
            return len(self.grants) >= goal

        wait_for(f"{more} more grants", look, seconds)

    def gap(self, moment):
        """From a moment to the grant behind the longest silence after it: the dead
        master's last answers may still be on their way."""
        after = [at for at in self.grants if at > moment]
        ends = max(zip([moment] + after, after), key=lambda pair: pair[1] - pair[0])
        return ends[1] - moment


@case("kill -9 of the master while 32 clients take and release locks", seconds=150)
def _():
    gaps = []
    with Cell() as cell:
        cell.start()
        with Contenders(cell) as contenders:
            contenders.wait(200)
            for _ in range(KILLS):
                master = cell.master()
                moment = time.monotonic()
                master.kill()
                contenders.wait(200)
                gaps.append(contenders.gap(moment))
                master.start()
                wait_for("two followers", lambda: len(cell.running()) == 3, 10)
                contenders.wait(200)
        note(f"{len(contenders.grants)} grants; next grant after "
             + ", ".join(f"{gap * 1000:.0f} ms" for gap in gaps))
        cell.wait_settled()
    assert sorted(gaps)[KILLS // 2] < 2.0, gaps
    assert max(gaps) < 5.0, gaps


# -------------------------------------------------------- holders that are gone


@case("a holder killed is freed with its session; a waiter killed is skipped; FIFO", seconds=90)
def _():
    lease = 2.0
    with Cell() as cell, contextlib.ExitStack() as stack:
        cell.start()

        def start(waiters, *command):
            process = stack.enter_context(
                lockctl(cell, "lock", "--lease", f"{lease}s", "x", "--", *command))
            wait_claims(cell, "x", 1, waiters)
            return process

        holder = start(0, "sleep", "60")
        sleeper = child_of(holder)
        dead = start(1, sys.executable, "-c", NOW)
        first = start(2, sys.executable, "-c", NOW)
        second = start(3, sys.executable, "-c", NOW)
        before = [claim["session"] for claim in claims(cell, "x")]
        dead.kill()
        after = [claim["session"] for claim in wait_claims(cell, "x", 1, 2, lease + 5)]
        assert after == [before[i] for i in (0, 2, 3)], "it was not the dead one that went"

        holder.kill()
        killed = time.monotonic()
        wait_for("the command of a killed lockctl to end", lambda: gone(sleeper), 5)
        one = float(ended(first, 0)[0])
        two = float(ended(second, 0)[0])
        note(f"granted {one - killed:.2f} s after the kill, with a lease of {lease:g} s")
        assert one < two, "not in the order of arrival"
        assert one - killed < lease + 3.0
        assert dead.communicate()[0] == b"", "granted to one who is dead"
        assert claims(cell, "x") == []


@case("a lock-delay is honoured over two fail-overs; all are told what is left and why",
      seconds=180)
def _():
    delay, lease = 6.0, 2.0
    with Cell() as cell, contextlib.ExitStack() as stack:
        cell.start()
        holder = stack.enter_context(
            lockctl(cell, "lock", "--lease", f"{lease}s", "--lock-delay", f"{delay}s", "x"))
        token = int(holder.stdout.readline().split()[2])
        waiter = stack.enter_context(
            lockctl(cell, "-v", "lock", "x", "--", sys.executable, "-c", NOW))
        wait_claims(cell, "x", 1, 1)
        holder.kill()
        expired = wait_for("the lock-delay to begin", lambda: delayed(cell, "x"), lease + 5)
        begun = time.monotonic()
        assert (expired["token"], expired["lock_delay_ms"]) == (token, delay * 1000), expired
        assert 0 < expired["left_ms"] <= delay * 1010 + 1, expired
        assert str(holder.pid) in expired["label"], (holder.pid, expired)
        told = cell.lockctl("locks", "x").stdout.decode()
        assert "closed for" in told and "lock-delay of 6.0 s" in told, told
        fails(TRY_AGAIN, cell.lockctl("lock", "--try", "x", "--", "true"), "lock-delay",
              str(holder.pid))

        for _ in range(2):
            time.sleep(delay / 2)
            master = cell.master()
            master.kill()
            killed = time.monotonic()
            cell.master()
            assert delayed(cell, "x"), "forgotten by the new master"
            master.start()
        granted = float(ended(waiter, 0, 60)[0])
        note(f"granted {granted - begun:.1f} s after the expiry and {granted - killed:.1f} s"
             f" after the last kill, with a lock-delay of {delay:g} s")
        assert granted - killed >= delay, "the delay did not begin anew in full"
        assert granted - killed <= delay + 30.0
        assert claims(cell, "x") == []

        # One who gives it back, even by ending his session, leaves no delay.
        with lockctl(cell, "lock", "--lock-delay", "60s", "x") as holder:
            holder.stdout.readline()
            holder.terminate()
            ended(holder, 0)
        assert cell.lockctl("lock", "--try", "x", "--", "true").returncode == 0


@case("with -v one who waits is told for whom")
def _():
    with Cell() as cell:
        cell.start()
        with lockctl(cell, "lock", "x") as holder:
            holder.stdout.readline()
            with lockctl(cell, "-v", "lock", "x", "--", "true") as waiter:
                line = waiter.stderr.readline().decode()
                assert "waiting: held exclusive by" in line and str(holder.pid) in line, line
                holder.terminate()
                ended(holder, 0)
                ended(waiter, 0)


@case("check: valid while held, not after, and never a wrong one", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        with lockctl(cell, "-o", "json", "lock", "--shared", "x") as holder:
            told = json.loads(holder.stdout.readline())
            sequencer, token = told["sequencer"], told["token"]
            assert cell.lockctl("check", sequencer).returncode == 0
            cell.master().kill()
            done = cell.lockctl("-o", "json", "check", sequencer)
            assert done.returncode == 0, done.stderr.decode()
            assert json.loads(done.stdout) == {"sequencer": sequencer, "valid": True}
            for wrong in (f"/ls/local/x:exclusive:{token}", f"/ls/local/x:shared:{token + 1}",
                          f"/ls/local/none:shared:{token}"):
                done = cell.lockctl("check", wrong)
                assert (done.returncode, done.stdout) == (LOST, b"not valid\n"), (wrong, done)
            holder.terminate()
            ended(holder, 0)
        assert cell.lockctl("check", sequencer).returncode == LOST
        for wrong in ((), ("x",), (sequencer, sequencer), ("/ls/local/x:mine:1",)):
            fails(USAGE, cell.lockctl("check", *wrong))


@case("an ephemeral file goes after its holder's death, and not before", seconds=90)
def _():
    lease = 2.0
    with Cell() as cell:
        cell.start()
        with lockctl(cell, "-o", "json", "open", "--ephemeral", "--lease", f"{lease}s", "e",
                     "here") as holder:
            told = json.loads(holder.stdout.readline())
            assert told["created"] and told["name"] == "/ls/local/e", told
            assert cell.lockctl("get", "--instance", str(told["instance"]), "e").stdout == b"here"
            assert b"ephemeral" in cell.lockctl("ls", "-l").stdout
            fails(CONFLICT, cell.lockctl("open", "--exclusive", "e", "--", "true"))
            with lockctl(cell, "open", "--lease", f"{lease}s", "e", "--", "sleep",
                         "60") as second:
                command = child_of(second)
                cell.master().kill()
                time.sleep(2 * lease)
                assert cell.lockctl("get", "e").stdout == b"here", "it went before"
                second.kill()
                wait_for("the command of a killed lockctl to end", lambda: gone(command), 5)
            time.sleep(2 * lease)
            assert cell.lockctl("get", "e").stdout == b"here", "one has it open still"
            holder.kill()
            killed = time.monotonic()
            assert cell.lockctl("get", "e").stdout == b"here", "it went before its session"
            wait_for("the file to go", lambda: cell.lockctl("get", "e").returncode == NO_NODE, 20)
            note(f"gone {time.monotonic() - killed:.2f} s after the kill")
        # With CMD; the environment, the status, and gone at once.
        done = cell.lockctl("open", "--ephemeral", "--directory", "d", "--", "sh", "-c",
                            'echo "$LOCKD_NAME $LOCKD_INSTANCE"; exit 3')
        assert done.returncode == 3, done.stderr.decode()
        name, instance = done.stdout.decode().split()
        assert name == "/ls/local/d" and int(instance) > told["instance"], done.stdout
        fails(NO_NODE, cell.lockctl("stat", "d"))
        fails(CONFLICT, cell.lockctl("stat", "--instance", instance, "d"))
        fails(USAGE, cell.lockctl("open", "--directory", "d", "value", "--", "true"))
        # A permanent one stays.
        assert cell.lockctl("open", "p", "kept", "--", "true").returncode == 0
        assert cell.lockctl("get", "p").stdout == b"kept"


# ------------------------------------------------------------ masters that sleep


def keepalives(session):
    """What a connection brings after one more KeepAlive, to the end of it."""
    number = session.connection.request("session.keepalive", session=session.credential)
    with contextlib.suppress(Closed, OSError):
        while True:
            message = session.connection.answer(timeout=5.0)
            yield message
            if message["id"] == number:
                return


@case("a master paused while clients hold locks prolongs nobody's session; theirs live on",
      seconds=120)
def _():
    with Cell() as cell:
        old = cell.start()
        out = cell.folder / "ticks"
        with lockctl(cell, "lock", "x", "--", sys.executable, "-c", TICKER, out) as holder:
            ticking(out)
            held = claims(cell, "x")[0]
            # This one knows the old master only, so nobody else can keep it alive.
            lonely = Session([old.client], lease_ms=2000)
            lonely.acquire("/ls/local/y")
            old.pause()
            paused = time.monotonic()
            others = [replica for replica in cell.replicas if replica is not old]
            cell.master(among=others)
            taken = cell.lockctl("lock", "--timeout", "15s", "y", "--", sys.executable, "-c", NOW,
                                 endpoints=",".join(replica.client for replica in others))
            assert taken.returncode == 0, taken.stderr.decode()
            note(f"another holder of y after {float(taken.stdout) - paused:.2f} s")
            wait_for("the pause to end", lambda: time.monotonic() - paused >= PAUSE, PAUSE + 1)
            assert holder.poll() is None, holder.communicate()
            old.resume()
            for message in keepalives(lonely):
                assert "result" not in message, f"prolonged by the old master: {message}"
            now = claims(cell, "x")[0]
            assert (now["session"], now["token"]) == (held["session"], held["token"])
            assert times(out)[-1] > paused + PAUSE, "the command did not run on"
            holder.terminate()
            ended(holder, 128 + signal.SIGTERM)
        cell.wait_settled()


@case("a holder outlives three masters in a row", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        out = cell.folder / "ticks"
        with lockctl(cell, "lock", "x", "--", sys.executable, "-c", TICKER, out) as holder:
            ticking(out)
            held = claims(cell, "x")[0]
            for _ in range(3):
                master = cell.master()
                master.kill()
                cell.master()
                master.start()
                cell.wait_settled(30)
                now = claims(cell, "x")[0]
                assert (now["session"], now["token"]) == (held["session"], held["token"])
            assert holder.poll() is None, holder.communicate()
            holder.terminate()
            ended(holder, 128 + signal.SIGTERM)


# -------------------------------------------------------- holders that are cut off


@contextlib.contextmanager
def behind_proxies():
    """A cell that sends its clients to proxies; each replica is there directly too."""
    with Cell() as cell, contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(replica.client)) for replica in cell.replicas]
        for replica, proxy in zip(cell.replicas, proxies):
            replica.write_config(advertise=proxy.address)
        cell.start()
        yield cell, proxies


def claims_at(master):
    """As claims(), but of this replica, and without following anybody."""
    with master.connect() as connection:
        locks = connection.call("lock.list", name="/ls/local/x")["locks"]
        return [claim for lock in locks for claim in lock["claims"]]


def cut_off(lease, *ticker, stop=False):
    """The holder loses every replica; somebody else waits at the master itself."""
    with behind_proxies() as (cell, proxies), contextlib.ExitStack() as stack:
        master = cell.master()
        out = cell.folder / "ticks"
        through = ",".join(proxy.address for proxy in proxies)
        holder = stack.enter_context(
            lockctl(cell, "lock", "--lease", lease, "x", "--", sys.executable, "-c", TICKER, out,
                    *ticker, endpoints=through))
        ticking(out)
        command = child_of(holder)
        waiter = stack.enter_context(
            lockctl(cell, "lock", "x", "--", sys.executable, "-c", NOW, endpoints=master.client))
        wait_for("the waiter", lambda: len(claims_at(master)) == 2, 20)
        if stop:
            os.kill(command, signal.SIGSTOP)
        for proxy in proxies:
            proxy.cut()
        cut = time.monotonic()
        wait_for("the command to end", lambda: gone(command), 30)
        dead = time.monotonic()
        assert waiter.poll() is None, "granted before the command was stopped"
        granted = float(ended(waiter, 0, 40)[0])
        last = times(out)[-1]
        note(f"cut off: the command ended by {dead - cut:.2f} s, its last sign at"
             f" {last - cut:.2f} s; the next holder at {granted - cut:.2f} s")
        assert last < granted and dead < granted, "two at once"
        _, told = ended(holder, LOST)
        assert "half the lease" in told, told
        assert "lost" in told, told


@case("a holder cut off from everyone ends its command before anyone is granted the lock",
      seconds=60)
def _():
    cut_off("3s")


@case("cut off with a command that ignores SIGTERM", seconds=60)
def _():
    cut_off("3s", "deaf")


@case("cut off with a command that is stopped", seconds=60)
def _():
    cut_off("3s", stop=True)


@case("cut off with the default lease: 3 s and 0.5 s before its end", seconds=90)
def _():
    cut_off("12s", "deaf")


@case("a lockctl that slept through its lease kills its command when it goes on", seconds=60)
def _():
    with Cell() as cell:
        cell.start()
        out = cell.folder / "ticks"
        with lockctl(cell, "lock", "--lease", "2s", "x", "--", sys.executable, "-c", TICKER, out,
                     "deaf") as holder:
            ticking(out)
            command = child_of(holder)
            holder.send_signal(signal.SIGSTOP)
            done = cell.lockctl("lock", "--timeout", "20s", "x", "--", "true")
            assert done.returncode == 0, done.stderr.decode()
            holder.send_signal(signal.SIGCONT)
            woken = time.monotonic()
            wait_for("the command to end", lambda: gone(command), 10)
            note(f"killed {1000 * (time.monotonic() - woken):.0f} ms after waking up")
            assert times(out)[-1] - woken < 0.5
            ended(holder, LOST)


main()
