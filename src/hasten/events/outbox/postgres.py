"""A relay's way to PostgreSQL: one connection of psycopg's (3.1 or later) or asyncpg's, which the user makes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from hasten.events._sql import Dialect, Row, Statement, execute
from hasten.events.outbox._database import Database


class PostgresDatabase(Database):
    """A PostgreSQL.

    Args:
      connect: Makes a connection that is the relay's alone:
        `lambda: psycopg.AsyncConnection.connect("postgresql://...", autocommit=True)`, `lambda: asyncpg.connect(...)`.
        Not through a pooler that shares sessions out by statements.
      timeout: Seconds for a connection, and for a transaction.
    """

    dialect: Dialect = "postgresql"

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, timeout: float = 10.0) -> None:
        self._connect = connect
        self._timeout = timeout
        self._connection: Any = None
        self._turn = asyncio.Lock()

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout):
                    if self._connection is None:
                        self._connection = await self._connect()
                    async with self._connection.transaction():
                        return [await execute(self._connection, text, values) for text, values in statements]
            except BaseException:
                await self._drop()
                raise

    async def aclose(self) -> None:
        async with self._turn:
            await self._drop()

    async def _drop(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(self._timeout):
                    await connection.close()
