"""The fast edition's database works in threads, one piece of work per connection."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path

import pytest

from examples.shop.fast.database import READERS, Database, open_database

LEVEL = "SELECT level FROM levels"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one level, 5."""
    file = tmp_path / "levels.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript("CREATE TABLE levels (level INTEGER); INSERT INTO levels VALUES (5);")
    connection.close()
    return file


def level(connection: sqlite3.Connection) -> int:
    """Read the level."""
    found: int = connection.execute(LEVEL).fetchone()["level"]
    return found


def set_level(connection: sqlite3.Connection, value: int, error: type[Exception] | None = None) -> None:
    """Set the level, and fail when told to."""
    connection.execute("UPDATE levels SET level = ?", (value,))
    if error is not None:
        raise error


def use(path: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    """Run work with an open database."""

    async def run() -> None:
        async with open_database(path) as database:
            await work(database)

    asyncio.run(run())


def test_reads_and_writes(path: Path) -> None:
    """What was written is read by everybody at once."""

    async def work(database: Database) -> None:
        await database.write(set_level, 7)
        assert await asyncio.gather(*(database.read(level) for _ in range(20))) == [7] * 20

    use(path, work)


def test_work_is_within_its_request(path: Path) -> None:
    """Work in a thread has the caller's context variables, as the trace that an event in the outbox carries."""
    request: ContextVar[str] = ContextVar("request")

    def named(_: sqlite3.Connection) -> str:
        return request.get()

    async def work(database: Database) -> None:
        request.set("one")
        assert await database.write(named) == "one"

    use(path, work)


def test_failed_write_changes_nothing(path: Path) -> None:
    """Work that raises leaves nothing behind, and its error comes to the caller."""

    async def work(database: Database) -> None:
        with pytest.raises(KeyError):
            await database.write(set_level, 7, error=KeyError)
        await database.write(level)
        assert await database.read(level) == 5

    use(path, work)


def test_readers_cannot_write(path: Path) -> None:
    """Work that writes among the readers is refused."""

    async def work(database: Database) -> None:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await database.read(set_level, 7)

    use(path, work)


def test_loop_goes_on(path: Path) -> None:
    """While every reader is busy, the event loop is not, and a write gets through."""
    release = threading.Event()

    def held(connection: sqlite3.Connection) -> int:
        assert release.wait(30)
        return level(connection)

    async def work(database: Database) -> None:
        reads = [asyncio.ensure_future(database.read(held)) for _ in range(READERS)]
        await database.write(set_level, 7)
        release.set()
        assert await asyncio.gather(*reads) == [7] * READERS

    use(path, work)


def test_cancelled_before_it_began(path: Path) -> None:
    """Work whose caller has gone while it waited for a thread is never begun."""
    release = threading.Event()
    begun: list[sqlite3.Connection] = []

    def held(_: sqlite3.Connection) -> None:
        assert release.wait(30)

    async def work(database: Database) -> None:
        first = asyncio.ensure_future(database.write(held))
        second = asyncio.ensure_future(database.write(begun.append))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        await first
        await database.write(level)
        assert begun == []

    use(path, work)


def test_missing_tables_are_told(tmp_path: Path) -> None:
    """A query that cannot run raises where it was asked for."""

    async def work(database: Database) -> None:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.read(level)

    use(tmp_path / "empty.sqlite", work)
