"""Cached functions: what their verbs do, and where they may be used."""

import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from hasten._core.errors import ConfigurationError
from hasten.cache._cache import Cache
from hasten.cache._cached import Decorator, cached
from hasten.cache._policy import Loaded, Policy
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


def caching(cache: Cache, ttl: float = 60.0, **options: Any) -> Decorator:
    return cached(cache, Policy(ttl=ttl, jitter=0.0), **options)


@dataclass
class Product:
    number: int
    name: str = "shoe"


class Shop:
    """A cache with a function whose loads are counted and wait when the test says so."""

    def __init__(self, **options: Any) -> None:
        self.cache = Cache()
        self.loads = 0
        self.open = asyncio.Event()
        self.open.set()

        async def load_product(number: int) -> Product:
            self.loads += 1
            await self.open.wait()
            return Product(number)

        self.load_product = caching(self.cache, **options)(load_product)


def test_the_verbs(loop_factory: LoopFactory) -> None:
    """A call loads once; peek loads nothing; refresh loads anew; invalidate drops what there is."""

    async def scenario() -> None:
        shop = Shop()
        load = shop.load_product
        assert load.peek(7) is None
        assert shop.loads == 0
        first = await load(7)
        assert await load(number=7) is load.peek(7) is first
        second = await load.refresh(7)
        assert second is not first
        assert await load(7) is second
        assert await load.invalidate(7)
        assert load.peek(7) is None
        assert await load(7) is not second
        assert shop.loads == 3

    run(loop_factory, scenario())


def test_an_invalidation_overtakes_a_load(loop_factory: LoopFactory) -> None:
    """A load that an invalidation overtakes gives its value to its caller, and to nobody later."""

    async def scenario() -> None:
        shop = Shop()
        shop.open.clear()
        caller = asyncio.create_task(shop.load_product(7))
        await passes()
        assert await shop.load_product.invalidate(7)
        shop.open.set()
        first = await caller
        assert shop.load_product.peek(7) is None
        assert await shop.load_product(7) is not first

    run(loop_factory, scenario())


def test_one_load_for_all_who_wait(loop_factory: LoopFactory) -> None:
    """A thousand concurrent calls make one load and get one object."""

    async def scenario() -> None:
        shop = Shop()
        shop.open.clear()
        callers = [asyncio.create_task(shop.load_product(7)) for _ in range(1000)]
        await passes()
        shop.open.set()
        products = await asyncio.gather(*callers)
        assert shop.loads == 1
        assert len({id(product) for product in products}) == 1

    run(loop_factory, scenario())


def test_peek_serves_what_is_stale_but_may_be_served(loop_factory: LoopFactory) -> None:
    """Peek gives what a call would give without waiting: the stale value while it may be served, then nothing."""

    async def scenario() -> None:
        cache = Cache()

        async def load(number: int) -> list[int]:
            return [number]

        stale = cached(cache, Policy(ttl=0.0, stale=60.0), name="stale")(load)
        gone = cached(cache, Policy(ttl=0.0, stale_if_error=60.0), name="gone")(load)
        first = await stale(7)
        assert stale.peek(7) is first
        await gone(7)
        assert gone.peek(7) is None

    run(loop_factory, scenario())


def test_none_is_a_value(loop_factory: LoopFactory) -> None:
    """None is kept like any value, and the region tells it from nothing."""

    async def scenario() -> None:
        loads = []

        @caching(Cache())
        async def find(number: int) -> Product | None:
            loads.append(number)
            return None

        assert find.region.peek(find.key(7)) is None
        assert await find(7) is None
        assert await find(7) is None
        assert loads == [7]
        entry = find.region.peek(find.key(7))
        assert entry is not None
        assert entry.value is None

    run(loop_factory, scenario())


def test_a_loader_that_knows_more(loop_factory: LoopFactory) -> None:
    """Of `Loaded` the caller gets the value; its tags and its word on storing hold."""

    async def scenario() -> None:
        cache = Cache()

        @caching(cache)
        async def load(number: int) -> list[int] | Loaded[list[int]]:
            return Loaded(value=[number], tags=("numbers",), store=number != 13)

        first = await load(7)
        assert first == [7]
        assert await load(7) is first
        await cache.invalidate_tags("numbers")
        assert await load(7) is not first
        assert await load(13) is not await load(13)

    run(loop_factory, scenario())


def test_errors_pass(loop_factory: LoopFactory) -> None:
    """What the function raises the caller gets, and nothing is kept."""

    async def scenario() -> None:
        @caching(Cache())
        async def fail(number: int) -> int:
            raise LookupError(number)

        for _ in range(2):
            with pytest.raises(LookupError, match="7"):
                await fail(7)
        assert fail.peek(7) is None
        assert fail.region.counts.loads == 2

    run(loop_factory, scenario())


# ---- what may be decorated


def plain(number: int) -> int:
    return number


def generator(number: int) -> Iterator[int]:
    yield number


async def async_generator(number: int) -> AsyncIterator[int]:
    yield number


def awaitable(number: int) -> Awaitable[int]:
    return asyncio.sleep(0, number)


async def coroutine(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("thing", "problem"),
    [
        (plain, "plain: is no `async def` function"),
        (generator, "generator: is a generator"),
        (async_generator, "async_generator: is a generator"),
        (awaitable, "awaitable: is no `async def` function"),
        (lambda number: number, "lambda>: is no `async def` function"),
        (functools.partial(coroutine, 7), "is no `async def` function; decorate the function itself"),
        (Product, "Product: is no `async def` function; decorate the function itself"),
        (property(plain), "is no `async def` function; decorate the function itself"),
        (7, "7: is no `async def` function; decorate the function itself"),
    ],
)
def test_what_cannot_be_cached_is_refused(thing: Any, problem: str) -> None:
    """What is no `async def` function is refused when it is decorated, with what it is."""
    with pytest.raises(ConfigurationError, match=problem):
        caching(Cache())(thing)


def test_one_name_for_one_function() -> None:
    """Two functions of one cache have two names: the second is refused, unless it is given another."""
    cache = Cache()
    caching(cache)(coroutine)
    with pytest.raises(ConfigurationError, match="name="):
        caching(cache)(coroutine)
    assert caching(cache, name="other")(coroutine).region.name == "other"


def test_a_decorator_that_fails_takes_no_name() -> None:
    """What is mended after it was refused may be decorated in the same cache, under the same name."""
    cache = Cache()
    with pytest.raises(ConfigurationError, match="takes other, which is no argument"):
        caching(cache, tags=lambda other: [other])(coroutine)
    name = caching(cache)(coroutine).region.name
    assert sorted(cache.statistics().regions) == ["keys", name]


NOTEBOOK = """
@caching(cache{options})
async def load(number: int) -> list[int]:
    return [number, {version}]
"""


def defined(cache: Cache, version: int, options: str = "", **names: object) -> Any:
    """Return what a cell of a notebook defines."""
    cell = {"__name__": "__main__", "cache": cache, "caching": caching, **names}
    exec(NOTEBOOK.format(version=version, options=options), cell)
    return cell["load"]


def test_a_cell_that_is_run_again(loop_factory: LoopFactory) -> None:
    """A function that is defined anew in a notebook takes the old one's place; invalidations reach both."""

    async def scenario() -> None:
        cache = Cache()
        old = defined(cache, 1, ', tags=["numbers"]')
        assert await old(7) == [7, 1]
        new = defined(cache, 2, ', tags=["numbers"]')
        assert old.peek(7) is None
        assert await new(7) == [7, 2]
        newest = defined(cache, 3)
        assert await newest(7) == [7, 3]
        first, second = await old(8), await new(8)
        await cache.invalidate_tags("numbers")
        assert old.peek(8) is new.peek(8) is None
        assert await old(8) is not first
        assert await new(8) is not second
        names = ["__main__.load", "__main__.load (replaced 1)", "__main__.load (replaced 2)", "keys"]
        assert sorted(cache.statistics().regions) == names

    run(loop_factory, scenario())


def test_a_file_that_defines_a_function_twice() -> None:
    """Elsewhere both may be in use, so the second is refused; so is one under a name that was chosen."""
    for options, names in (("", {"__file__": "main.py"}), (', name="numbers"', {})):
        cache = Cache()
        defined(cache, 1, options, **names)
        with pytest.raises(ConfigurationError, match="the name is taken; give another name="):
            defined(cache, 2, options, **names)


# ---- where it may be used

SHARED = Cache()


@caching(SHARED)
async def load_shared(number: int, name: str = "shoe") -> Product:
    return Product(number, name)


class Repository:
    @caching(SHARED)
    async def load(self, number: int) -> Product:
        return Product(number, "of a repository")


REPOSITORY = Repository()


def test_uses_of_a_coroutine_function(loop_factory: LoopFactory) -> None:
    """Tasks, gather, partial and further wrappers take it for the coroutine function it is."""

    async def scenario() -> None:
        first = await asyncio.create_task(load_shared(1))
        assert await functools.partial(load_shared, 1)() is first
        both: list[Product] = await asyncio.gather(*[load_shared(1), load_shared(1)])
        assert both == [first, first]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(load_shared(1))
        assert task.result() is first
        assert inspect.iscoroutine(coroutine := load_shared(1))
        assert await coroutine is first

    run(loop_factory, scenario())


def test_pickling_by_name() -> None:
    """A cached function and a cached method's function are pickled by their names, as functions are."""
    assert pickle.loads(pickle.dumps(load_shared)) is load_shared
    assert pickle.loads(pickle.dumps(Repository.load)) is Repository.load


def application() -> FastAPI:
    """Return an application whose dependencies and endpoints are cached, in every way FastAPI has."""
    app = FastAPI()
    cache = Cache()

    @caching(cache)
    async def product_of(number: int, name: str = "shoe") -> Product:
        return Product(number, name)

    @caching(cache)
    async def quoted(number: "int", name: "Annotated[str, Depends(name_of)]") -> "Product":
        return Product(number, name)

    @app.get("/dependency/{number}")
    async def dependency(product: Annotated[Product, Depends(product_of)]) -> Product:
        return product

    @app.get("/method-dependency/{number}")
    async def method_dependency(product: Annotated[Product, Depends(REPOSITORY.load)]) -> Product:
        return product

    @app.get("/request/{number}")
    @caching(cache, key=lambda number: number)
    async def with_request(request: Request, number: int) -> Product:
        return Product(number, request.url.path)

    app.get("/endpoint/{number}")(product_of)
    app.get("/quoted/{number}")(quoted)
    app.get("/method/{number}")(REPOSITORY.load)
    return app


async def name_of(name: str = "boot") -> str:
    return name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("dependency/7", "shoe"),
        ("dependency/7?name=hat", "hat"),
        ("method-dependency/7", "of a repository"),
        ("endpoint/7", "shoe"),
        ("endpoint/7?name=hat", "hat"),
        ("quoted/7", "boot"),
        ("quoted/7?name=hat", "hat"),
        ("method/7", "of a repository"),
        ("request/7", "/request/7"),
    ],
)
def test_fastapi(loop_factory: LoopFactory, path: str, name: str) -> None:
    """As a dependency or an endpoint it has the function's parameters, validated, and its answers from the cache."""

    async def scenario() -> None:
        transport = httpx.ASGITransport(application())
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            for _ in range(2):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()) == (200, {"number": 7, "name": name})
            wrong = await client.get(path.replace("7", "seven"))
            assert wrong.status_code == 422
            assert wrong.json()["detail"][0]["loc"] == ["path", "number"]

    run(loop_factory, scenario())
