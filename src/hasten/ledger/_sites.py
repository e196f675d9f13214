"""Where a coroutine is suspended and where a thread stands: from frames and `cr_await` chains to `Site`s.

Walking costs 0.1 µs a level and a FastAPI handler stands 18 levels deep, so each task remembers the innermost and the
outermost user coroutine of its last suspension and starts at the first that is still suspended. Sites are interned by
the identities of their code objects (hashing a code object itself hashes its bytecode: 1 µs on 3.12).
"""

import dis
import gc
import inspect
import os
import sys
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

from hasten.ledger._account import Site

if TYPE_CHECKING:
    from hasten.ledger._records import TaskRecord

_STDLIB = str(Path(os.__file__).parent) + os.sep
_HASTEN = str(Path(__file__).parent.parent) + os.sep
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
FRAMEWORKS = frozenset({"uvicorn", "starlette", "fastapi", "granian", "hasten"})
_OURS_AND_PYTHONS = frozenset({"hasten", "python", *sys.stdlib_module_names})
# Innermost functions of a loop's thread when it runs nobody's code: uvloop's loop has no frame of its own.
IDLE = frozenset(
    {
        "asyncio.BaseEventLoop._run_once",
        "asyncio.BaseEventLoop.run_forever",
        "asyncio.BaseEventLoop.run_until_complete",
        "asyncio.Runner.run",
        "selectors.EpollSelector.select",
        "uvicorn.asyncio_run",
        "uvloop.run",
    }
)
_MOST_LEVELS = 128
_MOST_SITES = 20_000  # code that is generated again and again must not fill the memory
_IDENTITY_LEVELS = 4
_MOST_IDENTITY = 256
_CACHE = "cache "  # so the names of a cache's waits begin, and those of functions do not
# Awaitables that hide what they wait for; gc.get_referents is the only way through (3.11 to 3.14).
OPAQUE = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable")

START = 0
"""Index of the site of a task that has not run yet."""
YIELDED = 1
"""Index of the site of a task that gave way (`asyncio.sleep(0)`, a bare yield)."""
OWN = 2
"""Index of the site of own code of which nothing better is known."""


class SiteTable:
    """Interned sites. One per ledger; written by the loop's thread and the watchdog (dict operations are atomic).

    Attributes:
      sites: All sites by index.
      own_of: What `own` has returned, by index.
      cache_waits: Indexes of the sites at which a cache waits.
    """

    __slots__ = ("_ends", "_index", "_keep", "_packages", "_parameters", "cache_waits", "own_of", "sites")

    def __init__(self) -> None:
        self.sites: list[Site] = [Site(leaf="start"), Site(leaf="sleep(0)"), Site()]
        self._index: dict[tuple[int, int, int, int], int] = {}
        self._keep: list[object] = []  # the code objects behind the ids in _index, so that no id is used again
        self._packages: dict[int, str] = {}
        self._ends: set[type] = {type(None)}
        self._parameters: dict[int, tuple[str, ...]] = {}
        self.own_of: dict[int, int] = {}
        self.cache_waits: set[int] = set()

    def place(self, index: int) -> str:
        """Return a site as one line of text: `app/orders.py:41 place_order`; empty for unknown own code.

        Paths are relative to the working directory where they lie within.
        """
        site = self.sites[index]
        if not site.file:
            return site.library or site.leaf
        return f"{site.file.removeprefix(f'{Path.cwd()}{os.sep}')}:{site.line} {site.function}"

    def suspended(self, task: "TaskRecord", awaited: Any) -> int:
        """Return the index of the site at which `task` has just been suspended by yielding `awaited`."""
        if awaited is None:
            return YIELDED
        # Over 40 lines because it is the hot path: 1.0 µs a suspension, 2.4 when each part was a function of its own.
        user: Any = None
        anchor: Any = None
        user_code: CodeType | None = None
        below: CodeType | None = None  # the outermost library code below the user's
        last: CodeType | None = None
        called: Any = awaited
        packages, ends = self._packages, self._ends
        base: Any = task.base
        current: Any = task.anchor
        if current is None or current.cr_await is None:
            current = base
            if base is None or base.cr_await is None:
                current, base = task.coroutine, None
        code: CodeType | None
        for _ in range(_MOST_LEVELS):
            kind = type(current)
            if kind is CoroutineType:  # nine links of ten
                code, inner = current.cr_code, current.cr_await
            elif kind in ends:
                break
            else:
                code, inner = code_and_inner(current)
                if code is None:
                    if not hasattr(kind, "cr_await") and kind.__name__ not in OPAQUE:
                        ends.add(kind)
                    break
            package = packages.get(id(code))
            if package is None:
                package = self.package(code)
            if package == "":
                user, user_code, called, below = current, code, inner, None
                if kind is CoroutineType:
                    anchor = current
                    if base is None:
                        base = current
            elif user is None:
                if package in FRAMEWORKS:
                    anchor = called = current
                    below = code
            elif below is None:
                below = code
            last = code
            current = inner
        task.anchor = anchor if type(anchor) is CoroutineType else None
        task.base = base
        frame = user.cr_frame if user is anchor and user is not None else frame_of(user)
        position = frame.f_lasti if frame is not None else 0
        if called is not task.called:
            task.called = called
            task.new_call = True
        named: Any = None
        if below is not None and (packages[id(below)] == "hasten" or packages[id(last)] == "hasten"):
            named = named_wait(called, awaited)
        key = (id(user_code), position, id(below) if named is None else hash(named.wait_name), id(last))
        index = self._index.get(key)
        if index is None:
            library = self._library(below, called) if named is None else named.wait_name
            site = self._site(user_code, line_of(frame) if frame else 0, library, last, awaited)
            index = self._add(key, site, (user_code, below, last))
        return index

    def _library(self, below: CodeType | None, called: Any) -> str:
        """Return the name of the library function below the user's code.

        Of a call of ours, of the first below it that is neither ours nor Python's, if there is one: what is loaded into
        a cache by `httpx.AsyncClient.get` is a wait for that.
        """
        if below is None:
            return ""
        if self.package(below) == "hasten":
            for link in _links(called):
                code, _ = code_and_inner(link)
                if code is not None and self.package(code) not in _OURS_AND_PYTHONS:
                    return self.name(code)
        return self.name(below)

    def _site(
        self,
        user: CodeType | None,
        line: int | None,
        library: str,
        last: CodeType | None,
        awaited: Any,
    ) -> Site:
        leaf = type(awaited).__name__ if last is None or last is user else self.name(last)
        return Site(
            file=user.co_filename if user else "",
            line=line or 0,
            function=user.co_qualname if user else "",
            library=library,
            leaf=leaf,
        )

    def running(self, frame: FrameType | None, stop: CodeType) -> int:
        """Return the index of the site of the innermost user code on a running stack, up to the frame of `stop`.

        OWN when the thread is in the ledger itself or in the loop, idle.
        """
        if frame is None or self.package(frame.f_code) == "hasten" or self.name(frame.f_code) in IDLE:
            return OWN
        leaf = library = frame
        while frame is not None and frame.f_code is not stop:
            if self.package(frame.f_code) == "":
                below = library if frame is not leaf else None
                return self._running_site(frame, below, leaf)
            library = frame
            frame = frame.f_back
        return self._running_site(None, library, leaf)

    def _running_site(self, user: FrameType | None, library: FrameType | None, leaf: FrameType | None) -> int:
        user_code = user.f_code if user else None
        if user is None:
            library = self._innermost_framework(leaf) or library
        library_code = library.f_code if library else None
        leaf_code = leaf.f_code if leaf and leaf is not user else None
        key = (id(user_code), user.f_lasti if user else -1, id(library_code), ~id(leaf_code))
        index = self._index.get(key)
        if index is None:
            site = Site(
                file=user_code.co_filename if user_code else "",
                line=line_of(user) if user else 0,
                function=user_code.co_qualname if user_code else "",
                library=self.name(library_code) if library_code else "",
                leaf=self.name(leaf_code) if leaf_code else "",
            )
            index = self._add(key, site, (user_code, library_code, leaf_code))
        return index

    def _innermost_framework(self, frame: FrameType | None) -> FrameType | None:
        while frame is not None:
            if self.package(frame.f_code) in FRAMEWORKS:
                return frame
            frame = frame.f_back
        return None

    def own(self, index: int) -> int:
        """Return the site of the own code that ends at the await of site `index`; OWN when that names no user code."""
        site = self.sites[index]
        own = OWN
        if site.file:
            self.sites.append(Site(site.file, site.line, site.function))
            own = len(self.sites) - 1
        self.own_of[index] = own
        return own

    def coroutine(self, code: CodeType | None, otherwise: int) -> int:
        """Return the site of a task's own coroutine function when its code is the user's, else `otherwise`."""
        if code is None or self.package(code):
            return otherwise
        return self._code(code)

    def function(self, target: Any) -> int:
        """Return the index of the site of a function (methods and decorated functions are unwrapped) or generator."""
        for _ in range(8):
            inner = getattr(target, "__func__", None) or getattr(target, "__wrapped__", None)
            if inner is None:
                break
            target = inner
        code = getattr(target, "__code__", None) or getattr(target, "gi_code", None)
        if isinstance(code, CodeType):
            return self._code(code)
        kind = type(target)
        key = (id(kind), -3, hash(getattr(target, "__qualname__", "")), 0)
        index = self._index.get(key)
        if index is None:
            module = getattr(target, "__module__", None) or "builtins"
            name = getattr(target, "__qualname__", None) or kind.__qualname__
            index = self._add(key, Site(library=f"{module}.{name}"), (kind,))
        return index

    def _code(self, code: CodeType) -> int:
        key = (id(code), -2, 0, 0)
        index = self._index.get(key)
        if index is None:
            site = Site(library=self.name(code))
            if not self.package(code):
                site = Site(file=code.co_filename, line=code.co_firstlineno, function=code.co_qualname)
            index = self._add(key, site, (code,))
        return index

    def identity(self, called: Any, awaited: Any = None) -> str:
        """Return the simple arguments of the library call `called` as text; empty when it has none.

        A wait of our own that has a name says for itself what it asks for.

        Args:
          awaited: What the call is suspended on.
        """
        frame = frame_of(called)
        if frame is not None and frame.f_code.co_filename.startswith(_HASTEN):
            named = named_wait(called, awaited)
            if named is not None:
                return str(named.wait_identity)[:_MOST_IDENTITY]
        if type(called) is not CoroutineType:
            return ""
        current = called
        for _ in range(_IDENTITY_LEVELS):
            frame = frame_of(current)
            if frame is None:
                return ""
            values = self._arguments(frame)
            if values:
                return repr(values)[1:-1][:_MOST_IDENTITY]
            current = code_and_inner(current)[1]
        return ""

    def _arguments(self, frame: FrameType) -> list[Any]:
        """Return the simple arguments a function was called with; none when all of them are empty or flags."""
        code = frame.f_code
        names = self._parameters.get(id(code))
        if names is None:
            count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
            names = self._parameters[id(code)] = code.co_varnames[:count]
            self._keep.append(code)
        local = frame.f_locals
        values = [local[name] for name in names if name in local and _is_simple(local[name])]
        return values if any(values) else []

    def package(self, code: CodeType) -> str:
        """Return the top-level package that `code` belongs to; empty for the user's own code."""
        package = self._packages.get(id(code))
        if package is None:
            package = self._packages[id(code)] = _package_of(code.co_filename)
            self._keep.append(code)
        return package

    def name(self, code: CodeType) -> str:
        """Return `package.qualified_name` of a code object: `asyncio.Lock.acquire`."""
        package = self.package(code)
        return f"{package}.{code.co_qualname}" if package else code.co_qualname

    def _add(self, key: tuple[int, int, int, int], site: Site, keep: tuple[object, ...]) -> int:
        if len(self.sites) >= _MOST_SITES:
            return OWN
        self._keep.append(keep)
        self.sites.append(site)
        index = self._index[key] = len(self.sites) - 1
        if site.library.startswith(_CACHE):
            self.cache_waits.add(index)
        return index


def code_and_inner(awaitable: Any) -> tuple[CodeType | None, Any]:
    """Return the code of one link of an await chain and the next link; (None, None) at its end."""
    kind = type(awaitable)
    if kind is CoroutineType:
        return awaitable.cr_code, awaitable.cr_await
    if kind is GeneratorType:
        return awaitable.gi_code, awaitable.gi_yieldfrom
    if kind is AsyncGeneratorType:
        return awaitable.ag_code, awaitable.ag_await
    if kind.__name__ in OPAQUE:
        for target in gc.get_referents(awaitable):
            code, inner = code_and_inner(target)
            if code is not None:
                return code, inner
    elif hasattr(awaitable, "cr_await") and isinstance(getattr(awaitable, "cr_code", None), CodeType):
        return awaitable.cr_code, awaitable.cr_await  # Cython's coroutines, for example grpc.aio's
    return None, None


def _links(called: Any) -> list[Any]:
    """Return what `called` awaits, outermost first, itself included."""
    links: list[Any] = []
    while called is not None and len(links) < _MOST_LEVELS:
        links.append(called)
        called = code_and_inner(called)[1]
    return links


def named_wait(called: Any, awaited: Any) -> Any:
    """Return our object that names this wait (`rpc Stock.Get → stock:50051`), else None.

    It has `wait_name` and `wait_identity`: the package that waits says what for, and the ledger need not know of gRPC
    or caches. It is what is awaited, or the innermost object whose method is: 2 µs ten levels deep.
    """
    if _is_named(awaited):
        return awaited
    for link in reversed(_links(called)):
        frame = frame_of(link)
        if frame is not None and frame.f_code.co_filename.startswith(_HASTEN):
            owner = frame.f_locals.get("self")
            if _is_named(owner):
                return owner
    return None


def _is_named(thing: Any) -> bool:
    return isinstance(getattr(thing, "wait_name", None), str)


def frame_of(awaitable: Any) -> FrameType | None:
    kind = type(awaitable)
    frame: FrameType | None = None
    if kind is CoroutineType:
        frame = awaitable.cr_frame
    elif kind is GeneratorType:
        frame = awaitable.gi_frame
    elif kind is AsyncGeneratorType:
        frame = awaitable.ag_frame
    return frame


def line_of(frame: FrameType) -> int:
    """Return the line on which a frame stands.

    The jump back at the end of a loop's round may have none (its body ends in an `if`), and there of all places
    a thread gives way, so that samples see it: the line it jumps to, the loop's, stands for it.
    """
    if frame.f_lineno is not None:
        return frame.f_lineno
    code, offset = frame.f_code, frame.f_lasti
    for instruction in dis.get_instructions(code):
        if instruction.offset == offset and instruction.opname.startswith("JUMP"):
            offset = instruction.argval
    lines = [line for start, _, line in code.co_lines() if line is not None and start <= offset]
    return lines[-1] if lines else code.co_firstlineno


def _is_simple(value: Any) -> bool:
    if isinstance(value, dict):  # query parameters and JSON bodies: without them, other questions look alike
        return 0 < len(value) <= 8 and all(_is_simple(item) for pair in value.items() for item in pair)
    if isinstance(value, tuple | list):
        return 0 < len(value) <= 8 and all(_is_simple(item) for item in value)
    return isinstance(value, str | bytes | int | float) and not isinstance(value, bool)


def _package_of(filename: str) -> str:
    for marker in _PACKAGES:
        _, found, rest = filename.rpartition(marker)
        if found:
            return _top(rest)
    if filename.startswith(_HASTEN):
        return "hasten"
    if filename.startswith(_STDLIB):
        return _top(filename[len(_STDLIB) :])
    if filename.startswith("<"):  # frozen modules, generated code
        return "python"
    if filename.endswith((".pyx", ".pxd")):
        return _top(filename).removesuffix(".pyx")
    return ""


def _top(path: str) -> str:
    """Return the first part of a relative path: the package or module."""
    return path.partition(os.sep)[0].removesuffix(".py")
