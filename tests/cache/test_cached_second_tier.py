"""Cached functions whose values go to a second tier."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from hasten._core.errors import ConfigurationError
from hasten.cache._cache import Cache
from hasten.cache._cached import Decorator, cached
from hasten.cache._policy import Loaded, Policy
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import run
from tests.conftest import LoopFactory

if TYPE_CHECKING:
    from decimal import Decimal as NotImported


@dataclass
class Product:
    number: int
    name: str = "shoe"


def caching(cache: Cache, ttl: float = 60.0, **options: Any) -> Decorator:
    return cached(cache, Policy(ttl=ttl, jitter=0.0), **options)


def test_processes_share_values(loop_factory: LoopFactory) -> None:
    """What one process has loaded another one takes from the second tier, as the type of the annotation."""

    async def scenario() -> None:
        store, loads = MemoryStore(), []

        async def load(number: int, names: frozenset[str] = frozenset({"a", "b"})) -> Product | Loaded[Product]:
            loads.append(number)
            return Loaded(value=Product(number), ttl=30)

        one, two = Cache(second=store), Cache(second=store)
        first = await caching(one)(load)(7)
        await one.aclose()
        assert await caching(two)(load)(7) == first == Product(7)
        assert loads == [7]
        await two.aclose()

    run(loop_factory, scenario())


async def returns_int(number: int) -> int:
    return number


async def returns_text(number: int) -> str:
    return str(number)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({}, {"version": "2"}),
        ({"version": "1"}, {"version": "2"}),
        ({}, {"function": returns_text}),
        ({}, {"namespace": "other"}),
        ({}, {"name": "other"}),
    ],
)
def test_what_makes_other_keys(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Another version, return type, namespace or name never reads what was stored before."""

    def text(namespace: str = "app", function: Any = returns_int, name: str = "load", **options: Any) -> str:
        wrapped = caching(Cache(namespace=namespace), name=name, **options)(function)
        return wrapped.region.text_of(wrapped.key(7))

    assert text() == text()
    assert text(**one) != text(**two)


class Reversed:
    """A codec of the user's."""

    def encode(self, value: str) -> bytes:
        return value[::-1].encode()

    def decode(self, data: bytes) -> str:
        return bytes(data).decode()[::-1]


def test_a_codec_of_the_users(loop_factory: LoopFactory) -> None:
    """A codec that is given writes and reads the values, and makes keys of its own."""

    async def scenario() -> None:
        store = MemoryStore()
        one, two, other = Cache(second=store), Cache(second=store), Cache(second=store)
        assert await caching(one, codec=Reversed(), name="texts")(returns_text)(71) == "71"
        await one.aclose()
        wrapped = caching(two, codec=Reversed(), name="texts")(returns_text)
        assert await wrapped(71) == "71"
        assert wrapped.region.counts.second_hits == 1
        unlike = caching(other, name="texts")(returns_text)
        assert unlike.region.text_of(71) != wrapped.region.text_of(71)
        await two.aclose()

    run(loop_factory, scenario())


def test_a_type_that_is_not_there(loop_factory: LoopFactory) -> None:
    """A return type that is known to type checkers only is refused where bytes must be made of it, not elsewhere."""

    async def load(number: int) -> "NotImported":
        raise LookupError

    assert caching(Cache())(load).peek(7) is None
    with pytest.raises(ConfigurationError, match=r"NotImported.*give codec="):
        caching(Cache(second=MemoryStore()))(load)


class Odd:
    """A class that no codec knows."""


def test_a_type_that_cannot_be_restored() -> None:
    """The refusal names the function and its annotation, and says how to have pickle."""

    async def load(number: int) -> Odd:
        return Odd()

    remedy = r"cached .*load: values of .*Odd: .*; or give codec=codec_for\(T, pickle_key=\.\.\.\)$"
    with pytest.raises(ConfigurationError, match=remedy):
        caching(Cache(second=MemoryStore()))(load)
