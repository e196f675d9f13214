"""A relay's way to an SQLite file: the standard library's sqlite3, in one thread."""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike, fspath

from hasten._core.errors import ConfigurationError
from hasten.events._sql import Dialect, Row, Statement, execute_sync
from hasten.events.outbox._database import Database


class SqliteDatabase(Database):
    """An SQLite file.

    Args:
      path: The file that the user's connections write to; with `PRAGMA journal_mode=WAL` they and the relay seldom
        wait for each other.
      timeout: Seconds to wait for another writer.
    Raises:
      ConfigurationError: it is a database in memory, which no other connection sees.
    """

    dialect: Dialect = "sqlite"

    def __init__(self, path: str | PathLike[str], *, timeout: float = 5.0) -> None:
        self._path = fspath(path)
        if self._path in {"", ":memory:"}:
            raise ConfigurationError(f"SqliteDatabase({self._path!r})", "is in memory", "name a file")
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        return await self._in_thread(statements)

    async def aclose(self) -> None:
        if self._thread is not None:
            await self._in_thread(None)
            self._thread.shutdown(wait=False)
            self._thread = None

    async def _in_thread(self, statements: Sequence[Statement] | None) -> list[list[Row]]:
        """Run statements, or close."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "hasten-outbox")
        work = self._close if statements is None else lambda: self._run(statements)
        # Shielded, because a thread goes on when its caller is cancelled: what comes next waits behind it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if self._connection is None:
            # No transactions of the driver's own. IMMEDIATE, because one that read first could not wait for a writer.
            self._connection = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
        try:
            self._connection.execute("BEGIN" if _only_reads(statements) else "BEGIN IMMEDIATE")
            rows = [execute_sync(self._connection, text, values) for text, values in statements]
            self._connection.execute("COMMIT")
        except BaseException:
            self._close()  # rolls back
            raise
        return rows

    def _close(self) -> list[list[Row]]:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return []


def _only_reads(statements: Sequence[Statement]) -> bool:
    return all(text.startswith("SELECT") for text, _ in statements)
