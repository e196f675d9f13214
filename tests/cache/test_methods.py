"""Cached methods: whose values they are, and how they look."""

import gc
import inspect
import weakref
from functools import wraps
from typing import Any

import pytest

from hasten._core.errors import ConfigurationError
from hasten.cache._cache import Cache
from hasten.cache._cached import Decorator, cached
from hasten.cache._policy import Policy
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import run
from tests.conftest import LoopFactory


def caching(cache: Cache | None = None, **options: Any) -> Decorator:
    return cached(cache or Cache(), Policy(ttl=60.0), **options)


class Repository:
    """Has a cached method of every kind; its values are lists with who loaded them."""

    cache = Cache()

    def __init__(self, name: str) -> None:
        self.name = name

    @caching(cache)
    async def load(self, product_id: int) -> list[object]:
        """Load one."""
        return [self.name, product_id]

    @caching(cache, key=lambda product_id: product_id)
    async def load_alike(self, product_id: int) -> list[object]:
        return [self.name, product_id]

    @caching(cache)
    @classmethod
    async def above_class(cls, product_id: int) -> list[object]:
        return [cls.__name__, product_id]

    @classmethod
    @caching(cache)
    async def below_class(cls, product_id: int) -> list[object]:
        return [cls.__name__, product_id]

    @caching(cache)
    @staticmethod
    async def above_static(product_id: int) -> list[object]:
        return [product_id]

    @staticmethod
    @caching(cache)
    async def below_static(product_id: int) -> list[object]:
        return [product_id]


class SubRepository(Repository):
    async def load(self, product_id: int) -> list[object]:  # type: ignore[override]
        return [*await super().load(product_id), "sub"]


def test_instances_have_values_of_their_own(loop_factory: LoopFactory) -> None:
    """A method's value belongs to its instance; the verbs of the bound method know the instance."""

    async def scenario() -> None:
        one, two = Repository("one"), Repository("two")
        first = await one.load(7)
        assert first == ["one", 7]
        assert await two.load(7) == ["two", 7]
        assert await one.load(7) is first
        assert one.load.peek(7) is first
        assert Repository.load.peek(one, 7) is first
        assert await Repository.load(one, product_id=7) is first
        assert await one.load.refresh(7) is not first
        assert await one.load.invalidate(7)
        assert one.load.peek(7) is None
        assert two.load.peek(7) == ["two", 7]
        assert await SubRepository("three").load(7) == ["three", 7, "sub"]

    run(loop_factory, scenario())


def test_key_without_self_shares_among_instances(loop_factory: LoopFactory) -> None:
    """A method whose `key` does not take `self` has one value for all instances."""

    async def scenario() -> None:
        assert await Repository("one").load_alike(7) == ["one", 7]
        assert await Repository("two").load_alike(7) == ["one", 7]

    run(loop_factory, scenario())


@pytest.mark.parametrize("name", ["above_class", "below_class"])
def test_class_methods(loop_factory: LoopFactory, name: str) -> None:
    """A class method's value belongs to the class, whichever decorator is the upper one."""

    async def scenario() -> None:
        first = await getattr(Repository, name)(7)
        assert first == ["Repository", 7]
        assert await getattr(Repository("any"), name)(7) is first
        assert await getattr(SubRepository, name)(7) == ["SubRepository", 7]
        assert await getattr(SubRepository("any"), name)(7) == ["SubRepository", 7]

    run(loop_factory, scenario())


def test_verbs_of_class_methods(loop_factory: LoopFactory) -> None:
    """The verbs of a class method below the cache's decorator know the class."""

    async def scenario() -> None:
        first = await Repository.above_class(8)
        assert Repository.above_class.peek(8) is first
        assert SubRepository.above_class.peek(8) is None
        assert await Repository("any").above_class.invalidate(8)
        assert Repository.above_class.peek(8) is None

    run(loop_factory, scenario())


@pytest.mark.parametrize("name", ["above_static", "below_static"])
def test_static_methods(loop_factory: LoopFactory, name: str) -> None:
    """A static method is a function like any other, whichever decorator is the upper one."""

    async def scenario() -> None:
        first = await getattr(Repository, name)(7)
        assert await getattr(SubRepository("any"), name)(7) is first
        assert getattr(Repository, name).peek(7) is first
        assert await getattr(Repository("any"), name).invalidate(7)

    run(loop_factory, scenario())


@pytest.mark.parametrize("name", ["load", "above_class", "below_class", "above_static", "below_static"])
def test_the_look_of_methods(name: str) -> None:
    """Methods are coroutine functions, have their names and, bound, the parameters of a call."""
    for method in (getattr(Repository("any"), name), getattr(Repository, name)):
        assert inspect.iscoroutinefunction(method)
        assert method.__name__ == name
    assert list(inspect.signature(getattr(Repository("any"), name)).parameters) == ["product_id"]
    assert list(inspect.signature(Repository.load).parameters) == ["self", "product_id"]
    assert Repository.load.__doc__ == "Load one."


def test_a_collected_instance_is_not_confused_with_a_later_one(loop_factory: LoopFactory) -> None:
    """An instance at the address of a collected one loads for itself; the cache keeps none of them alive."""

    class Source:
        def __init__(self, number: int) -> None:
            self.number = number

        @caching()
        async def load(self) -> int:
            return self.number

    async def scenario() -> None:
        addresses = set()
        for number in range(50):
            source = Source(number)
            addresses.add(id(source))
            reference = weakref.ref(source)
            assert await source.load() == number
            assert await source.load() == number
            del source
            if reference() is not None:  # a collection takes 0.2 s in a run of all tests
                gc.collect()
            assert reference() is None
        assert len(addresses) < 50  # or the test has shown nothing

    run(loop_factory, scenario())


def test_an_instance_without_weak_references_is_refused() -> None:
    """An instance that cannot be followed by a weak reference is refused, with what to do."""

    class Slotted:
        __slots__ = ()

        @caching()
        async def load(self) -> int:
            return 1

    with pytest.raises(
        ConfigurationError, match=r"load\(self\): .*Slotted cannot be referred to weakly; .*__cache_key__"
    ):
        Slotted().load.key()


class Tenant:
    cache = Cache(second=MemoryStore())

    def __init__(self, name: str) -> None:
        self.name = name

    def __cache_key__(self) -> str:
        return self.name

    @caching(cache)
    async def load(self) -> list[str]:
        return [self.name]


def test_instances_with_a_key_of_their_own(loop_factory: LoopFactory) -> None:
    """Instances with equal `__cache_key__` share their values, in all processes."""

    async def scenario() -> None:
        first = await Tenant("a").load()
        assert await Tenant("a").load() is first
        assert await Tenant("b").load() == ["b"]
        texts = [Tenant.load.region.text_of(Tenant(name).load.key()) for name in "aab"]
        assert texts[0] == texts[1] != texts[2]
        await Tenant.cache.aclose()

    run(loop_factory, scenario())


def test_an_identity_is_no_key_for_other_processes(loop_factory: LoopFactory) -> None:
    """With a second tier an instance without `__cache_key__` is refused: others would take its values for theirs."""
    cache = Cache(second=MemoryStore())

    class Source:
        @caching(cache)
        async def load(self) -> int:
            return 1

    with pytest.raises(
        ConfigurationError, match=r"load\(self\): which .*Source it is means nothing to other processes"
    ):
        run(loop_factory, Source().load())


def test_other_decorators_may_stand_above(loop_factory: LoopFactory) -> None:
    """A decorator above the cache's finds a coroutine function with the method's name."""

    def counted(function: Any) -> Any:
        assert inspect.iscoroutinefunction(function)

        @wraps(function)
        async def wrapper(*arguments: Any) -> Any:
            return await function(*arguments), function.__name__

        return wrapper

    class Source:
        @counted
        @caching()
        async def load(self, number: int) -> int:
            return number

    assert run(loop_factory, Source().load(7)) == (7, "load")
