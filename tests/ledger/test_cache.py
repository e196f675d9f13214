"""The ledger and the cache on a real Redis: what a request waits for there is a kind of its own."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import anyio
from fastapi import FastAPI

from hasten.cache import Cache
from hasten.ledger import Account, Kind
from tests.ledger.cases import answer
from tests.ledger.serving import LoopFactory, Served, ask, seconds, serving

LOAD = 0.02
Cached = Callable[[int], Coroutine[Any, Any, int]]


async def load_product(product_id: int) -> int:
    """Load for 20 ms, as from a database."""
    await answer(LOAD)
    return product_id


def make_app(url: str) -> FastAPI:
    """Return an app with two caches over one Redis, as two processes have them; nothing else uses their keys."""
    namespace = f"ledger-{uuid.uuid4()}"
    one, other = (Cache("memory://", url, namespace=namespace, timeout=10.0) for _ in range(2))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.gather(one.aclose(), other.aclose())

    app = FastAPI(lifespan=lifespan)
    of_one, of_other = (cache.cached(ttl=60.0)(load_product) for cache in (one, other))

    @app.get("/one/{product_id}")
    async def by_one(product_id: int) -> int:
        return await of_one(product_id)

    @app.get("/other/{product_id}")
    async def by_other(product_id: int) -> int:
        return await of_other(product_id)

    @app.get("/written")
    async def written() -> None:
        await one.aclose()

    @app.get("/library")
    async def library() -> None:
        await other.get_or_set("library", partial(anyio.sleep, LOAD), 60.0)

    return app


def redis_name(url: str) -> str:
    return f"redis {url.split('/')[2]}"


def cache_waits(account: Account, function: str) -> set[str]:
    """Return what the account's waits for a cache are called; all stand in the user's function."""
    waits = [line for line in account.lines if line.kind is Kind.CACHE]
    assert all(line.site.function.endswith(function) and line.site.line for line in waits)
    assert all(line.site.leaf.startswith("hasten.") for line in waits)
    return {line.site.library for line in waits}


def test_the_second_tier_is_cache_time_and_the_loader_is_not(redis_url: str, loop_factory: LoopFactory) -> None:
    """A cold key asks Redis twice and loads; where another process has loaded it, Redis is asked alone."""
    served = ask(make_app(redis_url), ["/one/1", "/written", "/other/1"], loop_factory)
    name = redis_name(redis_url)

    cold = served.account("GET /one/{product_id}")
    assert cache_waits(cold, "by_one") == {f"cache GET {name}", f"cache LEASE {name}"}
    assert seconds(cold, Kind.WAITING, function="answer") >= 0.9 * LOAD
    warm = served.account("GET /other/{product_id}")
    assert cache_waits(warm, "by_other") == {f"cache GET {name}"}
    assert seconds(warm, Kind.WAITING) == 0
    assert min(cold.coverage, warm.coverage) >= 0.98


def test_a_loader_that_is_a_librarys_names_the_wait(redis_url: str, loop_factory: LoopFactory) -> None:
    """What a cache loads by a library's function is a wait for that, at the line that asked the cache."""
    account = ask(make_app(redis_url), ["/library"], loop_factory).accounts[0]

    waits = [line for line in account.lines if line.kind is Kind.WAITING]
    assert {line.site.library for line in waits} == {"anyio.sleep"}
    assert seconds(account, Kind.WAITING, function="library") >= 0.9 * LOAD


def test_keys_tell_questions_to_a_cache_apart(redis_url: str, loop_factory: LoopFactory) -> None:
    """In detail mode the key is what a question is known by."""
    served = ask(make_app(redis_url), ["/one/1", "/written", "/other/1", "/other/2"], loop_factory)

    by_one, *by_other = [
        call.identity
        for account in served.accounts
        for call in account.calls
        if call.site.library.startswith("cache GET")
    ]
    assert by_one == by_other[0]
    assert len(set(by_other)) == 2


def test_memcached_is_named_by_its_servers(memcached_url: str, loop_factory: LoopFactory) -> None:
    """A wait for Memcached is cache time too, whatever library asks it."""
    served = ask(make_app(memcached_url), ["/one/1"], loop_factory)

    server = memcached_url.removeprefix("memcached://")
    cold = served.account("GET /one/{product_id}")
    assert {line.site.library for line in cold.lines if line.kind is Kind.CACHE} == {f"cache memcached {server}"}
    assert seconds(cold, Kind.WAITING, function="answer") >= 0.9 * LOAD


def test_who_joins_anothers_load_waits_for_the_cache(redis_url: str, loop_factory: LoopFactory) -> None:
    """Of two requests for one key one loads; the other one's time is cache time, and names whose load it joined."""

    async def conversation() -> Served:
        async with serving(make_app(redis_url)) as served:
            await served.ask("/one/1", "/one/1")
        return served

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation()).accounts
    leader, follower = sorted(accounts, key=lambda account: seconds(account, Kind.CACHE))
    assert seconds(leader, Kind.WAITING, function="answer") >= 0.9 * LOAD
    assert seconds(follower, Kind.WAITING) == 0
    waits = cache_waits(follower, "by_one")
    assert f"cache join {__name__}.load_product" in waits
    # The cache has just been opened and is not trusted: what others began before is not taken, Redis is asked again.
    assert waits <= {f"cache join {__name__}.load_product", f"cache GET {redis_name(redis_url)}"}
    assert follower.coverage >= 0.98


def test_who_waits_for_another_process_waits_for_the_cache(redis_url: str, loop_factory: LoopFactory) -> None:
    """While another process loads the key under its lease, the time is cache time."""

    async def conversation() -> Served:
        async with serving(make_app(redis_url)) as served:
            await served.ask("/one/1", "/other/1")
        return served

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation()).accounts
    _, follower = sorted(accounts, key=lambda account: seconds(account, Kind.CACHE))
    assert seconds(follower, Kind.WAITING) == 0
    assert f"cache join {__name__}.load_product" in {line.site.library for line in follower.lines}
    assert follower.coverage >= 0.98
