"""Responses in two tiers: what one process has made is answered by another."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hasten.cache import Cache, Read
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from hasten.http import Rule
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.case import asks, says
from tests.http.site import App, Ask, Reply, Site, start

PAGE = Rule("/{path:path}", ttl=60, stale=60)


class GatedStore(MemoryStore):
    """A store whose reads wait for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        await self.gate.wait()
        return await super().read(key, tags)


class Town:
    """Two processes' sites before one store."""

    def __init__(self, *replies: Reply, rule: Rule = PAGE, store: MemoryStore | None = None) -> None:
        self.app = App(*replies)
        store = store or MemoryStore()
        self.sites = [
            Site(self.app, rule, cache=Cache(second=store, backplane=backplane))
            for backplane in memory_backplanes(2, trust_seconds=60.0)
        ]

    async def opened(self) -> "Town":
        """Let both trust their memory, and return itself."""
        for site in self.sites:
            site.region.core.start()
        while not all(site.cache.statistics().trusted for site in self.sites):
            await asyncio.sleep(0)
        return self

    async def aclose(self) -> None:
        for site in self.sites:
            await site.cache.aclose()


def test_made_once(loop_factory: LoopFactory) -> None:
    """A response that one process has kept is a hit in another, with its status, fields, tag and age."""

    async def scenario() -> None:
        town = await Town(Reply({"x-a": "1", "age": "7"}, body=b"\x00\xff", status=203)).opened()
        here, there = town.sites
        first = await here.get()
        await passes(30)
        second = await there.get()
        assert (first.state, second.state) == ("miss", "hit")
        assert (second.status, second.body, second.fields["etag"]) == (203, first.body, first.fields["etag"])
        assert (second.fields["x-a"], second.fields["age"]) == ("1", "7")
        assert len(town.app.asked) == 1
        assert (await there.get(asks(if_none_match=first.fields["etag"]))).status == 304
        assert (await there.get(asks("HEAD"))).state == "hit"
        await town.aclose()

    run(loop_factory, scenario())


def test_variants(loop_factory: LoopFactory) -> None:
    """Variants are apart in the second tier, too, and a Cookie that tells them apart cannot be read there."""

    async def scenario() -> None:
        town = await Town(
            Reply(body=b"alice"), Reply(body=b"bob"), rule=Rule("/page", ttl=60, vary=("cookie",))
        ).opened()
        here, there = town.sites
        for who in ("alice", "bob"):
            assert (await here.get(asks(cookie=f"secret-{who}"))).body == who.encode()
        await passes(30)
        for who in ("alice", "bob"):
            answer = await there.get(asks(cookie=f"secret-{who}"))
            assert (answer.state, answer.body) == ("hit", who.encode())
        texts = list(there.region.by_text)
        assert len(texts) == 2
        assert all(text.isascii() and len(text) <= 200 and " " not in text and "secret" not in text for text in texts)
        assert all(":/page:" in text for text in texts)
        await town.aclose()

    run(loop_factory, scenario())


def test_learning_while_others_wait(loop_factory: LoopFactory) -> None:
    """Who waits under a key that turns out to be too short does not get the response for another's language."""

    async def scenario() -> None:
        town = await Town(store=(store := GatedStore())).opened()

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            language = dict(scope["headers"])[b"accept-language"]
            await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"accept-language")]})
            await send({"type": "http.response.body", "body": language})

        town.app.talk = talk
        here, _ = town.sites
        store.gate.clear()
        asked = await start(here, asks(accept_language="de"), asks(accept_language="en"))
        match = here.layer._table["/page"]
        assert match is not None
        match.active.learn([b"accept-language"])  # as a response to another path has it
        store.gate.set()
        assert [answer.body for answer in await asyncio.gather(*asked)] == [b"de", b"en"]
        await town.aclose()

    run(loop_factory, scenario())


def test_one_run_in_all_processes(loop_factory: LoopFactory) -> None:
    """Requests in two processes wait for one run."""

    async def scenario() -> None:
        town = await Town().opened()
        town.app.gate.clear()
        asked = [task for site in town.sites for task in await start(site, Ask(), Ask())]
        assert len(town.app.asked) == 1
        town.app.gate.set()
        answers = await asyncio.gather(*asked)
        assert sorted(answer.state for answer in answers) == ["hit", "hit", "hit", "miss"]
        assert len(town.app.asked) == 1
        await town.aclose()

    run(loop_factory, scenario())


def test_a_change_reaches_all_processes(loop_factory: LoopFactory) -> None:
    """A change through one process drops the responses of another."""

    async def scenario() -> None:
        town = await Town(Reply(body=b"old"), Reply(), Reply(body=b"new")).opened()
        here, there = town.sites
        for site in (here, there):
            await passes(30)
            assert (await site.get()).body == b"old"
        await here.get(asks("PUT"))
        assert (await there.get()).body == b"new"
        await town.aclose()

    run(loop_factory, scenario())


def test_nobody_waits_elsewhere_for_what_is_not_kept(loop_factory: LoopFactory) -> None:
    """Another process goes on by itself as soon as a response is known not to be for it."""

    async def scenario() -> None:
        town = await Town(says("private"), Reply(body=b"mine")).opened()
        end = asyncio.Event()

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            town.app.talk = None
            await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"private")]})
            await end.wait()
            await send({"type": "http.response.body", "body": b""})

        town.app.talk = talk
        here, there = town.sites
        (first,) = await start(here, Ask())
        assert (await there.get()).done
        assert not first.done()
        end.set()
        assert (await first).done
        await town.aclose()

    run(loop_factory, scenario())


def test_only_if_cached_looks_into_both(loop_factory: LoopFactory) -> None:
    """only-if-cached is answered from the second tier, too, and the app is not asked."""

    async def scenario() -> None:
        town = await Town().opened()
        here, there = town.sites
        await here.get()
        await passes(30)
        assert (await there.get(asks(cache_control="only-if-cached"))).state == "hit"
        assert (await there.get(asks(path="/other", cache_control="only-if-cached"))).status == 504
        assert len(town.app.asked) == 1
        await town.aclose()

    run(loop_factory, scenario())


def test_what_the_second_tier_has_is_too_old(loop_factory: LoopFactory) -> None:
    """A client that wants what is younger than the second tier's response gets a new one."""

    async def scenario() -> None:
        town = await Town(Reply({"age": "30", "cache-control": "max-age=60"}), Reply(body=b"new")).opened()
        here, there = town.sites
        await here.get()
        await passes(30)
        assert (await there.get(asks(cache_control="max-age=10"))).body == b"new"
        await town.aclose()

    run(loop_factory, scenario())


def test_stale_of_the_second_tier_when_the_app_fails(loop_factory: LoopFactory) -> None:
    """Another process's response is served when the app fails, whoever it fails for."""

    async def scenario() -> None:
        rule = Rule("/page", stale_if_error=600)
        for failure in (
            Reply(status=503),
            Reply(error=ValueError("no")),
            Reply(chunks=(b"x",), status=503, error=OSError()),
        ):
            town = await Town(
                Reply({"age": "50", "cache-control": "max-age=50, stale-while-revalidate=0"}), failure, rule=rule
            ).opened()
            here, there = town.sites
            await here.get()
            await passes(30)
            for calls in (2, 3):
                answer = await there.get()
                assert (answer.status, answer.body, answer.state) == (200, b"body", "stale")
                assert len(town.app.asked) == calls
            await town.aclose()

    run(loop_factory, scenario())
