"""An outbox as a user has it, and a broker that outlives its publishers."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hasten.events import Broker, BrokerError, BrokerUnavailable, Envelope, Intake, Receive, Subscription
from hasten.events.outbox import Outbox, PostgresDatabase, SqliteDatabase
from tests.events.databases import Database, database_of

TOPIC = "orders.paid"


def outbox_of(database: Database, name: str, **options: Any) -> Outbox:
    """Return the outbox that a test has in a database."""
    if database.dialect == "sqlite":
        return Outbox(SqliteDatabase(database.place), table=f"outbox_{name}", **options)
    return Outbox(PostgresDatabase(lambda: _connected(database)), table=f"outbox_{name}", **options)


async def _connected(database: Database) -> Any:
    driver: Any = importlib.import_module(database.kind.partition("-")[0])
    return await (driver.connect if database.kind == "asyncpg" else driver.AsyncConnection.connect)(database.place)


class Shop:
    """Adds messages in transactions of a database's.

    Args:
      kind, place, name: What a process makes it from.
    """

    def __init__(self, kind: str, place: str, name: str, **options: Any) -> None:
        self.database = database_of(kind, place)
        self.outbox = outbox_of(self.database, name, **options)

    async def create(self) -> None:
        """Make the tables."""
        blocking = self.database.is_blocking
        await self.database.transaction(self.outbox.create_sync if blocking else self.outbox.create)

    async def add(self, *messages: tuple[str, str], then: Callable[[], None] = lambda: None, **options: Any) -> None:
        """Add messages, their ids and keys, in one transaction."""

        def work(connection: Any) -> None:
            for message_id, key in messages:
                self.outbox.add_sync(connection, TOPIC, {"id": message_id}, key=key, message_id=message_id, **options)
            then()

        async def awaited(connection: Any) -> None:
            for message_id, key in messages:
                await self.outbox.add(connection, TOPIC, {"id": message_id}, key=key, message_id=message_id, **options)
            then()

        await self.database.transaction(work if self.database.is_blocking else awaited)


class FileBroker(Broker):
    """Has what is published for good in a file, a line each.

    Args:
      before, after: Called with each message before it is in the file, and after; what they raise the publisher gets.
    """

    name = "file"
    connected = True

    def __init__(
        self, file: Path, *, before: Callable[[Envelope], None] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        self._file = file
        self._before = before
        self._after = after

    async def start(self) -> None:
        """Be there."""

    async def publish(self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True) -> None:
        if self._before is not None:
            self._before(envelope)
        file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, json.dumps([envelope.id, envelope.key]).encode() + b"\n")
        os.close(file)
        if self._after is not None:
            self._after()

    async def subscribe(self, subscription: Subscription, receive: Receive) -> Intake:
        raise BrokerError(self.name, "nobody reads here")

    async def aclose(self) -> None:
        """Stay."""

    def published(self) -> list[tuple[str, str]]:
        """Return ids and keys, in their order."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [(message_id, key) for message_id, key in map(json.loads, lines)]


class Away:
    """A broker's answer while it is away, for so many messages."""

    def __init__(self, messages: int) -> None:
        self.left = messages

    def __call__(self, envelope: Envelope) -> None:
        if self.left > 0:
            self.left -= 1
            raise BrokerUnavailable("file", "away")
