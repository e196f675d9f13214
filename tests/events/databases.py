"""Databases that users have: one transaction of theirs at a time, by each driver."""

import asyncio
import importlib
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, Protocol

import pytest

from hasten.events._sql import Dialect

POSTGRES = "HASTEN_TEST_POSTGRES_URL"
KINDS = ("sqlite3", "psycopg", "psycopg-sync", "asyncpg")


class Database(Protocol):
    """A database as a user has it.

    Attributes:
      kind: One of KINDS.
      place: A file or a URL, from which another process makes the same.
      dialect: What its SQL is.
      is_blocking: Whether its connections are, so that the twins with `_sync` are used.
    """

    kind: str
    place: str
    dialect: Dialect
    is_blocking: bool

    async def transaction(self, work: Callable[[Any], Any]) -> Any:
        """Call `work` with a connection in a transaction, await what it returns, and commit; roll back if it raises."""

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what a statement without values returns."""


class Sqlite:
    """The standard library's sqlite3, in a thread."""

    kind = "sqlite3"
    dialect: Dialect = "sqlite"
    is_blocking = True

    def __init__(self, place: str) -> None:
        self.place = place

    async def transaction(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[Any], Any]) -> Any:
        with closing(sqlite3.connect(self.place, timeout=30.0)) as connection, connection:
            return work(connection)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        return list(await self.transaction(lambda connection: connection.execute(statement).fetchall()))


class Psycopg:
    """psycopg's AsyncConnection."""

    kind = "psycopg"
    dialect: Dialect = "postgresql"
    is_blocking = False

    def __init__(self, place: str) -> None:
        self.place = place
        self._driver = importlib.import_module("psycopg")

    async def transaction(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async with await self._driver.AsyncConnection.connect(self.place) as connection:
            return await work(connection)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        async with await self._driver.AsyncConnection.connect(self.place) as connection:
            cursor = await connection.execute(statement)
            return list(await cursor.fetchall()) if cursor.description else []


class PsycopgSync(Psycopg):
    """psycopg's blocking connection, in a thread."""

    kind = "psycopg-sync"
    is_blocking = True

    async def transaction(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[Any], Any]) -> Any:
        with self._driver.connect(self.place) as connection:
            return work(connection)


class Asyncpg:
    """asyncpg."""

    kind = "asyncpg"
    dialect: Dialect = "postgresql"
    is_blocking = False

    def __init__(self, place: str) -> None:
        self.place = place
        self._driver = importlib.import_module("asyncpg")

    async def transaction(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        connection = await self._driver.connect(self.place)
        try:
            async with connection.transaction():
                return await work(connection)
        finally:
            await connection.close()

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = await self._driver.connect(self.place)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()


_CLASSES: dict[str, Callable[[str], Database]] = {
    "sqlite3": Sqlite,
    "psycopg": Psycopg,
    "psycopg-sync": PsycopgSync,
    "asyncpg": Asyncpg,
}


def database_of(kind: str, place: str) -> Database:
    """Return the database of a kind at a place."""
    return _CLASSES[kind](place)


def database_for_test(kind: str, folder: Any) -> Database:
    """Return a database for one test; skip the test if there is no server or no driver for it."""
    if kind == "sqlite3":
        return Sqlite(str(folder / "shop.db"))
    pytest.importorskip(kind.partition("-")[0], reason=f"{kind} is not installed")
    return database_of(kind, postgres_url())


def postgres_url() -> str:
    """Return the URL of a PostgreSQL that holds nothing anybody needs; skip or fail the test without one."""
    url = os.environ.get(POSTGRES, "")
    if not url:
        reason = f"{POSTGRES} is not set: no PostgreSQL"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return url
