"""What the fast edition keeps, beside what test_freshness and test_fast_calls show of it."""

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from examples.shop.fast import freshness
from examples.shop.fast.freshness import known_everywhere, open_cache
from examples.shop.fast.message_codec import MessageCodec
from examples.shop.proto.stock_pb2 import GetLevelsReply, Level
from hasten.cache import CodecError
from tests.cache.backplanes.servers import RedisServer
from tests.shop.in_process import fast_shop, partner, settings_for

PRODUCT = 4_711
PAGE = f"/products/{PRODUCT}"


def test_where_answers_come_from(data_set: Path, redis: RedisServer) -> None:
    """A kept answer says so, with the time that it took itself; report and pages are kept with Redis alone.

    Which products a page shows is between the storefront and its cache.
    """

    async def ask(url: str | None, path: str) -> list[str | None]:
        async with fast_shop(data_set, redis=url) as shop:
            answers = [await shop.http.get(path) for _ in range(2)]
            assert answers[0].content == answers[1].content
            assert all(len(answer.headers.get_list("x-response-time-ms")) == 1 for answer in answers)
            assert not any(freshness.SHOWS in answer.headers for answer in answers)
            return [answer.headers.get("x-cache") for answer in answers]

    assert asyncio.run(ask(None, "/search?q=oak+lamp")) == ["miss", "hit"]
    for path in ("/reports/daily", PAGE):
        assert asyncio.run(ask(redis.url, path)) == ["miss", "hit"]
        assert asyncio.run(ask(None, path)) == [None, None]


def test_what_an_order_drops(
    data_set: Path, tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order drops the pages that show its product, their own and others' that have it beside, and no other page."""
    monkeypatch.setattr(freshness, "CHANGING_TTL", 600.0)
    database = Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))
    with closing(sqlite3.connect(database)) as connection:
        related = connection.execute("SELECT product_id, related_id FROM related").fetchall()
    showing = {PRODUCT} | {page for page, beside in related if beside == PRODUCT}
    shown = {beside for page, beside in related if page == PRODUCT}  # their pages need not show it
    pages = sorted(showing | shown | {1, 20_000})

    async def ask() -> None:
        async with fast_shop(database, redis=redis.url) as shop:

            async def kept() -> set[int]:
                states = {page: (await shop.http.get(f"/products/{page}")).headers["x-cache"] for page in pages}
                return {page for page, state in states.items() if state == "hit"}

            await kept()
            assert await kept() == set(pages)
            assert (await shop.http.post("/orders", json={"product_id": PRODUCT, "quantity": 1})).status_code == 201
            assert await kept() == set(pages) - showing
            assert await kept() == set(pages)

    assert len(showing) > 1
    assert not shown <= showing
    asyncio.run(ask())


def test_dead_catalog(data_set: Path) -> None:
    """A product that was shown before is shown while the catalog is down."""

    async def ask() -> None:
        async with fast_shop(data_set) as shop:
            known = await shop.http.get(PAGE)
            await shop.stop("catalog")
            assert (await shop.http.get(PAGE)).content == known.content
            assert (await shop.http.get("/products/1")).status_code == 503

    asyncio.run(ask())


def test_many_ask_for_nothing(data_set: Path, redis: RedisServer) -> None:
    """All who ask for an unknown product at once are told so."""

    async def ask() -> None:
        async with fast_shop(data_set, redis=redis.url) as shop:
            answers = await asyncio.gather(*(shop.http.get("/products/20001") for _ in range(20)))
            assert {(answer.status_code, answer.text) for answer in answers} == {(404, '{"detail":"no such product"}')}

    asyncio.run(ask())


def test_pieces_that_come_back(
    data_set: Path, tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was made while an order was being paid shows all pieces again when it was not."""
    monkeypatch.setattr(freshness, "CHANGING_TTL", 600.0)
    database = Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))
    charged, decline = asyncio.Event(), asyncio.Event()

    async def charge(_: web.Request) -> web.Response:
        charged.set()
        await decline.wait()
        return web.json_response({"status": "declined", "reference": ""})

    async def ask() -> None:
        async with (
            partner({"/charges": charge}) as payments,
            fast_shop(database, redis=redis.url, payments=payments) as shop,
        ):

            async def available() -> int:
                return int((await shop.http.get(PAGE)).json()["stock"]["available"])

            before = await available()
            order = asyncio.create_task(shop.http.post("/orders", json={"product_id": PRODUCT, "quantity": 2}))
            await charged.wait()
            try:
                assert await available() == before - 2
            finally:
                decline.set()
            assert (await order).status_code == 402
            assert await available() == before

    asyncio.run(ask())


def test_nobody_can_be_told(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis' help it is waited for until what others may have kept is gone, and no longer."""
    monkeypatch.setattr(freshness, "GONE", 0.3)

    async def tell() -> None:
        cache = open_cache(settings_for(data_set, "redis://127.0.0.1:9/0"))  # nobody listens on the discard port
        began = time.monotonic()
        await known_everywhere(cache, "product:1")
        assert time.monotonic() - began >= 0.3
        await cache.aclose()

    asyncio.run(tell())


def test_messages_as_bytes() -> None:
    """A message comes back as it was, and bytes that are none are said to be none."""
    codec = MessageCodec(GetLevelsReply)
    reply = GetLevelsReply(levels=[Level(product_id=7, available=3, warehouse="north")])
    assert codec.decode(codec.encode(reply)) == reply
    with pytest.raises(CodecError, match="GetLevelsReply"):
        codec.decode(b"\xff")


def test_settings(data_set: Path) -> None:
    """Where Redis is stands in SHOP_REDIS_URL; an empty one says nowhere."""
    assert settings_for(data_set).redis is None
    assert settings_for(data_set, "redis://localhost/3").redis == "redis://localhost/3"
