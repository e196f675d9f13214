"""Remembers in a table of the database that has the effect: noted in its transaction, so that both are or neither is.

    once = SqlOnce()                                      # once.schema(...) has the table's statements

    @bus.subscribe("orders.paid", group="billing", once=once)
    async def bill(order: OrderPaid, message: Message) -> None:
        async with await psycopg.AsyncConnection.connect(...) as connection:
            await once.mark(connection, message)          # first: raises AlreadyDone for what was billed
            await connection.execute("INSERT INTO bills ...")

Connections are the user's: sqlite3 and psycopg's (`mark_sync`), aiosqlite, psycopg's `AsyncConnection` and asyncpg's
(`mark`); of SQLAlchemy's, the `driver_connection`. No transaction is begun, committed or rolled back here.
"""

import time
from collections.abc import Callable
from typing import Any

from hasten._core.errors import ConfigurationError
from hasten.events._handler import Message
from hasten.events._once import AlreadyDone, Claim, Once, Standing
from hasten.events._sql import Dialect, Row, checked_table, dialect_of, execute, execute_sync, index_statement

CLEANED_AT_ONCE = 10_000
"""Notes that one `clean` removes at most."""
_OURS = Claim(Standing.OURS)


class SqlOnce(Once):
    """Notes a message in the transaction of its effect, which so happens exactly once.

    Two consumers of one message at once: PostgreSQL has the second one's `mark` wait for the first one's transaction,
    SQLite lets one write at a time. So there are no claims, and nothing is asked before the handler runs.

    A batch in which one message was noted before is rolled back, and its messages are handled one by one.

    Args:
      table: A plain name, maybe with its schema.
      clock: By `time.time()`: when a note is made, for `clean`.
    Raises:
      ConfigurationError: the name is none.
    """

    def __init__(self, *, table: str = "hasten_once", clock: Callable[[], float] = time.time) -> None:
        self.table = checked_table(table, "SqlOnce")
        self._clock = clock
        self._marked: set[tuple[str, str]] = set()
        self._has_warned = False
        self._note = (
            f"INSERT INTO {table} (consumers, message, noted) VALUES (?, ?, ?) "
            "ON CONFLICT (consumers, message) DO NOTHING RETURNING 1"
        )
        old = f"SELECT consumers, message FROM {table} WHERE noted < ? LIMIT {CLEANED_AT_ONCE}"
        self._clean = f"DELETE FROM {table} WHERE (consumers, message) IN ({old}) RETURNING 1"

    # ---- the table

    def schema(self, dialect: Dialect) -> tuple[str, ...]:
        """Return the statements that make the table where there is none, for your migrations."""
        number = "REAL" if dialect == "sqlite" else "DOUBLE PRECISION"
        columns = f"consumers TEXT NOT NULL, message TEXT NOT NULL, noted {number} NOT NULL"
        return (
            f"CREATE TABLE IF NOT EXISTS {self.table} ({columns}, PRIMARY KEY (consumers, message))",
            index_statement(self.table, "noted", "(noted)", dialect),
        )

    async def create(self, connection: Any) -> None:
        """Make the table where there is none."""
        for statement in self.schema(dialect_of(connection)):
            await execute(connection, statement)

    def create_sync(self, connection: Any) -> None:
        """Do what `create` does on a blocking connection."""
        for statement in self.schema(dialect_of(connection)):
            execute_sync(connection, statement)

    async def clean(self, connection: Any, seconds: float) -> int:
        """Forget what was noted longer ago than so many seconds; return how many: `CLEANED_AT_ONCE` at most.

        Repeat it until it returns less: each time locks little, and for a short time.

        Args:
          seconds: More than the broker, or an operator's replay, may take to deliver a message again.
        """
        return len(await execute(connection, self._clean, (self._clock() - seconds,)))

    def clean_sync(self, connection: Any, seconds: float) -> int:
        """Do what `clean` does on a blocking connection."""
        return len(execute_sync(connection, self._clean, (self._clock() - seconds,)))

    # ---- in the handler's transaction

    async def mark(self, connection: Any, message: Message) -> None:
        """Note that a message is handled, in the connection's transaction, before its effect.

        Raises:
          AlreadyDone: it was; leave the transaction and the handler by this error.
          ConfigurationError: the connection is of a driver that is not known, or would block the loop.
        """
        _judge(message, await execute(connection, self._note, self._values(message)))

    def mark_sync(self, connection: Any, message: Message) -> None:
        """Do what `mark` does on a blocking connection."""
        _judge(message, execute_sync(connection, self._note, self._values(message)))

    def _values(self, message: Message) -> tuple[str, str, float]:
        self._marked.add((message.group, message.id))
        return message.group, message.id, self._clock()

    # ---- what the consumer asks

    async def claim(self, group: str, message_id: str) -> Claim:
        """Let everybody try: the transaction decides."""
        return _OURS

    async def done(self, group: str, message_id: str, claim: Claim) -> None:
        """Check that the handler has noted the message: without that it may have its effect twice.

        Raises:
          ConfigurationError: it has not; once, so that it is seen, and no more, so that nothing stops for it.
        """
        try:
            self._marked.remove((group, message_id))
        except KeyError:
            if not self._has_warned:
                self._has_warned = True
                problem = f"the handler of {group} has not called mark() for a message"
                raise ConfigurationError("SqlOnce", problem, "call it first in its transaction") from None

    async def release(self, group: str, message_id: str, claim: Claim) -> None:
        """Forget that the handler has called `mark`: its transaction was rolled back."""
        self._marked.discard((group, message_id))

    async def aclose(self) -> None:
        """Leave connections to those who have made them."""


def _judge(message: Message, noted: list[Row]) -> None:
    if not noted:
        raise AlreadyDone(f"{message.group} has handled {message.id}")
