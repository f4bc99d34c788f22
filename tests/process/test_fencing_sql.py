# SPDX-License-Identifier: Apache-2.0
"""The recipe for SQL in docs/fencing.md: its statements as they stand there, run
against SQLite."""

import pathlib
import random
import re
import sqlite3
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.tap import case, main

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "fencing.md"
BLOCKS = dict(re.findall(r"^```sql (\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
assert set(BLOCKS) == {"schema", "check", "work", "prune"}, set(BLOCKS)


class Database:
    def __init__(self, path=":memory:"):
        # Transactions are ours; nobody waits for a lock.
        self.connection = sqlite3.connect(path, timeout=0, isolation_level=None)

    def make(self):
        self.connection.executescript(BLOCKS["schema"])

    def check(self, name, token):
        """Is it accepted?"""
        done = self.connection.execute(BLOCKS["check"], {"name": name, "token": token})
        assert done.rowcount in (0, 1), done.rowcount
        return done.rowcount == 1

    def prune(self, keep):
        for statement in BLOCKS["prune"].split(";")[:-1]:
            wants = {"keep": keep} if ":keep" in statement else {}
            self.connection.execute(statement, wants)

    def marks(self):
        return dict(self.connection.execute("SELECT name, token FROM fence"))

    def value(self):
        return self.connection.execute("SELECT value FROM counter").fetchone()[0]

    def work(self, name, token):
        """The transaction of the page, with the check where its comment stands."""
        begin, end = BLOCKS["work"].split(";", 1)
        self.connection.execute(begin)
        if not self.check(name, token):
            self.connection.execute("ROLLBACK")
            return False
        for statement in end.split(";")[:-1]:
            self.connection.execute(statement)
        return True


@case("accepts a token that is as high as the highest, and no lower one")
def _():
    database = Database()
    database.make()
    for name, token, accepted in (("a", 10, True), ("a", 10, True), ("a", 9, False),
                                  ("a", 11, True), ("a", 10, False), ("b", 1, True),
                                  ("b", 2, True), ("b", 1, False), ("a", 11, True),
                                  ("'; --", 2 ** 53 - 1, True), ("'; --", 2 ** 53 - 2, False),
                                  ("", 1, False), ("", 2 ** 53 - 1, False)):
        assert database.check(name, token) == accepted, (name, token)
    assert database.marks() == {"": 0, "a": 11, "b": 2, "'; --": 2 ** 53 - 1}


@case("forgetting names raises the floor, and it never sinks")
def _():
    database = Database()
    database.make()
    for number in range(1, 11):
        assert database.check(f"name {number}", number * 10)
    database.prune(10)
    assert len(database.marks()) == 11 and database.marks()[""] == 0
    database.prune(4)
    assert database.marks() == {"": 60, **{f"name {n}": n * 10 for n in range(7, 11)}}
    assert not database.check("name 6", 59)
    assert not database.check("never seen", 59)
    assert database.check("name 6", 60)
    assert database.check("name 7", 70)
    database.prune(100)
    assert database.marks()[""] == 60
    # A name that is known passes below the floor, until it is forgotten.
    assert database.check("never seen", 61)
    database.prune(0)
    assert database.marks() == {"": 100}
    # Without its row for the floor it knows no new names.
    database.connection.execute("DELETE FROM fence")
    assert not database.check("name 6", 2 ** 53 - 1)


@case("against somebody who remembers everything")
def _():
    chance = random.Random(7)
    database = Database()
    database.make()
    accepted, clock, counts = {}, 1, [0, 0]
    for step in range(20000):
        clock += chance.randrange(3)
        name = f"name {chance.randrange(30)}"
        token = max(1, clock - chance.randrange(60))
        marks = database.marks() if step % 100 == 0 else None
        fine = database.check(name, token)
        assert not fine or token >= accepted.get(name, 0), (name, token)
        if marks is not None:
            assert fine == (token >= marks.get(name, marks[""])), (name, token, marks)
        if fine:
            accepted[name] = token
        counts[fine] += 1
        if step % 97 == 0:
            database.prune(12)
    assert min(counts) > 1000, counts


@case("a late worker changes nothing; a rolled-back one leaves no mark")
def _():
    with tempfile.TemporaryDirectory(prefix="fencing-sql-") as folder:
        path = str(pathlib.Path(folder) / "counter.db")
        late, other = Database(path), Database(path)
        late.make()
        late.connection.execute("CREATE TABLE counter (value INTEGER NOT NULL)")
        late.connection.execute("INSERT INTO counter VALUES (0)")
        assert late.work("counter", 33)
        assert other.work("counter", 34)
        assert not late.work("counter", 33)
        assert other.value() == 2
        # Nobody comes between the check and the work.
        other.connection.execute("BEGIN IMMEDIATE")
        assert other.check("counter", 36)
        try:
            late.work("counter", 35)
            raise AssertionError("two at once")
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
        other.connection.execute("ROLLBACK")
        assert late.work("counter", 35)
        assert other.value() == 3 and other.marks()["counter"] == 35


main()
