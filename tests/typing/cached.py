"""How a type checker sees cached functions; checked by mypy, never run."""

import asyncio
from collections.abc import Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, assert_type

from hasten.cache import CacheStatistics
from hasten.cache._cache import Cache
from hasten.cache._cached import CachedFunction, cached
from hasten.cache._policy import Loaded, Policy
from hasten.resilience import BreakerStatistics


@dataclass
class Product:
    name: str


cache = Cache()
policy = Policy(ttl=30)


@cached(cache, policy, tags=lambda product_id: [f"product:{product_id}"])
async def load_product(product_id: int, language: str = "en") -> Product:
    return Product(f"{product_id} {language}")


@cached(cache, policy, tags=["products"], key=lambda query: query.strip(), name="search", version="2")
async def search(query: str, *, limit: int | None = None) -> list[Product] | None:
    return [Product(query)] * (limit or 1)


@cache.cached(ttl=30, shared=False)
async def load_for_this_process(product_id: int) -> Product:
    return Product(str(product_id))


@cache.cached(policy=policy, shared=False)
async def load_by_policy(product_id: int) -> Product | Loaded[Product]:
    return Loaded(value=Product(str(product_id)), tags=("products",))


@cached(cache, policy)
async def load_page(path: str) -> str | Loaded[str]:
    return Loaded(value=path, ttl=5)


@cached(cache, policy)
async def load_short_page(path: str) -> Loaded[bytes]:
    return Loaded(value=path.encode(), ttl=5)


@cached(cache, policy)
async def load_object(thing: object, number: int) -> str:
    return f"{thing} {number}"


class Repository:
    @cached(cache, policy)
    async def load(self, product_id: int) -> Product:
        return Product(str(product_id))

    @cached(cache, policy)
    @classmethod
    async def load_default(cls, language: str) -> Product:
        return Product(language)

    @classmethod
    @cached(cache, policy)
    async def load_other(cls, language: str) -> Product:
        return Product(language)

    @cached(cache, policy)
    @staticmethod
    async def load_static(language: str) -> Product:
        return Product(language)

    @staticmethod
    @cached(cache, policy)
    async def load_static_below(language: str) -> Product:
        return Product(language)


async def use(repository: Repository) -> None:
    assert_type(await load_product(7), Product)
    assert_type(await load_product(7, language="de"), Product)
    assert_type(load_product.peek(7), Product | None)
    assert_type(await load_product.refresh(7), Product)
    assert_type(await load_product.invalidate(7), bool)
    assert_type(load_product.key(7), Hashable)
    assert_type(load_product.region.counts.hits, int)
    assert_type(await search("shoe", limit=3), list[Product] | None)
    assert_type(search.peek("shoe"), list[Product] | None)
    assert_type(await load_for_this_process(7), Product)
    assert_type(await load_for_this_process.invalidate(7), bool)
    assert_type(load_by_policy.peek(7), Product | None)
    assert_type(await load_page("/"), str)
    assert_type(await load_object("/", number=1), str)
    assert_type(await load_object.invalidate("/", 1), bool)
    assert_type(await load_short_page("/"), bytes)
    assert_type(await asyncio.create_task(load_product(7)), Product)
    bound: partial[Coroutine[Any, Any, Product]] = partial(load_product, 7)
    assert_type(await bound(), Product)
    as_function: CachedFunction[[int], Product] = repository.load
    assert_type(await as_function(7), Product)

    assert_type(await repository.load(7), Product)
    assert_type(repository.load.peek(7), Product | None)
    assert_type(await repository.load.invalidate(7), bool)
    assert_type(await Repository.load(repository, 7), Product)
    assert_type(await Repository.load_default("en"), Product)
    assert_type(await Repository.load_default.invalidate("en"), bool)
    assert_type(await repository.load_default.refresh("en"), Product)
    assert_type(await Repository.load_other("en"), Product)
    assert_type(await repository.load_other.invalidate("en"), bool)
    assert_type(await Repository.load_static("en"), Product)
    assert_type(await Repository.load_static.invalidate("en"), bool)
    assert_type(await Repository.load_static_below("en"), Product)
    assert_type(await Repository.load_static_below.invalidate("en"), bool)


async def misuse(repository: Repository) -> None:
    await load_product("7")  # type: ignore[arg-type]
    await load_product()  # type: ignore[call-arg]
    load_product.peek(id=7)  # type: ignore[call-arg]
    await load_product.refresh("7")  # type: ignore[arg-type]
    await load_product.invalidate(7, 8)  # type: ignore[arg-type]
    await repository.load("7")  # type: ignore[arg-type]
    await repository.load.invalidate(repository, 7)  # type: ignore[call-arg, arg-type]


@cached(cache, policy)  # type: ignore[arg-type]
def not_async(product_id: int) -> int:
    return product_id


cache.cached(ttl=30, shared=0)  # type: ignore[call-overload]


def watch() -> None:
    statistics = cache.statistics()
    assert_type(statistics, CacheStatistics)
    assert_type(statistics.second_failures, int)
    assert_type(statistics.breaker, BreakerStatistics | None)
    if statistics.breaker is not None:
        assert_type(statistics.breaker.state, Literal["closed", "open", "half-open"])
