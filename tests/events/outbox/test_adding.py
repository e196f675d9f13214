"""A message is in the outbox if, and only if, the transaction that has it is committed."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.errors import ConfigurationError
from hasten.events import Envelope
from hasten.events.outbox import Outbox, SqliteDatabase
from tests.events.brokers.adapter import run
from tests.events.databases import KINDS, database_for_test
from tests.events.outbox.conftest import NewShop
from tests.events.outbox.shop import TOPIC

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=KINDS)
def shop_at(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, str]:
    """Return each kind of connection, those that block too."""
    return request.param, database_for_test(request.param, tmp_path).place, uuid4().hex[:12]


class Refused(Exception):
    """Of the user's own."""


def refuse() -> None:
    raise Refused


def test_committed_and_rolled_back(new_shop: NewShop) -> None:
    """What was rolled back was never there; the order of what is there is that of its writing."""

    async def scenario() -> None:
        shop = new_shop()
        await shop.create()
        await shop.create()  # changes nothing
        await shop.add(("a", "k"), ("b", ""))
        with pytest.raises(Refused):
            await shop.add(("c", "k"), then=refuse)
        await shop.add(("d", "k"))
        assert [each.envelope.id for each in await shop.outbox.unsent(10)] == ["a", "b", "d"]
        assert [each.envelope.id for each in await shop.outbox.unsent(2)] == ["a", "b"]
        await shop.outbox.database.aclose()

    run(scenario())


def test_the_envelope(new_shop: NewShop) -> None:
    """A message comes out as it was put in, with the time of its writing and the trace that wrote it."""

    async def scenario() -> None:
        shop = new_shop(origin="shop", clock=lambda: 1000.5)
        await shop.create()
        AMBIENT.set(Carried(math.inf, TRACE))
        await shop.add(("a%b?", "k'1%s?"), headers={"tenant": "mück"}, expires=60.0)
        AMBIENT.set(None)
        await shop.add(("b", ""))
        first, second = await shop.outbox.unsent(10)
        assert first.envelope == Envelope(
            topic=TOPIC,
            body=b'{"id":"a%b?"}',
            content_type="application/json",
            id="a%b?",
            key="k'1%s?",
            origin="shop",
            time=1000.5,
            deadline=1060.5,
            traceparent=TRACE,
            headers={"tenant": "mück"},
        )
        assert (second.envelope.deadline, second.envelope.traceparent, second.envelope.headers) == (math.inf, "", {})
        await shop.outbox.database.aclose()

    run(scenario())


def test_ids(tmp_path: Path) -> None:
    """Without an id of its own a message gets one, which is returned."""
    outbox = Outbox(SqliteDatabase(tmp_path / "shop.db"))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        outbox.create_sync(connection)
        ids = [outbox.add_sync(connection, TOPIC, 1) for _ in range(3)]
        assert connection.in_transaction  # it is the user's to commit
    assert len(set(ids)) == 3


def test_what_is_no_connection(tmp_path: Path) -> None:
    """A connection that is not known, or would block the event loop, is refused with a word about what to do."""
    outbox = Outbox(SqliteDatabase(tmp_path / "shop.db"))

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="sqlite3, aiosqlite, psycopg, asyncpg"):
            await outbox.add(object(), TOPIC, 1)
        file = tmp_path / "shop.db"
        with closing(sqlite3.connect(file)) as connection, pytest.raises(ConfigurationError, match="_sync twin"):
            await outbox.add(connection, TOPIC, 1)

    run(scenario())


@pytest.mark.parametrize("table", ["", "orders; DROP TABLE orders", "a.b.c", "Orders", "o" * 60])
def test_a_table_that_is_no_name(table: str, tmp_path: Path) -> None:
    """A table's name that is not plain is refused, since it goes into statements as it is."""
    with pytest.raises(ConfigurationError, match="no plain name"):
        Outbox(SqliteDatabase(tmp_path / "shop.db"), table=table)


def test_in_memory() -> None:
    """An SQLite in memory, which a relay would not see, is refused."""
    with pytest.raises(ConfigurationError, match="in memory"):
        SqliteDatabase(":memory:")
