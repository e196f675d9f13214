"""The states of the table against a model: any order of adding, publishing, refusing, discarding and leasing."""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hasten.events.outbox import Outbox, SqliteDatabase

KEYS = st.sampled_from(["", "a", "b"])


@dataclass
class Row:
    """A message in the model."""

    id: str
    key: str
    added: float
    due: float = 0.0
    refusals: int = 0


class OutboxModel(RuleBasedStateMachine):
    """An outbox in a file, beside a list."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name, "shop.db")
        self._now = 1000.0
        self._outbox = Outbox(SqliteDatabase(self._path), clock=lambda: self._now)
        self._runner = asyncio.Runner()
        self._rows: list[Row] = []
        self._count = 0
        self._owner = ""
        self._ends = 0.0
        with closing(sqlite3.connect(self._path)) as connection, connection:
            self._outbox.create_sync(connection)

    def teardown(self) -> None:
        self._runner.run(self._outbox.database.aclose())
        self._runner.close()
        self._folder.cleanup()

    def _expected(self) -> list[Row]:
        """Return what is to be published now."""
        held = set[str]()
        free = list[Row]()
        for row in self._rows:
            if row.due > self._now:
                held.add(row.key)
            elif not row.key or row.key not in held:
                free.append(row)
        return free

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), committed=st.booleans())
    def add(self, keys: list[str], committed: bool) -> None:  # noqa: FBT001  hypothesis draws it
        with closing(sqlite3.connect(self._path)) as connection:
            for key in keys:
                self._count += 1
                self._outbox.add_sync(connection, "orders", 1, key=key, message_id=str(self._count))
                if committed:
                    self._rows.append(Row(str(self._count), key, self._now))
            if committed:
                connection.commit()

    @rule(most=st.integers(1, 5), data=st.data())
    def publish(self, most: int, data: st.DataObject) -> None:
        unsent = self._runner.run(self._outbox.unsent(most))
        expected = self._expected()[:most]
        assert [each.envelope.id for each in unsent] == [row.id for row in expected]
        assert [each.refusals for each in unsent] == [row.refusals for row in expected]
        chosen = data.draw(st.sets(st.sampled_from(unsent).map(lambda each: each.place))) if unsent else set()
        if chosen:
            self._runner.run(self._outbox.remove(sorted(chosen)))
        gone = {each.envelope.id for each in unsent if each.place in chosen}
        self._rows = [row for row in self._rows if row.id not in gone]

    @precondition(lambda self: self._expected())
    @rule(pause=st.sampled_from([0.0, 1.0, 5.0]))
    def refuse(self, pause: float) -> None:
        (first,) = self._runner.run(self._outbox.unsent(1))
        self._runner.run(self._outbox.refuse(first.place, "no", pause))
        row = self._expected()[0]
        row.due, row.refusals = self._now + pause, row.refusals + 1

    @precondition(lambda self: self._rows)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self._rows))
        assert self._runner.run(self._outbox.discard(row.id))
        self._rows.remove(row)

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self._now += seconds

    @rule(owner=st.sampled_from("AB"))
    def lease(self, owner: str) -> None:
        expected = self._owner == owner or self._ends <= self._now
        assert self._runner.run(self._outbox.lease(owner, 3.0)) == expected
        if expected:
            self._owner, self._ends = owner, self._now + 3.0

    @rule(owner=st.sampled_from("AB"))
    def give_up(self, owner: str) -> None:
        self._runner.run(self._outbox.give_up(owner))
        if self._owner == owner:
            self._owner, self._ends = "", 0.0

    @invariant()
    def lag(self) -> None:
        waiting = self._runner.run(self._outbox.waiting())
        oldest = self._now - min((row.added for row in self._rows), default=self._now)
        refused = [row for row in self._rows if row.refusals]
        assert (waiting.count, waiting.oldest, waiting.refused) == (len(self._rows), oldest, len(refused))
        assert [each.id for each, _ in self._runner.run(self._outbox.refused())] == [row.id for row in refused]


TestOutboxModel = OutboxModel.TestCase
TestOutboxModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
