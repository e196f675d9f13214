"""Responses that stay in each process's memory, behind a cache that has a second tier for other things."""

import asyncio

from hasten.cache import Cache
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from hasten.http import Rule
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.case import asks
from tests.http.site import App, Reply, Site

PAGE = Rule("/{path:path}", ttl=60, tag_header="cache-tag")


class Written(MemoryStore):
    """A second tier that says what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        self.keys.append(key)
        return await super().write(key, payload, seconds, token)


async def town(app: App, store: MemoryStore) -> list[Site]:
    """Return two processes' sites that keep responses in memory."""
    caches = [Cache(second=store, backplane=plane) for plane in memory_backplanes(2, trust_seconds=60.0)]
    sites = [Site(app, PAGE, cache=cache, shared=False) for cache in caches]
    for cache in caches:
        cache._core.start()
    while not all(cache.statistics().trusted for cache in caches):
        await asyncio.sleep(0)
    return sites


def test_each_process_has_its_own(loop_factory: LoopFactory) -> None:
    """A response is kept at once, tags and all, by the process that has made it, and written nowhere."""

    async def scenario() -> None:
        app, store = App(Reply({"cache-tag": "product:7"})), Written()
        sites = await town(app, store)
        for site in sites:
            assert [(await site.get()).state for _ in range(2)] == ["miss", "hit"]
            await passes(30)
        assert not store.keys
        for site in sites:
            await site.cache.aclose()

    run(loop_factory, scenario())


def test_a_change_reaches_all(loop_factory: LoopFactory) -> None:
    """A tag and a change of the path, told by one process, drop what the other has in its memory."""

    async def scenario() -> None:
        app = App(Reply({"cache-tag": "product:7"}))
        here, there = sites = await town(app, Written())
        for site in sites:
            await site.get()
        assert await here.cache.invalidate_tags("product:7")
        assert [(await site.get()).state for site in sites] == ["miss"] * 2
        await there.get(asks("PUT"))
        assert [(await site.get()).state for site in sites] == ["miss"] * 2
        for site in sites:
            await site.cache.aclose()

    run(loop_factory, scenario())
