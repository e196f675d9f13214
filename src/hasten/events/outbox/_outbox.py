"""The table of an outbox: what is written in users' transactions, and what a relay reads and removes.

    hasten_outbox            a row for each message that is not published yet
      place                  rises in the order of the INSERTs, which is the order of publishing
      id, topic, key, body, content_type, origin, added, expires, traceparent, headers     the envelope; headers as JSON
      due, refusals, problem  of one that the broker has refused: when to try again, how often it was, why
    hasten_outbox_lease      one row: which relay is active, and until when

The order of two messages of one key that are added in transactions at the same time is theirs to decide: have both
change the same row first, as two changes of one thing do. Transactions that exclude each other so keep their order.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from hasten._core.ambient import AMBIENT
from hasten.events import _sql as sql
from hasten.events._envelope import NO_DEADLINE, Envelope, Ids
from hasten.events._names import checked_headers, checked_id, checked_name
from hasten.events._payload import Encoder, Format
from hasten.events._sql import (
    Dialect,
    Row,
    Statement,
    execute,
    execute_sync,
)
from hasten.events.outbox._database import Database

_ENVELOPE = "id, topic, key, body, content_type, origin, added, expires, traceparent, headers"
_TYPES: dict[Dialect, dict[str, str]] = {
    "sqlite": {"place": "INTEGER PRIMARY KEY AUTOINCREMENT", "bytes": "BLOB", "number": "REAL", "now": "?"},
    "postgresql": {
        "place": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "bytes": "BYTEA",
        "number": "DOUBLE PRECISION",
        # The server's clock, since relays on several machines share a lease; the value that is given has no weight.
        "now": "(extract(epoch FROM clock_timestamp())::double precision + 0 * ?::double precision)",
    },
}


class Unsent(msgspec.Struct, frozen=True):
    """A row that is to be published.

    Attributes:
      place: Where it stands.
      envelope: The message.
      refusals: How often the broker has refused it.
    """

    place: int
    envelope: Envelope
    refusals: int


class Waiting(msgspec.Struct, frozen=True):
    """What is in an outbox.

    Attributes:
      count: Messages that are not published, or published and not removed yet.
      oldest: Seconds since the oldest of them was added, 0 without one.
      refused: Those that the broker refuses; each holds back the others of its key.
    """

    count: int
    oldest: float
    refused: int


class Outbox:
    """Messages that are published when the transaction which they are written in is committed.

    Args:
      database: The relay's own way to the database; messages are added on the user's connections.
      table: A plain name, maybe with its schema; the lease's table has `_lease` behind it.
      origin: Who publishes; the service's name.
      form: How payloads are made into bytes.
      clock: By `time.time()`.
    Raises:
      ConfigurationError: the name is none.
    """

    def __init__(
        self,
        database: Database,
        *,
        table: str = "hasten_outbox",
        origin: str = "",
        form: Format = "json",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.table = sql.checked_table(table, "Outbox")
        self._origin = origin
        self._clock = clock
        self._encode = Encoder(form)
        self._new_id = Ids()
        marks = ", ".join("?" * 10)
        self._insert = f"INSERT INTO {table} ({_ENVELOPE}) VALUES ({marks}) RETURNING id"
        self._now = _TYPES[database.dialect]["now"]

    # ---- the tables

    def schema(self, dialect: Dialect) -> tuple[str, ...]:
        """Return the statements that make the tables where there are none, for your migrations."""
        types = _TYPES[dialect]
        envelope = (
            f"id TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, body {types['bytes']} NOT NULL, "
            f"content_type TEXT NOT NULL, origin TEXT NOT NULL, added {types['number']} NOT NULL, "
            f"expires {types['number']}, traceparent TEXT NOT NULL, headers TEXT NOT NULL"
        )
        refused = f"due {types['number']} NOT NULL DEFAULT 0, refusals INTEGER NOT NULL DEFAULT 0"
        return (
            f"CREATE TABLE IF NOT EXISTS {self.table} "  # noqa: ISC003  one statement
            + f"(place {types['place']}, {envelope}, {refused}, problem TEXT NOT NULL DEFAULT '')",
            sql.index_statement(self.table, "refused", "(key, place) WHERE refusals > 0", dialect),
            f"CREATE TABLE IF NOT EXISTS {self.table}_lease "  # noqa: ISC003
            + f"(one INTEGER PRIMARY KEY CHECK (one = 1), owner TEXT NOT NULL, ends {types['number']} NOT NULL)",
        )

    async def create(self, connection: Any) -> None:
        """Make the tables where there are none."""
        for statement in self.schema(sql.dialect_of(connection)):
            await execute(connection, statement)

    def create_sync(self, connection: Any) -> None:
        """Do what `create` does on a blocking connection."""
        for statement in self.schema(sql.dialect_of(connection)):
            execute_sync(connection, statement)

    # ---- in the user's transaction

    async def add(
        self,
        connection: Any,
        topic: str,
        payload: Any,
        *,
        key: str = "",
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        expires: float = math.inf,
    ) -> str:
        """Write a message in the connection's transaction, which stays the user's to commit; return its id.

        Args:
          connection: Of aiosqlite, psycopg (`AsyncConnection`) or asyncpg.
          payload, key, message_id, headers, expires: As for `Bus.publish`.
        Raises:
          ConfigurationError: an argument is wrong, or the connection is of a driver that is not known.
        """
        values = self._values(topic, payload, key, message_id, headers, expires)
        await execute(connection, self._insert, values)
        return str(values[0])

    def add_sync(
        self,
        connection: Any,
        topic: str,
        payload: Any,
        *,
        key: str = "",
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        expires: float = math.inf,
    ) -> str:
        """Do what `add` does on a connection of sqlite3's or psycopg's."""
        values = self._values(topic, payload, key, message_id, headers, expires)
        execute_sync(connection, self._insert, values)
        return str(values[0])

    def _values(
        self, topic: str, payload: Any, key: str, message_id: str, headers: Mapping[str, str] | None, expires: float
    ) -> Sequence[Any]:
        body, content_type = self._encode(payload)
        ambient, now = AMBIENT.get(), self._clock()
        return (
            checked_id(message_id) if message_id else self._new_id(),
            checked_name(topic, "Outbox.add"),
            key,
            body,
            content_type,
            self._origin,
            now,
            now + expires if expires < math.inf else None,
            "" if ambient is None else ambient.traceparent,
            json.dumps(checked_headers(headers)) if headers else "{}",
        )

    # ---- what a relay asks

    async def unsent(self, most: int) -> list[Unsent]:
        """Return the messages to be published now, in their order.

        One that was refused is left out until it is due, with all of its key that stand behind it.
        """
        now = self._clock()
        held_back = (
            f"SELECT 1 FROM {self.table} AS other "
            "WHERE other.refusals > 0 AND other.due > ? AND other.key = own.key AND other.place < own.place"
        )
        statement = (
            f"SELECT place, refusals, {_ENVELOPE} FROM {self.table} AS own WHERE own.due <= ? "
            f"AND (own.key = '' OR NOT EXISTS ({held_back})) ORDER BY own.place LIMIT {most}"
        )
        (rows,) = await self.database.run([(statement, (now, now))])
        return [_unsent_of(row) for row in rows]

    async def remove(self, places: Sequence[int]) -> None:
        """Remove messages that are published."""
        marks = ", ".join("?" * len(places))
        await self.database.run([(f"DELETE FROM {self.table} WHERE place IN ({marks})", places)])

    async def refuse(self, place: int, problem: str, pause: float) -> None:
        """Note that the broker has refused a message, and that it is to be tried again after a pause."""
        statement = f"UPDATE {self.table} SET due = ?, refusals = refusals + 1, problem = ? WHERE place = ?"
        await self.database.run([(statement, (self._clock() + pause, problem, place))])

    async def waiting(self) -> Waiting:
        """Return what is in the outbox: the lag between commits and messages."""
        statements: list[Statement] = [
            (f"SELECT count(*), min(added) FROM {self.table}", ()),
            (f"SELECT count(*) FROM {self.table} WHERE refusals > 0", ()),
        ]
        ((count, added),), ((refused,),) = await self.database.run(statements)
        return Waiting(count, 0.0 if added is None else max(0.0, self._clock() - added), refused)

    async def refused(self, most: int = 100) -> list[tuple[Envelope, str]]:
        """Return the messages that the broker refuses, the oldest first, and why."""
        statement = (
            f"SELECT place, refusals, {_ENVELOPE}, problem FROM {self.table} "
            f"WHERE refusals > 0 ORDER BY place LIMIT {most}"
        )
        (rows,) = await self.database.run([(statement, ())])
        return [(_unsent_of(row[:-1]).envelope, row[-1]) for row in rows]

    async def discard(self, message_id: str) -> bool:
        """Remove a message that is never to be published; return whether it was there. Those behind it go on."""
        (rows,) = await self.database.run([(f"DELETE FROM {self.table} WHERE id = ? RETURNING 1", (message_id,))])
        return bool(rows)

    async def lease(self, owner: str, seconds: float) -> bool:
        """Make a relay the active one, or keep it so, for so many seconds; return whether it is."""
        now = self._clock()
        statement = (
            f"INSERT INTO {self.table}_lease AS held (one, owner, ends) VALUES (1, ?, {self._now} + ?) "
            "ON CONFLICT (one) DO UPDATE SET owner = excluded.owner, ends = excluded.ends "
            f"WHERE held.owner = excluded.owner OR held.ends <= {self._now} RETURNING 1"
        )
        (rows,) = await self.database.run([(statement, (owner, now, seconds, now))])
        return bool(rows)

    async def give_up(self, owner: str) -> None:
        """Let another relay be active at once."""
        await self.database.run([(f"DELETE FROM {self.table}_lease WHERE owner = ?", (owner,))])


def _unsent_of(row: Row) -> Unsent:
    place, refusals, message_id, topic, key, body, content_type, origin, added, expires, traceparent, headers = row
    envelope = Envelope(
        topic=topic,
        body=bytes(body),
        content_type=content_type,
        id=message_id,
        key=key,
        origin=origin,
        time=added,
        deadline=NO_DEADLINE if expires is None else expires,
        traceparent=traceparent,
        headers=json.loads(headers),
    )
    return Unsent(place, envelope, refusals)
