"""The decorator: `@cache.cached(ttl=30)` makes an `async def` function answer from the cache.

The result is a plain `async def` function with the original's parameters (`hasten.cache._signature`), so that FastAPI,
`functools.partial`, `create_task` and pickle take it for the original. Its verbs are attributes with the same
parameters: `load_product.invalidate(7)`.

A method's instance is part of the key (`hasten.cache._instances`); of a class method it is the class. Written inside a
class, `cached` makes a descriptor, so that `repository.load_product.invalidate(7)` knows the repository. It may stand
above or below `@staticmethod` and `@classmethod`; but below `@classmethod`, from Python 3.13 on, the verbs do not know
the class: it is their first argument.
"""

import inspect
from collections.abc import Callable, Coroutine, Hashable, Iterable
from functools import partial, update_wrapper
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

from hasten._core.errors import ConfigurationError
from hasten.cache._annotations import annotation_of, parameters_of, raw_annotations
from hasten.cache._checks import checked_tags
from hasten.cache._codec import Codec, codec_for
from hasten.cache._fingerprint import fingerprint
from hasten.cache._keys import TextKeys, class_name
from hasten.cache._policy import Loaded, Policy
from hasten.cache._region import Region
from hasten.cache._regions import add_region
from hasten.cache._signature import Plan, Receiver, generate

if TYPE_CHECKING:
    from hasten.cache._cache import Cache

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Instance = TypeVar("Instance")
Tags = Callable[..., Iterable[str]] | Iterable[str]


class CachedFunction(Protocol[P, R_co]):
    """What type checkers see of a cached function: the function, and its verbs with the same parameters.

    Attributes:
      region: Its part of the cache: counts, policy, and what is to be done by key.
    """

    __name__: str
    region: Region[Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Return the value for these arguments; loads it if need be, see `Region.load`."""

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R_co | None:
        """Return the value if memory may serve it now, else None; loads nothing, waits for nothing.

        Where None is a value too, `region.peek(f.key(...))` tells it from nothing.
        """

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Load the value anew, whatever there is, and return it; see `Region.refresh`."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, bool]:
        """Drop the value in every process; return whether all know; see `Region.invalidate`."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> Hashable:
        """Return the key of these arguments in `region`."""

    @overload
    def __get__(self, instance: None, owner: type, /) -> "CachedFunction[P, R_co]": ...
    @overload
    def __get__(
        self: "CachedFunction[Concatenate[Instance, Q], R_co]", instance: Instance, owner: type | None = None, /
    ) -> "CachedFunction[Q, R_co]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> "CachedFunction[P, R_co]": ...


class CachedClassMethod(CachedFunction[Concatenate[Any, P], R_co], Protocol[P, R_co]):
    """What type checkers see of a cached class method: bound by its class and by instances alike.

    It is also what they see of a function whose first parameter may be a class, an `object` for example; then that
    parameter has no name.
    """

    def __get__(  # type: ignore[override]  # fewer ways
        self, instance: object, owner: type | None = None, /
    ) -> CachedFunction[P, R_co]: ...


class Decorator(Protocol):
    """Makes an `async def` function a cached one."""

    # mypy takes classmethod and staticmethod off before it calls a decorator, whatever their order; others do not.
    @overload
    def __call__(
        self, function: "classmethod[Any, P, Coroutine[Any, Any, R | Loaded[R]]]", /
    ) -> CachedClassMethod[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[type[Any], P], Coroutine[Any, Any, R | Loaded[R]]], /
    ) -> CachedClassMethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, Loaded[R]]], /) -> CachedFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R | Loaded[R]]], /) -> CachedFunction[P, R]: ...


def cached(
    cache: "Cache",
    policy: Policy,
    *,
    tags: Tags | None = None,
    key: Callable[..., Any] | None = None,
    name: str | None = None,
    version: str = "",
    codec: Codec[Any] | None = None,
    shared: bool = True,
) -> Decorator:
    """Return a decorator for `async def` functions; `Cache.cached` is how users get it.

    Args:
      tags: Of the values: texts, or a function that takes the arguments it needs, by their names, and returns texts.
      key: Takes the arguments that tell the values apart, by their names, and returns something with a key of its own
        (`hasten.cache._keys`); without it all arguments are the key. Of a method it decides alone: its instance is part
        of the key if `key` takes `self`.
      name: Of the region; the function's module and qualified name by default.
      version: Change it when values of the second tier must not be read any more. What the return annotation says of
        the values' form counts by itself (`hasten.cache._fingerprint`).
      codec: Makes bytes of the values, instead of the one that follows from the return annotation.
      shared: False keeps the values out of the second tier. Their keys and tags are those of all processes still: an
        invalidation reaches each.
    Raises:
      ConfigurationError: the decorated thing is no `async def` function; its values cannot be written to the second
        tier; `tags` or `key` takes what is no argument; the region's name is taken; a codec has no use.
    """
    known_tags = tags if callable(tags) else checked_tags(tags or (), "cached(tags=)")
    if codec is not None and not shared:
        problem = "codec= makes bytes for the second tier, where no value goes"
        raise ConfigurationError("cached(shared=False)", problem, "leave one of them out")

    def decorate(function: Any) -> Any:
        plain = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        _require_async(plain)
        region = _region(cache, policy, plain, name=name, version=version, codec=codec, shared=shared)
        receiver = _receiver(plain, function)
        made = generate(Plan(plain, region, receiver, key, known_tags, cache.has_second))
        call: Any = made.call
        call.peek, call.refresh, call.invalidate, call.key = made.peek, made.refresh, made.invalidate, made.key
        call.region = region
        add_region(region.core, region, replaces=name is None and _is_of_a_notebook(plain))
        if isinstance(function, staticmethod):
            return staticmethod(call)
        if isinstance(function, classmethod):
            return _CachedClassMethod(call)
        return _CachedMethod(call) if receiver else call

    return decorate


# ---- what is decorated


def _require_async(function: Any) -> None:
    if inspect.isfunction(function) and inspect.iscoroutinefunction(function):
        return
    name = getattr(function, "__qualname__", repr(function))
    problem = "is no `async def` function"
    remedy = "only what is awaited can be loaded once for all who wait"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        problem, remedy = "is a generator, whose values cannot be given twice", "return a list"
    elif not inspect.isfunction(function):
        remedy = "decorate the function itself"
    raise ConfigurationError(f"cached {name}", problem, remedy)


def _receiver(function: Callable[..., Any], decorated: object) -> Receiver:
    """Return what a function's first parameter is, judged by its name and by where the function is written."""
    if isinstance(decorated, classmethod):
        return "cls"
    owner = function.__qualname__.rpartition(".")[0]
    parameters = parameters_of(function)
    if isinstance(decorated, staticmethod) or not owner or owner.endswith("<locals>") or not parameters:
        return ""
    first = parameters[0].name
    return "self" if first == "self" else "cls" if first == "cls" else ""


def _region(
    cache: "Cache",
    policy: Policy,
    function: Any,
    *,
    name: str | None,
    version: str,
    codec: Codec[Any] | None,
    shared: bool,
) -> Region[Any]:
    """Return a new region for a function's values, which the cache does not know yet."""
    name = name or f"{function.__module__}.{function.__qualname__}"
    codec_name = "" if codec is None else class_name(type(codec))
    needs_codec = codec is None and shared and cache.has_second
    annotation: Any
    try:
        annotation = _value_type(annotation_of(function, "return"))
    except Exception as error:
        if needs_codec:
            problem = f"returns what is not known when it runs: {error}"
            raise ConfigurationError(f"cached {name}", problem, "import it, or give codec=") from error
        annotation = str(raw_annotations(function)["return"])
    texts = TextKeys(cache.namespace, name, fingerprint(annotation, version, codec_name))
    if needs_codec:
        codec = _codec_for(annotation, name)
    return Region(cache._core, name, policy, codec, texts)  # noqa: SLF001 - `Cache.cached` is all that calls this


def _codec_for(annotation: Any, name: str) -> Codec[Any]:
    try:
        return codec_for(annotation)
    except ConfigurationError as error:
        problem = f"{error.where.removeprefix('cached ')}: {error.problem}"
        raise ConfigurationError(f"cached {name}", problem, error.remedy) from error


def _is_of_a_notebook(function: Callable[..., Any]) -> bool:
    """Whether a function is defined at a prompt or in a notebook's cell, where it may be defined anew."""
    is_interactive = function.__module__ == "__main__" and "__file__" not in function.__globals__
    return is_interactive and "<locals>" not in function.__qualname__


def _value_type(annotation: Any) -> Any:
    """Return the type of the values behind a return annotation: `Product` of `Product | Loaded[Product]`."""
    if annotation is None or annotation is Loaded:
        return Any
    if get_origin(annotation) is Loaded:
        return get_args(annotation)[0]
    if get_origin(annotation) not in {Union, UnionType}:
        return annotation
    types = tuple(dict.fromkeys(map(_value_type, get_args(annotation))))
    return Union[types]  # noqa: UP007  of types that are known only now


# ---- methods


class _Bound(partial[Any]):
    """A cached method of one instance, or class method of one class: a partial, so that it is a coroutine function.

    It adds 0.3 µs to a hit. Python's own bound method adds 0.02, but has no verbs of its own: `repository.load.peek` is
    its function's, which does not know the repository.
    """

    __slots__ = ()

    @property
    def peek(self) -> Callable[..., Any]:
        return partial(self.func.peek, *self.args)  # type: ignore[attr-defined]

    @property
    def refresh(self) -> Callable[..., Any]:
        return partial(self.func.refresh, *self.args)  # type: ignore[attr-defined]

    @property
    def invalidate(self) -> Callable[..., Any]:
        return partial(self.func.invalidate, *self.args)  # type: ignore[attr-defined]

    @property
    def key(self) -> Callable[..., Hashable]:
        return partial(self.func.key, *self.args)  # type: ignore[attr-defined]

    @property
    def __self__(self) -> Any:
        return self.args[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in {"__name__", "__qualname__", "__globals__"}:
            raise AttributeError(name)  # __code__ and __wrapped__ have one parameter more
        return getattr(self.func, name)


class _CachedMethod(partial[Any]):
    """What a cached method is in its class: a descriptor, and a coroutine function for decorators above."""

    def __init__(self, call: Callable[..., Any], /) -> None:
        update_wrapper(self, call)

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., Any]:
        return self.func if instance is None else _Bound(self.func, instance)


class _CachedClassMethod(_CachedMethod):
    """What a cached class method is in its class."""

    def __get__(self, instance: object, owner: type | None = None) -> _Bound:
        return _Bound(self.func, type(instance) if owner is None else owner)
