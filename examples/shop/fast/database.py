"""The shop's SQLite file, read and written in threads: sqlite3 blocks, and the event loop must not.

    async with open_database(path) as database:
        level = await database.read(load_level, product_id)

`load_level` is a plain function whose first parameter is a `sqlite3.Connection`: easy to write, and to test alone.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
BUSY_TIMEOUT = 5.0  # seconds that a write waits for one of another process


class Threads:
    """A few threads with as many connections; each piece of work has one connection for itself."""

    def __init__(self, name: str, connections: list[sqlite3.Connection]) -> None:
        self._idle = connections
        self._executor = ThreadPoolExecutor(len(connections), thread_name_prefix=name)

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns; it has the caller's context variables, and so the trace of the request.

        Cancellation: work that waits for a thread is dropped; work that has begun ends, and its result is lost.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, copy_context().run, lambda: self._use(work, *args, **kwargs))

    def _use(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        connection = self._idle.pop()  # there are as many as threads, so one is always idle
        try:
            with connection:  # commits, or rolls back when `work` raises
                return work(connection, *args, **kwargs)
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Wait for the threads to end, then close the connections."""
        self._executor.shutdown(cancel_futures=True)
        for connection in self._idle:
            connection.close()


class Database:
    """Several readers at once and one writer: SQLite has one anyway, and a queue is shorter than its retries."""

    def __init__(self, readers: Threads, writer: Threads) -> None:
        self.read = readers.run
        self.write = writer.run


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Open every connection now, so that no request has to."""
    readers = Threads("database-reader", [connect(path, "query_only = ON") for _ in range(READERS)])
    writer = Threads("database-writer", [connect(path, "synchronous = NORMAL")])
    try:
        yield Database(readers, writer)
    finally:
        await asyncio.gather(asyncio.to_thread(readers.close), asyncio.to_thread(writer.close))


def connect(path: Path, pragma: str) -> sqlite3.Connection:
    """Open a connection whose rows are `sqlite3.Row`, for any thread."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA {pragma}")
    return connection
