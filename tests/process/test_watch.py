# SPDX-License-Identifier: Apache-2.0
"""lockctl watch on real cells: each change once and in order, whatever happens to
the master; resumed where it was left; a command for each."""

import contextlib
import json
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell
from harness.rpc import Unknown
from harness.tap import Threads, case, main, note, wait_for

USAGE, UNAVAILABLE = 64, 69
HERE = "/ls/test"  # Events have names under the name of the cell, never under /ls/local.
KILLS = 3
PACE = 0.005  # Between two writes: slow enough that nothing need be made one event.


class Watch:
    """A lockctl watch, whose lines and words are read as they come."""

    def __init__(self, cell, *arguments, verbose=True):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", LOCKCTL, "--endpoints", cell.endpoints,
             *(["-v"] if verbose else []), "watch", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT)
        self.lines = queue.Queue()
        self.words = []
        self.threads = [threading.Thread(target=target, daemon=True)
                        for target in (self._read_lines, self._read_words)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)

    def _read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line.decode())

    def _read_words(self):
        for line in self.process.stderr:
            self.words.append(line.decode())

    @property
    def told(self):
        return "".join(self.words)

    def wait_set(self):
        wait_for("the watch to be set", lambda: "watching from revision" in self.told, 20)
        return self

    def line(self, seconds=20.0):
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty as empty:
            raise AssertionError(f"no line in {seconds:g} s; it said: {self.told}") from empty

    def event(self, seconds=20.0):
        return json.loads(self.line(seconds))

    def end(self, status=0, number=None):
        """Ends it by a signal, or waits for its end; what is left of its lines."""
        if number is not None:
            self.process.send_signal(number)
        found = self.process.wait(20)
        for thread in self.threads:
            thread.join(10)
        assert found == status, (status, found, self.told)
        rest = []
        while not self.lines.empty():
            rest.append(self.lines.get())
        return rest


def ok(done, status=0):
    assert done.returncode == status, (done.returncode, done.stderr.decode())
    return done.stdout


# ------------------------------------------------------------------ fail-over


class Writer:
    """Writes 1, 2, 3, ... into a file and remembers which generation each became."""

    def __init__(self, cell, name):
        self.cell = cell
        self.name = f"{HERE}/{name}"
        self.acknowledged = {}  # generation -> content

    def run(self, stop):
        number = 0
        with self.cell.client(timeout=30.0) as client:
            while not stop.is_set():
                number += 1
                with contextlib.suppress(Unknown):
                    result = client.call("node.put", name=self.name, content=str(number))
                    self.acknowledged[result["stat"]["generation"]] = str(number)
                time.sleep(PACE)


def generations(events):
    """Those told of a file: an event may stand for several that follow each other."""
    return [number for event in events
            for number in range(event["generation"] + 1 - event.get("count", 1),
                                event["generation"] + 1)]


def check_story(writer, events, generation):
    """Everything that happened to the writer's file, once and in order."""
    mine = [event for event in events if event["name"] == writer.name]
    assert [event["kind"] for event in mine] == ["created"] + ["written"] * (len(mine) - 1)
    assert generations(mine) == list(range(1, generation + 1)), (writer.name, generations(mine))
    contents = {event["generation"]: event["content"] for event in mine}
    assert len(set(contents.values())) == len(contents), "a content was told twice"
    for number, content in writer.acknowledged.items():
        assert contents.get(number, content) == content, (number, content, contents[number])


def follow(watch, events, name, content):
    """Reads on to the event of a certain write."""
    while not events or (events[-1]["name"], events[-1].get("content")) != (name, content):
        events.append(watch.event(30))


@case("nothing missed and nothing repeated while masters are killed and writers write",
      seconds=180)
def _():
    with Cell() as cell:
        cell.start()
        writers = [Writer(cell, f"w{number}") for number in range(3)]
        stop, threads, events = threading.Event(), Threads(), []
        with Watch(cell, "--recursive", "--kinds", "content", "--content", "/ls/local") as watch:
            watch.wait_set()
            for writer in writers:
                threads.start(writer.run, stop)
            for _ in range(KILLS):
                goal = len(writers[0].acknowledged) + 100
                wait_for("100 writes", lambda: len(writers[0].acknowledged) >= goal, 30)
                master = cell.master()
                master.kill()
                goal = len(writers[0].acknowledged) + 100
                wait_for("100 more writes", lambda: len(writers[0].acknowledged) >= goal, 30)
                master.start()
            stop.set()
            threads.join(60.0)
            ok(cell.lockctl("put", "end", "of the story"))
            follow(watch, events, f"{HERE}/end", "of the story")
            watch.end(0, signal.SIGTERM)
        revisions = [event["revision"] for event in events]
        assert revisions == sorted(set(revisions)), "not in order, or one told twice"
        with cell.client(timeout=30.0) as client:
            for writer in writers:
                stat = client.read("node.stat", name=writer.name)["stat"]
                check_story(writer, events, stat["generation"])
        assert watch.told.count("set again") >= KILLS, watch.told
        note(f"{len(events)} events over {KILLS} kills of the master")
        cell.wait_settled()


@case("a watch that is killed is resumed by --from without a hole or a repetition", seconds=90)
def _():
    with Cell() as cell:
        cell.start()
        seen, resume = [], None
        for round_ in range(3):
            start = [] if resume is None else ["--from", str(resume)]
            with Watch(cell, "--kinds", "content", *start, "f") as watch:
                watch.wait_set()
                for number in range(5):
                    ok(cell.lockctl("put", "f", f"{round_}.{number}"))
                while len(generations(seen)) < 9 * round_ + 5:
                    seen.append(watch.event())
                rest = watch.end(0, signal.SIGINT)
                assert not rest, rest
                resume = int(re.search(r"to go on, watch --from (\d+)", watch.told)[1])
            for number in range(4):  # While nobody watches.
                ok(cell.lockctl("put", "f", f"{round_} unseen {number}"))
            if round_ == 1:
                cell.master().kill()
        assert generations(seen) == list(range(1, 24)), seen


# ------------------------------------------------------------------- contents


@case("scopes, kinds, and the members of each event")
def _():
    with Cell() as cell:
        cell.start()
        ok(cell.lockctl("mkdir", "d"))
        with Watch(cell, "--recursive", "--content", "--old-content", "d") as tree, \
                Watch(cell, "--children", "--kinds", "content", "d") as children, \
                Watch(cell, "--kinds", "child", "d") as names, \
                Watch(cell, "d/f") as node:
            for watch in (tree, children, names, node):
                watch.wait_set()
            ok(cell.lockctl("put", "d/f", "one"))
            made = node.event()
            assert made["kind"] == "created" and made["name"] == f"{HERE}/d/f", made
            assert made["node_kind"] == "file" and made["generation"] == 1, made
            assert made["size"] == 3 and made["instance"] > 0 and "content" not in made, made
            assert names.event()["kind"] == "created"
            assert children.event()["revision"] == made["revision"]
            told = tree.event()
            assert told["content"] == "one" and "old_content" not in told, told

            ok(cell.lockctl("put", "d/f", stdin=b"\0two"))
            told = tree.event()
            assert (told["kind"], told["generation"]) == ("written", 2), told
            assert told["old_content"] == "one" and told["content_base64"] == "AHR3bw==", told
            assert node.event()["kind"] == "written"
            assert children.event()["generation"] == 2

            done = cell.lockctl("lock", "d/f", "--", "sh", "-c", "echo $LOCKD_TOKEN $LOCKD_SESSION")
            token, session = ok(done).decode().split()
            for kind in ("granted", "released"):
                for watch in (tree, node):
                    told = watch.event()
                    assert (told["kind"], told["mode"]) == (kind, "exclusive"), told
                    assert (told["token"], told["session"]) == (int(token), session), told
                    assert "failed" not in told, told

            ok(cell.lockctl("rm", "d/f"))
            assert node.event()["kind"] == "deleted"
            told = tree.event()
            assert told["kind"] == "deleted" and told["old_content_base64"] == "AHR3bw==", told
            assert names.event()["kind"] == "deleted"

            ok(cell.lockctl("put", "d/f", stdin=b"x" * 5000))
            told = tree.event()
            assert told["content_omitted"] is True and told["size"] == 5000, told
            for watch in (tree, children, names, node):
                watch.end(0, signal.SIGTERM)


@case("a request for a lock that is held is told, and who it was")
def _():
    with Cell() as cell, contextlib.ExitStack() as stack:
        cell.start()
        watch = stack.enter_context(Watch(cell, "--kinds", "conflict", "x")).wait_set()
        holder = subprocess.Popen([LOCKCTL, "--endpoints", cell.endpoints, "lock", "x"],
                                  stdout=subprocess.PIPE, env=ENVIRONMENT)
        stack.callback(holder.wait, 20)
        stack.callback(holder.terminate)
        assert holder.stdout.readline()
        assert cell.lockctl("lock", "--timeout", "500ms", "x", "--", "true").returncode == 75
        told = watch.event()
        assert told["kind"] == "contended" and len(told["session"]) == 16, told


@case("a gap is told where history does not reach, and what follows it")
def _():
    with Cell() as cell:
        cell.start()
        ok(cell.lockctl("put", "f", "1"))
        with Watch(cell, "--from", str(10**9), "f") as watch:
            told = watch.event()
            assert sorted(told) == ["kind", "revision"] and told["kind"] == "gap", told
            ok(cell.lockctl("put", "f", "2"))
            after = watch.event()
            assert after["kind"] == "written" and after["revision"] > told["revision"], after


# ------------------------------------------------------------------- commands


@case("a command for each event, one after the other, with the event in its environment")
def _():
    with Cell() as cell:
        cell.start()
        script = ('echo "$LOCKD_EVENT_KIND $LOCKD_EVENT_NAME $LOCKD_EVENT_REVISION'
                  ' $LOCKD_EVENT_GENERATION $LOCKD_EVENT_INSTANCE [$LOCKD_EVENT_CONTENT]";'
                  ' cat; sleep 0.05; echo over')
        with Watch(cell, "--content", "--count", "3", "f", "--", "sh", "-c", script) as watch:
            watch.wait_set()
            for number in range(1, 4):
                ok(cell.lockctl("put", "f", f"value {number}"))
            lines = watch.end(0)
        assert len(lines) == 9, lines
        for number in range(1, 4):
            words, told, over = lines[3 * number - 3:3 * number]
            told = json.loads(told)
            kind = "created" if number == 1 else "written"
            assert words == (f"{kind} {HERE}/f {told['revision']} {number} {told['instance']}"
                             f" [value {number}]\n"), (words, told)
            assert told["kind"] == kind and over == "over\n", (told, over)


@case("the command's failure ends it with its status, unless --keep-going")
def _():
    with Cell() as cell:
        cell.start()
        with Watch(cell, "f", "--", "sh", "-c", "exit 7") as watch, \
                Watch(cell, "--keep-going", "--count", "2", "f", "--", "false") as going:
            watch.wait_set()
            going.wait_set()
            ok(cell.lockctl("put", "f", "1"))
            watch.end(7)
            revision = int(re.search(r"to go on, watch --from (\d+)", watch.told)[1])
            ok(cell.lockctl("put", "f", "2"))
            going.end(0)
        with Watch(cell, "--from", str(revision), "--count", "2", "f") as again:
            kinds = [json.loads(line)["kind"] for line in again.end(0)]
            assert kinds == ["created", "written"], "what failed is told again"


@case("64 usage, 69 no cell; a watch of what does not exist waits for it")
def _():
    with Cell() as cell:
        cell.start()
        for wrong in ((), ("--kinds", "colour", "x"), ("--from", "now", "x"), ("--count", "0", "x"),
                      ("--children", "--recursive", "x"), ("x", "--"), ("x", "y"), ("a//b",),
                      ("--instance", "0", "x"), ("-v", "x")):
            done = cell.lockctl("watch", *wrong)
            assert done.returncode == USAGE and done.stderr, (wrong, done)
        done = cell.lockctl("--timeout", "1s", "watch", "x", endpoints=f"{cell.host}:1")
        assert done.returncode == UNAVAILABLE, done
        with Watch(cell, "none/x", "--count", "1") as wrong:
            wrong.end(USAGE)
        with Watch(cell, "--count", "1", "none/x") as watch:
            watch.wait_set()
            ok(cell.lockctl("mkdir", "none"))
            ok(cell.lockctl("put", "none/x", "here"))
            assert [json.loads(line)["kind"] for line in watch.end(0)] == ["created"]


main()
