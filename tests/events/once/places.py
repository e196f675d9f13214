"""Where effects happen and are noted, for each adapter of `once=`, from any process."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from hasten.events import Message, Once
from hasten.events.once import MemoryOnce, SqlOnce
from hasten.events.once.redis import RedisOnce
from tests.events.databases import Database, database_of

LEASE = 0.6
"""Seconds of a claim in Redis."""


def do_nothing() -> None:
    """Stand for what a test does at a point of a handler."""


class Place(Protocol):
    """Effects, and their notes.

    Attributes:
      once: As one process has it.
    """

    once: Once

    async def effect(self, message: Message, at_the_end: Callable[[], None] = do_nothing) -> None:
        """Have the effect of a message.

        Args:
          at_the_end: Called when it has happened, but before a transaction that it has is committed.
        """

    async def effects(self) -> Counter[str]:
        """Return how often each message had its effect, by their ids."""

    async def aclose(self) -> None:
        """Close what is open."""


class FilePlace(Place):
    """Effects are lines of a file; notes are elsewhere."""

    def __init__(self, once: Once, file: Path, close: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.once = once
        self._file = file
        self._close = close

    async def effect(self, message: Message, at_the_end: Callable[[], None] = do_nothing) -> None:
        await asyncio.to_thread(self._append, f"{message.id}\n".encode())
        at_the_end()

    def _append(self, line: bytes) -> None:
        file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line)
        os.close(file)

    async def effects(self) -> Counter[str]:
        return Counter(self._file.read_text().splitlines() if self._file.exists() else [])

    async def aclose(self) -> None:
        await self.once.aclose()
        if self._close is not None:
            await self._close()


class TablePlace(Place):
    """Effects are rows of a table, noted in the same transaction."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.once: SqlOnce = SqlOnce(table=f"once_{name}")
        self._table = f"effects_{name}"

    async def create(self) -> None:
        """Make the tables."""
        blocking = self.database.is_blocking
        await self.database.transaction(self.once.create_sync if blocking else self.once.create)
        await self.database.query(f"CREATE TABLE IF NOT EXISTS {self._table} (message TEXT)")

    async def effect(self, message: Message, at_the_end: Callable[[], None] = do_nothing) -> None:
        insert = f"INSERT INTO {self._table} VALUES ('{message.id}')"

        def work(connection: Any) -> None:
            self.once.mark_sync(connection, message)
            connection.execute(insert)
            at_the_end()

        async def awaited(connection: Any) -> None:
            await self.once.mark(connection, message)
            await connection.execute(insert)
            at_the_end()

        await self.database.transaction(work if self.database.is_blocking else awaited)

    async def effects(self) -> Counter[str]:
        return Counter(row[0] for row in await self.database.query(f"SELECT message FROM {self._table}"))

    async def aclose(self) -> None:
        await self.once.aclose()


def place_of(kind: str, where: str, name: str) -> Place:
    """Return a place as a process has it: its kind, the file, server or database, and a name that the test has alone.

    With a file as `where`, for kinds that note elsewhere, the server stands before it: `redis://host:port/0 /a/file`.
    """
    if kind == "memory":
        return FilePlace(MemoryOnce(), Path(where))
    if kind.startswith("redis"):
        url, _, file = where.partition(" ")
        options: dict[str, Any] = {"prefix": f"test:{name}:", "lease": LEASE}
        if kind == "redis":
            return FilePlace(RedisOnce(url, ttl=100, **options), Path(file))
        cluster = _cluster_at(url)
        return FilePlace(RedisOnce(cluster, ttl=100, **options), Path(file), cluster.aclose)
    return TablePlace(database_of(kind, where), name)


def _cluster_at(url: str) -> RedisCluster:
    nodes = [urlsplit(f"//{place}") for place in urlsplit(url).netloc.split(",")]
    return RedisCluster(startup_nodes=[ClusterNode(str(node.hostname), node.port or 6379) for node in nodes])
