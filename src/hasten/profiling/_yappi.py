"""yappi's engine: every call of every function, counted and timed, by endpoint.

yappi looks up a function by its tag when it is called and again when it returns, so a request's tag must be there
before its first call and stay. So for the time of a capture a task factory of our own, over those that are there,
gives the task of each request a context with its endpoint's tag: the endpoint is the template of the route that will
take it. Servers whose tasks are not known get no tags: their functions are of no endpoint.

yappi keeps functions and calls and no stacks.
"""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

from hasten._core.errors import InvalidMeasurement, MissingDependency
from hasten._core.routes import METHODS, OTHER_METHOD
from hasten.ledger import is_root
from hasten.monitor import Monitor, template_for
from hasten.profiling._names import named_frame
from hasten.profiling._options import CaptureOptions
from hasten.profiling._profile import Frame, Function, Profile, Requests

MOST_FUNCTIONS = 5000
"""Functions of a profile, those with the most own seconds; the others are added up as `(other)`."""
_MOST_ENDPOINTS = 200
_EAGER = sys.version_info >= (3, 12)
_POLL = 0.05
_PATIENCE = 0.5
_TAG: ContextVar[int] = ContextVar("hasten_profile_tag", default=0)
_METHOD = re.compile(r"<(?:method|slot wrapper) '(.+)' of '(.+)' objects>")
_ADDRESS = re.compile(r"<(?:\S+ )?(\S+) at 0x[0-9a-f]+>")
_COSTS = "yappi looks at every call: while it ran, the service was 3 to 5 times as slow, small functions most of all."


async def capture(monitor: Monitor, loop: asyncio.AbstractEventLoop, options: CaptureOptions) -> Profile:
    """Return what functions took while yappi ran for `options.seconds`.

    Args:
      loop: The app's: another one's than the caller's.
    Raises:
      MissingDependency: yappi is not installed.
      InvalidMeasurement: somebody else's yappi runs.
    Cancellation: stops yappi and puts everything back.
    """
    yappi = _yappi()
    if yappi.is_running():
        raise InvalidMeasurement("yappi", "it runs already, for somebody else", "wait, or take ledger or py-spy")
    tagger = Tagger(monitor.app)
    started, began = time.time(), time.monotonic()
    with _tagging(loop, tagger), _running(yappi, options.clock):
        try:
            await _sleep(loop, options.seconds)
        finally:
            yappi.stop()
        seconds = time.monotonic() - began
        functions, notes = _functions(yappi, tagger, options.endpoint)
    return Profile(
        engine="yappi",
        clock=options.clock,
        started=started,
        seconds=seconds,
        requests=tagger.requests(options.endpoint),
        functions=functions,
        notes=(_COSTS, *notes, *tagger.notes()),
    )


def _yappi() -> Any:
    try:
        import yappi  # type: ignore[import-untyped]  # optional
    except ModuleNotFoundError as error:
        if error.name != "yappi":
            raise
        raise MissingDependency("yappi", "profile") from error
    return yappi


async def _sleep(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Wait so long, or until `loop` is closed."""
    end = time.monotonic() + seconds
    while not loop.is_closed():
        left = end - time.monotonic()
        if left <= 0.0:
            return
        await asyncio.sleep(min(left, _POLL))


@contextmanager
def _running(yappi: Any, clock: str) -> Iterator[None]:
    """Run yappi in all threads; afterwards nothing of it is left, and its settings are what they were."""
    before = yappi.get_clock_type()
    yappi.clear_stats()
    try:
        yappi.set_clock_type(clock)
        yappi.set_tag_callback(_TAG.get)
        yappi.start(builtins=True, profile_threads=True)  # else what C functions take is nobody's
        yield
    finally:
        yappi.stop()
        yappi.clear_stats()
        yappi.set_tag_callback(None)
        yappi.set_clock_type(before)


@contextmanager
def _tagging(loop: asyncio.AbstractEventLoop, tagger: "Tagger") -> Iterator[None]:
    """Have the tasks of requests be made by `tagger`."""
    previous = loop.get_task_factory()
    tagger.previous = previous
    make = tagger.make
    loop.set_task_factory(make)
    try:
        yield
    finally:
        tagger.on = False
        if not loop.is_closed() and loop.get_task_factory() is make:
            loop.set_task_factory(previous)  # else somebody has one over ours, which passes all through now


class Tagger:
    """A task factory that gives each request's task the tag of its endpoint.

    Attributes:
      previous: The factory that makes the tasks; None for asyncio's own.
      make: What asyncio calls for every task; one bound method, so that it can be compared by identity.
      on: Whether it tags.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._tags: dict[str, int] = {}
        self._ended: dict[int, int] = {}
        self._untold = 0
        self.previous: Callable[..., Any] | None = None
        self.make: Callable[..., Any] = self._make
        self.on = True

    def _make(
        self, loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None, **options: Any
    ) -> "asyncio.Future[Any]":
        tag = 0
        if self.on and is_root(coro):
            try:
                tag = self._tag(coro)
                context = copy_context() if context is None else context
                context.run(_TAG.set, tag)
            except Exception:
                self._untold += 1  # whatever the server's object looks like: the request goes on
        if context is not None:
            options["context"] = context
        if not _EAGER:
            options.pop("eager_start", None)
        make = self.previous or _asyncios
        task: asyncio.Future[Any] = make(loop, coro, **options)
        if tag:
            task.add_done_callback(lambda _: self._count(tag))
        return task

    def _count(self, tag: int) -> None:
        if self.on:
            self._ended[tag] = self._ended.get(tag, 0) + 1

    def _tag(self, coro: Any) -> int:
        scope = _scope(coro)
        if scope is None or scope.get("type") != "http":
            return 0
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        template = template_for(self._app, method, path) if self._app is not None else path
        endpoint = f"{method} {template or '(no route)'}"
        if endpoint not in self._tags and len(self._tags) >= _MOST_ENDPOINTS:
            endpoint = "other"
        return self._tags.setdefault(endpoint, len(self._tags) + 1)

    def endpoints(self) -> list[tuple[str, int]]:
        """Return the endpoints that were asked for and their tags."""
        return list(self._tags.items())

    def requests(self, endpoint: str) -> tuple[Requests, ...]:
        """Return how many requests have ended, of all endpoints or of one."""
        counts = [(name, self._ended.get(tag, 0)) for name, tag in self._tags.items()]
        return tuple([Requests(name, count) for name, count in sorted(counts) if count and endpoint in {"", name}])

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know."""
        if self._untold:
            return (f"Of {self._untold} requests it is not known which endpoint they were of.",)
        return (
            ()
            if self._tags
            else ("No request has begun, or the server's tasks are not known: there are no endpoints.",)
        )


def _asyncios(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Future[Any]":
    return asyncio.Task(coro, loop=loop, **options)


def _scope(coro: Any) -> Any:
    """Return the ASGI scope of the request that a server's coroutine runs: uvicorn's cycle and granian's watcher."""
    places = coro.cr_frame.f_locals
    scope = getattr(places.get("self", places.get("watcher")), "scope", None)
    return scope if isinstance(scope, dict) else None


def _functions(yappi: Any, tagger: Tagger, endpoint: str) -> tuple[tuple[Function, ...], list[str]]:
    """Return what yappi has counted, of all endpoints and of none, or of one."""
    found = [
        _function(one, name)
        for name, tag in tagger.endpoints()
        if endpoint in {"", name}
        for one in yappi.get_func_stats(filter={"tag": tag})
    ]
    if not endpoint:
        found += _others(yappi)
    found.sort(key=lambda function: -function.own)
    kept, rest = found[:MOST_FUNCTIONS], found[MOST_FUNCTIONS:]
    if not rest:
        return tuple(kept), []
    spent = sum(one.own for one in rest)
    other = Function(Frame("(other)"), spent, spent, sum(one.count for one in rest))
    return (*kept, other), [f"{len(rest)} of the smallest functions, {spent:.3f} s in all, are added up as (other)."]


def _others(yappi: Any) -> list[Function]:
    """Return the functions of no request, those of hasten's own threads and of this one aside."""
    ours = {one.ident for one in threading.enumerate() if one.name.startswith("hasten-")} | {threading.get_ident()}
    sums: dict[Frame, Function] = {}
    for context in yappi.get_thread_stats():
        if context.tid not in ours:
            for one in yappi.get_func_stats(filter={"tag": 0, "ctx_id": context.id}):
                new = _function(one, "")
                old = sums.get(new.frame, Function(new.frame, 0.0, 0.0, 0))
                sums[new.frame] = Function(new.frame, old.own + new.own, old.total + new.total, old.count + new.count)
    return list(sums.values())


def _function(one: Any, endpoint: str) -> Function:
    name, module = one.name, one.module
    frame = Frame(_builtin_name(name, module)) if one.builtin else named_frame(name, module, one.lineno)
    return Function(frame, one.tsub, one.ttot, one.ncall, endpoint)


def _builtin_name(name: str, module: str) -> str:
    """Return `time.sleep`, `list.append` or `socket.close` of what yappi calls a function of C."""
    method = _METHOD.fullmatch(name)
    if method:
        return f"{method[2]}.{method[1]}"
    address = _ADDRESS.fullmatch(name)
    return address[1] if address else f"{module}.{name}"
