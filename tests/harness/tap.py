# SPDX-License-Identifier: Apache-2.0
"""tap.py -- named cases, printed as TAP.

A test program declares its cases and ends with main():

    @case("a put that was acknowledged survives the master", seconds=60)
    def _():
        ...

    main()

A case fails by raising; AssertionError is the usual way.  It is given so many
seconds of wall time and fails when they have passed, wherever it waits.  What
the machine can't do raises Skip with the reason; nothing is skipped silently.
"""

import signal
import sys
import threading
import time
import traceback


class Skip(Exception):
    """The machine lacks what this case needs."""


_cases = []


def case(name, seconds=60):
    """Registers the function below as a case."""

    def register(function):
        _cases.append((name, seconds, function))
        return function

    return register


def note(text):
    """A diagnostic line; also how a case tells what it measured."""
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def complain(text):
    """Why a case fails; on standard error, where meson shows it."""
    print(text, file=sys.stderr, flush=True)


def _on_alarm(_number, _frame):
    raise TimeoutError("the case has used up its time")


def _run(name, seconds, function):
    """One case: None, or what went wrong."""
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.alarm(seconds)
    try:
        function()
    except Skip:
        raise
    except Exception:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return None


def main():
    """Runs the cases; `PROGRAM LOCKD LOCKCTL [TEXT]` only those with TEXT in their name."""
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    chosen = [entry for entry in _cases if wanted in entry[0]]
    failed = 0
    print(f"1..{len(chosen)}", flush=True)
    for number, (name, seconds, function) in enumerate(chosen, 1):
        start = time.monotonic()
        try:
            trouble = _run(name, seconds, function)
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
            continue
        if trouble is not None:
            failed += 1
            complain(f"{name}:\n{trouble}")
        note(f"{time.monotonic() - start:.1f} s")
        print(f"{'ok' if trouble is None else 'not ok'} {number} - {name}", flush=True)
    sys.exit(1 if failed else 0)


def wait_for(what, condition, seconds=10.0, every=0.02):
    """Polls until `condition()` gives something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(every)


class Threads:
    """Runs functions beside the case and hands on the first exception."""

    def __init__(self):
        self.threads = []
        self.troubles = []

    def start(self, function, *arguments):
        def body():
            try:
                function(*arguments)
            except Exception:
                self.troubles.append(traceback.format_exc())

        thread = threading.Thread(target=body, daemon=True)
        self.threads.append(thread)
        thread.start()

    def join(self, seconds=60.0):
        deadline = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not self.troubles, self.troubles[0]
        assert not any(thread.is_alive() for thread in self.threads), "a thread did not end"
