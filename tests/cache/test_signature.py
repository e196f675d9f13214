"""What the generated functions take, how they look, and how they tell arguments apart."""

import inspect
import linecache
import traceback
import typing
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, NewType
from uuid import UUID

import pytest

from hasten._core.errors import ConfigurationError
from hasten.cache._cache import Cache
from hasten.cache._cached import Decorator, cached
from hasten.cache._policy import Policy
from hasten.ledger._sites import SiteTable
from tests.cache.running import run
from tests.conftest import LoopFactory


def caching(cache: Cache | None = None, **options: Any) -> Decorator:
    return cached(cache or Cache(), Policy(ttl=60.0), **options)


class Wish(IntEnum):
    ONE = 1


ProductId = NewType("ProductId", int)


async def nothing() -> int:
    return 0


async def several(
    one: int, two: "str" = "2", /, three: float | None = None, *more: int, four: bool, five: Any = None, **rest: object
) -> tuple[Any, ...]:
    """Takes everything."""
    return one, two, three, more, four, five, rest


async def keywords(*, a: int = 1, b: int = 2) -> tuple[int, int]:
    return a, b


async def varying(*numbers: int) -> tuple[int, ...]:
    return numbers


async def options(**given: int) -> dict[str, int]:
    return given


async def awkward(_get: int, __load: int, _: int, key: int, entry: int, type: int, self: int, region: int) -> list[int]:  # noqa: A002
    return [_get, __load, _, key, entry, type, self, region]


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (nothing, (), {}),
    (several, (1,), {"four": True}),
    (several, (1, "a", 2.5, 7, 8), {"four": False, "five": [1, {2}], "other": "x", "one": "as an option"}),
    (several, (1, "a"), {"four": False, "three": 1.5}),
    (keywords, (), {}),
    (keywords, (), {"b": 3}),
    (varying, (), {}),
    (varying, (1, 2, 3), {}),
    (options, (), {}),
    (options, (), {"b": 1, "a": 2}),
    (awkward, tuple(range(8)), {}),
    (awkward, tuple(range(6)), {"region": 7, "self": 6}),
]


@pytest.mark.parametrize(("function", "arguments", "named"), CALLS)
def test_arguments_arrive(
    loop_factory: LoopFactory, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """The function gets its arguments as it was called, of every kind and whatever their names; then there is a hit."""

    async def scenario() -> None:
        wrapped: Any = caching()(function)
        expected = await function(*arguments, **named)
        assert wrapped.peek(*arguments, **named) is None
        first = await wrapped(*arguments, **named)
        assert first == expected
        assert await wrapped(*arguments, **named) is first
        assert wrapped.peek(*arguments, **named) is first
        assert (wrapped.region.counts.hits, wrapped.region.counts.loads) == (2, 1)
        assert await wrapped.refresh(*arguments, **named) == expected
        assert await wrapped.invalidate(*arguments, **named)
        assert wrapped.peek(*arguments, **named) is None

    run(loop_factory, scenario())


WRONG_CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (nothing, (1,), {}),
    (several, (), {"four": True}),
    (several, (1,), {}),
    (keywords, (1,), {}),
    (keywords, (), {"c": 1}),
    (varying, (), {"numbers": 1}),
    (awkward, (1, 2), {"_get": 3}),
]


@pytest.mark.parametrize(("function", "arguments", "named"), WRONG_CALLS)
def test_wrong_calls(function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A wrong call raises the TypeError that the function itself raises, at the call; the verbs name themselves."""
    wrapped: Any = caching()(function)
    with pytest.raises(TypeError) as expected:
        function(*arguments, **named)
    with pytest.raises(TypeError) as raised:
        wrapped(*arguments, **named)
    assert str(raised.value) == str(expected.value)
    for verb in ("peek", "refresh", "invalidate", "key"):
        with pytest.raises(TypeError) as raised:
            getattr(wrapped, verb)(*arguments, **named)
        assert str(raised.value) == str(expected.value).replace("()", f".{verb}()", 1)


def test_defaults_are_the_same_objects(loop_factory: LoopFactory) -> None:
    """A default is the object itself, not a text of it, and counts like the same value given."""
    default = ["a"]

    async def load(names: list[str] = default) -> list[str]:
        return names

    wrapped = caching()(load)

    async def scenario() -> None:
        assert await wrapped() is default
        assert await wrapped(["a"]) is default
        assert await wrapped(["b"]) == ["b"]

    run(loop_factory, scenario())


@pytest.mark.parametrize("function", [nothing, several, keywords, varying, options, awkward])
def test_the_look_of_the_function(function: Callable[..., Any]) -> None:
    """Name, documentation, module, annotations, signature and globals are the original's; it is an `async def`."""
    wrapped: Any = caching()(function)
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__", "__globals__"):
        assert getattr(wrapped, name) == getattr(function, name)
    assert inspect.signature(wrapped) == inspect.signature(function)
    own = inspect.signature(wrapped, follow_wrapped=False)
    assert [(p.name, p.kind, p.default) for p in own.parameters.values()] == [
        (p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()
    ]
    assert typing.get_type_hints(wrapped) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(wrapped)
    assert wrapped.__wrapped__ is function
    assert inspect.isfunction(wrapped)
    assert wrapped.__code__.co_qualname == function.__qualname__


def test_tracebacks_show_generated_lines(loop_factory: LoopFactory) -> None:
    """A traceback through the generated code shows its lines, under a name that says whose they are."""

    @caching()
    async def fail(number: int) -> int:
        raise LookupError(number)

    with pytest.raises(LookupError) as raised:
        run(loop_factory, fail(7))
    shown = "".join(traceback.format_exception(raised.value))
    assert "<cached tests.cache.test_signature.test_tracebacks_show_generated_lines.<locals>.fail>" in shown
    assert "return await _load(" in shown


def test_the_ledger_takes_generated_code_for_ours() -> None:
    """The ledger names the user's lines, not those that were generated."""
    wrapped: Any = caching()(nothing)
    assert SiteTable().package(wrapped.__code__) == "hasten"


def test_functions_of_one_name_keep_their_lines() -> None:
    """Two functions of one name and other parameters have a source each."""

    def make(name: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "shop"}
        exec(f"async def load({name}): return 1", namespace)
        return caching()(namespace["load"])

    one, two, three = make("a"), make("b"), make("a")
    assert one.__code__.co_filename != two.__code__.co_filename
    assert one.__code__.co_filename == three.__code__.co_filename
    assert "    async def load(b):\n" in linecache.getlines(two.__code__.co_filename)


# ---- keys of arguments


class Strange(int):
    pass


VALUES = [1, 1.0, True, "1", b"1", Wish.ONE, Strange(1), None, UUID(int=1), (1,), [1]]


@pytest.mark.parametrize(
    "annotation",
    [int, str, bytes, bool, UUID, float, Any, int | None, "int", "Missing", ProductId, Annotated[int, "id"]],
)
def test_types_are_told_apart_whatever_is_annotated(loop_factory: LoopFactory, annotation: Any) -> None:
    """Values that Python takes for equal are loaded apart, whether the annotation expects them or not."""

    async def load(value: Any, other: int = 0) -> list[Any]:
        return [value]

    load.__annotations__["value"] = annotation
    wrapped: Any = caching()(load)

    async def scenario() -> None:
        for value in VALUES:
            (loaded,) = await wrapped(value)
            assert type(loaded) is type(value)
        for value in VALUES:
            (loaded,) = await wrapped(value)
            assert loaded is value
        assert wrapped.region.counts.loads == len(VALUES)

    run(loop_factory, scenario())


def test_annotations_do_not_change_keys() -> None:
    """The quick way of an annotated type makes the keys that the general way makes."""

    def keyed(annotation: Any) -> Any:
        async def load(value: Any) -> int:
            return 1

        load.__annotations__["value"] = annotation
        return caching()(load)

    for value in VALUES:
        keys = {keyed(annotation).key(value) for annotation in (int, str, bytes, bool, UUID, object)}
        assert len(keys) == 1


def test_a_proxy_is_not_taken_for_what_it_stands_for() -> None:
    """An object that says it is an int by `__class__` is refused as what it is."""

    class Proxy:
        __class__ = int  # type: ignore[assignment]

    async def load(number: int) -> int:
        return number

    with pytest.raises(ConfigurationError, match="Proxy has no stable value"):
        caching()(load).key(Proxy())  # type: ignore[arg-type]


def test_a_refused_argument_is_named() -> None:
    """An argument without a stable value is refused at the first call, by its name."""

    async def load(product_id: int, session: object) -> int:
        return product_id

    with pytest.raises(
        ConfigurationError, match=r"load\(session\): an instance of builtins.object has no stable value"
    ):
        caching()(load).key(7, object())


def test_key_takes_the_arguments_that_count(loop_factory: LoopFactory) -> None:
    """`key` takes some of the arguments, by name and in any order, and decides alone."""

    async def load(session: object, product_id: int, /, *parts: str, language: str = "en") -> object:
        return session

    wrapped = caching(key=lambda language, product_id, parts: (product_id, language.lower(), parts))(load)

    async def scenario() -> None:
        first = object()
        assert await wrapped(first, 7, "a") is first
        assert await wrapped(object(), 7, "a", language="EN") is first
        assert await wrapped(object(), 8, "a") is not first
        assert await wrapped(object(), 7, "b") is not first

    run(loop_factory, scenario())


def test_tags_take_the_arguments_they_need(loop_factory: LoopFactory) -> None:
    """`tags` takes some of the arguments, by name, and is not called for a hit."""
    calls = []

    def tags(product_id: int, *, language: str, prefix: str = "product") -> list[str]:
        calls.append(product_id)
        return [f"{prefix}:{product_id}", language]

    async def load(product_id: int, language: str = "en") -> list[int]:
        return [product_id]

    cache = Cache()
    wrapped = caching(cache, tags=tags)(load)

    async def scenario() -> None:
        first = await wrapped(7)
        assert await wrapped(7) is first
        assert calls == [7]
        await cache.invalidate_tags("product:8", "de")
        assert await wrapped(7) is first
        await cache.invalidate_tags("product:7")
        second = await wrapped(7)
        assert second is not first
        await cache.invalidate_tags("en")
        assert await wrapped(7) is not second

    run(loop_factory, scenario())


@pytest.mark.parametrize("option", ["key", "tags"])
@pytest.mark.parametrize(
    ("taker", "problem"),
    [
        (lambda product: [product], r"takes product, .*by name, product_id, language"),
        (lambda *product_id: [product_id], r"takes \*product_id"),
        (lambda **language: [language], r"takes \*\*language"),
        (str, "no parameters to be seen"),
    ],
)
def test_wrong_takers_are_refused(option: str, taker: Callable[..., Any], problem: str) -> None:
    """A `key` or `tags` that wants what is no argument is refused when the function is decorated."""

    async def load(product_id: int, language: str = "en") -> int:
        return product_id

    with pytest.raises(ConfigurationError, match=f"{option}=: .*{problem}"):
        caching(None, **{option: taker})(load)


@pytest.mark.parametrize(
    ("tags", "problem"), [("products", r"no list of tags: 'products'; write \['products'\]"), ([7], "7 is no text")]
)
def test_wrong_tags_are_refused(loop_factory: LoopFactory, tags: Any, problem: str) -> None:
    """A text in the place of tags, and tags that are no texts, are refused: nobody could invalidate them."""

    async def load(product_id: int) -> int:
        return product_id

    with pytest.raises(ConfigurationError, match=f"tags=.*{problem}"):
        caching(tags=tags)(load)
    with pytest.raises(ConfigurationError, match=f"load tags=: .*{problem}"):
        run(loop_factory, caching(tags=lambda product_id: tags)(load)(7))
