"""A change that falls into the making of a page, at each of its moments, in one process and in two: nobody sees it old.

The page's app stops where the test tells it to; the change is made and told to the cache while it stands there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from hasten.cache import Cache
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.backplanes.redis import RedisBackplane
from hasten.cache.stores.memory import MemoryStore
from hasten.http import Rule
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.site import App, Ask, Site

PAGE = Rule("/{path:path}", ttl=60, stale=60, tag_header="cache-tag")
MOMENTS = ("asked", "read", "begun", "half", "whole")
FIELDS = [(b"cache-tag", b"product:7, product:8")]


class Shop(App):
    """An app whose page shows how many pieces of a product there are.

    Attributes:
      pieces: What its database says.
      stop_at: The moment of the next request at which it stands until `goes_on` is set; it has then `come`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces = 100
        self.stop_at = ""
        self.come, self.goes_on = asyncio.Event(), asyncio.Event()
        self.talk = self._answer

    async def at(self, moment: str) -> None:
        """Be at a moment."""
        if moment == self.stop_at:
            self.stop_at = ""
            self.come.set()
            await self.goes_on.wait()

    def stop(self, moment: str) -> None:
        """Let the next request stop there."""
        self.stop_at = moment
        self.come.clear()
        self.goes_on.clear()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await self.at("asked")
        body = b"%d" % self.pieces
        await self.at("read")
        await send({"type": "http.response.start", "status": 200, "headers": FIELDS})
        await self.at("begun")
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await self.at("half")
        await send({"type": "http.response.body", "body": b""})
        await self.at("whole")


class Store(MemoryStore):
    """A second tier to which a write is on its way for as long as the shop stands at `written`."""

    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self._shop = shop

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        await self._shop.at("written")
        return await super().write(key, payload, seconds, token)


Places = Callable[[Shop], AbstractAsyncContextManager[list[Site]]]


@asynccontextmanager
async def in_memory(shop: Shop) -> AsyncIterator[list[Site]]:
    """One process that has its memory alone."""
    site = Site(shop, PAGE)
    yield [site]
    await site.cache.aclose()


@asynccontextmanager
async def in_two_tiers(shop: Shop) -> AsyncIterator[list[Site]]:
    """Two processes that share a second tier."""
    store = Store(shop)
    async with together(shop, [Cache(second=store, backplane=plane) for plane in memory_backplanes(2)]) as sites:
        yield sites


def in_redis(url: str) -> Places:
    """Two processes that share a Redis."""

    @asynccontextmanager
    async def places(shop: Shop) -> AsyncIterator[list[Site]]:
        namespace = f"test-{uuid4().hex}"
        planes = [RedisBackplane(url, namespace, trust_seconds=0.25) for _ in range(2)]  # the first word waits for it
        caches = [Cache("memory://", url, backplane=plane, namespace=namespace, timeout=5.0) for plane in planes]
        async with together(shop, caches) as sites:
            yield sites

    return places


@asynccontextmanager
async def together(shop: Shop, caches: Sequence[Cache]) -> AsyncIterator[list[Site]]:
    """Let all of them trust their memory, and hear each other."""
    assert all(await asyncio.gather(*[cache.invalidate_tags("anything") for cache in caches]))
    while not all(cache.statistics().trusted for cache in caches):
        await asyncio.sleep(0)
    yield [Site(shop, PAGE, cache=cache) for cache in caches]
    for cache in caches:
        await cache.aclose()


@pytest.fixture(params=["memory", "two tiers", "Redis"])
def places(request: pytest.FixtureRequest) -> Places:
    if request.param == "Redis":
        return in_redis(request.getfixturevalue("redis_url"))
    return in_memory if request.param == "memory" else in_two_tiers


async def settled() -> None:
    """Let what goes on behind an answer come to its end: nothing else of the test is under way."""
    await passes(30)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_change_while_a_page_is_made(loop_factory: LoopFactory, places: Places, moment: str) -> None:
    """Whoever asks after the change, here or elsewhere, gets the page with it, whether its tags were known or not."""
    run(loop_factory, changing_at(moment, places))


def test_a_change_while_a_page_is_written(loop_factory: LoopFactory) -> None:
    """So it is while the page is on its way to the second tier."""
    run(loop_factory, changing_at("written", in_two_tiers))


async def changing_at(moment: str, places: Places) -> None:
    shop = Shop()
    async with places(shop) as sites:
        for round_ in range(6):  # in the first one nobody knows the page's tags
            maker, teller = sites[round_ % len(sites)], sites[round_ // 2 % len(sites)]
            before = shop.pieces
            shop.stop(moment)
            early = asyncio.create_task(maker.get())
            await standing(shop, early)
            shop.pieces -= 1
            assert await teller.cache.invalidate_tags("product:8")
            shop.goes_on.set()
            assert int((await early).body) in {before, shop.pieces}
            await settled()
            assert [(await site.get()).body for site in sites * 2] == [b"%d" % shop.pieces] * 2 * len(sites)
            await settled()
            assert (await maker.get()).state == "hit"
            await teller.cache.invalidate_tags("product:7")


async def standing(shop: Shop, asked: "asyncio.Task[Any]") -> None:
    """Return when the shop stands, or has answered a request for which it did not come to that moment."""
    come = asyncio.create_task(shop.come.wait())
    await asyncio.wait([come, asked], return_when=asyncio.FIRST_COMPLETED)
    come.cancel()


@pytest.mark.parametrize("moment", MOMENTS)
def test_who_asks_after_a_change(loop_factory: LoopFactory, places: Places, moment: str) -> None:
    """Who asks after the change gets the page with it, though one without it is under way and its tags are unknown."""

    async def scenario() -> None:
        shop = Shop()
        async with places(shop) as sites:
            for round_ in range(4):
                maker, teller = sites[round_ % len(sites)], sites[round_ // 2 % len(sites)]
                shop.stop(moment)
                early = asyncio.create_task(maker.get())
                await standing(shop, early)
                shop.pieces -= 1
                assert await teller.cache.invalidate_tags("product:8")
                late = [asyncio.create_task(site.get()) for site in sites * 2]
                await passes()
                shop.goes_on.set()
                assert [(await task).body for task in late] == [b"%d" % shop.pieces] * len(late)
                await early
                await settled()
                await teller.cache.invalidate_tags("product:7")

    run(loop_factory, scenario())


def test_changes_one_after_another(loop_factory: LoopFactory, places: Places) -> None:
    """A page that is made while several things change, some of which it does not show, is not kept."""

    async def scenario() -> None:
        shop = Shop()
        async with places(shop) as sites:
            for tag in ("product:8", "product:7"):
                await sites[0].cache.invalidate_tags("product:7")
                shop.stop("read")
                early = asyncio.create_task(sites[0].get())
                await shop.come.wait()
                shop.pieces -= 1
                for other in ("product:1", tag, "product:2"):
                    assert await sites[-1].cache.invalidate_tags(other)
                shop.goes_on.set()
                await early
                assert [(await site.get()).body for site in sites] == [b"%d" % shop.pieces] * len(sites)

    run(loop_factory, scenario())


def test_changes_of_something_else(loop_factory: LoopFactory, places: Places) -> None:
    """What the page does not show drops nothing: it is kept though other things change while it is made."""

    async def scenario() -> None:
        shop = Shop()
        async with places(shop) as sites:
            for _ in range(2):  # in two tiers the first one finds out the tags
                await sites[0].get()
                await settled()
            await sites[-1].cache.invalidate_tags("product:7")
            shop.stop("read")
            early = asyncio.create_task(sites[0].get())
            await shop.come.wait()
            assert await sites[-1].cache.invalidate_tags("product:1")
            shop.goes_on.set()
            await early
            await settled()
            calls = sites[0].calls
            assert [(await site.get()).state for site in sites] == ["hit"] * len(sites)
            assert sites[0].calls == calls

    run(loop_factory, scenario())


def test_the_other_process_does_not_know_the_tags(loop_factory: LoopFactory) -> None:
    """A page that comes from the second tier has all its tags, in a process that never had the app name them."""

    async def scenario() -> None:
        shop = Shop()
        async with in_two_tiers(shop) as (here, there):
            for _ in range(2):
                await here.get(Ask())
                await settled()
            calls = here.calls
            assert [(await there.get()).state for _ in range(2)] == ["hit"] * 2
            assert here.calls == calls
            shop.pieces -= 1
            assert await here.cache.invalidate_tags("product:8")
            assert (await there.get()).body == b"99"

    run(loop_factory, scenario())
