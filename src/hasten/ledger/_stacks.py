"""Where a request is, as a whole stack: a site table whose sites know all of the user's frames that led there.

Of each stack the user's functions are kept, with their lines; of what lies between two of them the first library
function, frameworks aside; and below the innermost the first library function and the last. A task that a request
has made stands below what made it: handler, `asyncio.gather`, child.

Walking whole stacks costs 5 to 10 µs a suspension, so this is a capture's table; the ledger's own is `SiteTable`.
"""

import gc
import sys
from types import CodeType, FrameType
from typing import Any

from hasten.ledger._account import Site
from hasten.ledger._records import TaskRecord
from hasten.ledger._sites import (
    FRAMEWORKS,
    IDLE,
    OPAQUE,
    OWN,
    START,
    YIELDED,
    SiteTable,
    code_and_inner,
    frame_of,
    line_of,
    named_wait,
)

StackFrame = tuple[str, str, int]
"""Qualified name, file and line; file and line are empty and 0 of libraries."""
Link = tuple[CodeType, FrameType | None]
_MOST_LEVELS = 512
_MOST_STACKS = 8000
_MOST_FRAMES = 128
"""Frames of a stack; of deeper ones the innermost."""
_DEEPER: StackFrame = ("(deeper)", "", 0)


class StackTask(TaskRecord):
    """The steps of one task of a captured request.

    Attributes:
      origin: Index of the stack that made the task; START for a request's first.
      looks: What the sampler has seen of its steps.
    """

    __slots__ = ("looks", "origin")
    origin: int
    looks: list[Any]


class StackTable(SiteTable):
    """Sites that know their stacks."""

    __slots__ = ("_by_frames", "_frames", "_stack_index", "stacks")

    def __init__(self) -> None:
        super().__init__()
        self.stacks: dict[int, tuple[tuple[StackFrame, ...], int]] = {}
        """By index: the frames, the outermost first, and how many of them lead to the innermost user's."""
        self._stack_index: dict[tuple[int, ...], int] = {}
        self._by_frames: dict[tuple[tuple[StackFrame, ...], int, str], int] = {}
        self._frames: dict[StackFrame, StackFrame] = {}  # one object for each, however many stacks it is on

    def frames(self, index: int) -> tuple[StackFrame, ...]:
        """Return the frames of a site, the outermost first; of one that has no stack what is known."""
        stack = self.stacks.get(index)
        if stack is not None:
            return stack[0]
        site = self.sites[index]
        frames = [(site.function, site.file, site.line)] if site.file else []
        frames += [(name, "", 0) for name in dict.fromkeys((site.library, site.leaf)) if name]
        return tuple(frames)

    def users(self, index: int) -> int:
        """Return how many frames of a stack lead to its innermost user's; 0 where none is the user's."""
        stack = self.stacks.get(index)
        return int(bool(self.sites[index].file)) if stack is None else stack[1]

    @property
    def full(self) -> bool:
        """Whether no further stack is kept."""
        return len(self.sites) >= _MOST_STACKS

    def suspended(self, task: TaskRecord, awaited: Any) -> int:
        """Return the index of the stack at which `task` has just been suspended by yielding `awaited`."""
        if awaited is None:
            return YIELDED
        # Over 40 lines because every suspension of a capture goes through it: one loop finds the stack by its numbers.
        links: list[Link] = []
        numbers: list[int] = [getattr(task, "origin", START), id(type(awaited))]
        called: Any = awaited
        within = named = False
        current = task.base
        if current is None or current.cr_await is None:
            current, task.base = task.coroutine, None
        while current is not None and len(links) < _MOST_LEVELS:
            code, inner = code_and_inner(current)
            if code is None:
                break
            frame = _frame(current)
            package = self.package(code)
            numbers.append(id(code))
            if package == "":
                numbers.append(frame.f_lasti if frame is not None else -1)
                called, within = (awaited if inner is None else inner), True
                if task.base is None and hasattr(current, "cr_await"):
                    task.base = current
            elif package == "hasten":
                named = True
            elif not within and package in FRAMEWORKS:
                called = current
            links.append((code, frame))
            current = inner
        if called is not task.called:
            task.called = called
            task.new_call = True
        wait = named_wait(called, awaited) if named else None
        if wait is not None:
            numbers.append(hash(wait.wait_name))
        key = tuple(numbers)
        index = self._stack_index.get(key)
        if index is None:
            index = self._waiting(key, links, awaited, "" if wait is None else str(wait.wait_name))
        return index

    def _waiting(self, key: tuple[int, ...], links: list[Link], awaited: Any, name: str) -> int:
        """Keep the stack of a wait; `name` is what it is called by our own object that waits."""
        kept, users = self._kept(links)
        frames = [self._stack_frame(link) for link in (kept[:users] if name else kept)]
        if name:
            frames.append((name, "", 0))
        elif len(kept) == users:
            frames.append((f"await {type(awaited).__name__}", "", 0))
        leaf = "" if links and self.package(links[-1][0]) else type(awaited).__name__
        return self._add_stack(key, frames, users, leaf or self.name(links[-1][0]), library=name)

    def standing(self, frame: FrameType | None, origin: int, stop: CodeType) -> int:
        """Return the index of a running stack, up to the frame of `stop`, under the stack `origin`.

        OWN when the thread is in the ledger itself or in the loop, idle.
        """
        if frame is None or self.package(frame.f_code) == "hasten" or self.name(frame.f_code) in IDLE:
            return OWN
        links, numbers = self._stack_of(frame, stop)
        key = (origin, -1, *numbers)
        index = self._stack_index.get(key)
        if index is None:
            links.reverse()
            kept, users = self._kept(links)
            leaf = self.name(frame.f_code)
            index = self._add_stack(key, [self._stack_frame(link) for link in kept], users, leaf)
        return index

    def running(self, frame: FrameType | None, stop: CodeType) -> int:
        """Return the index of a running stack; see `standing`."""
        return self.standing(frame, START, stop)

    def making(self, stop: CodeType, origin: int) -> int:
        """Return the index of the stack of the caller, which makes a task or hands something to a thread.

        It ends with the library function that the user's code has called for it. In a task that runs nothing but ours,
        a `ThreadPool.run` for one, that is the stack which has made the task. START when the caller runs elsewhere than
        below the frame of `stop`.
        """
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the cheap way to the caller
        while frame is not None and frame.f_code is not stop and self.package(frame.f_code) == "hasten":
            frame = frame.f_back
        if frame is not None and frame.f_code is stop:
            return origin
        links, numbers = self._stack_of(frame, stop)
        if not links or links[-1][1] is None or links[-1][1].f_back is None:
            return START
        key = (origin, -2, *numbers)
        index = self._stack_index.get(key)
        if index is None:
            links.reverse()
            kept, users = self._kept(links)
            frames = [self._stack_frame(link) for link in kept[: users + 1]] if users else []
            index = self._add_stack(key, frames, users, "")
        return index

    def _stack_of(self, frame: FrameType | None, stop: CodeType) -> tuple[list[Link], list[int]]:
        """Return a running stack, the innermost first, and the numbers that tell it from others."""
        links: list[Link] = []
        numbers: list[int] = []
        while frame is not None and frame.f_code is not stop and len(links) < _MOST_LEVELS:
            code = frame.f_code
            package = self.package(code)
            if package in _RUNNERS and self.name(code) in IDLE:
                break  # the loop's own: what lies above has started it
            links.append((code, frame))
            numbers.append(id(code))
            if package == "":
                numbers.append(frame.f_lasti)
            frame = frame.f_back
        return links, numbers

    def below(self, origin: int, function: int) -> int:
        """Return the index of the stack `origin` with the function of site `function` below it."""
        key = (origin, -3, function)
        index = self._stack_index.get(key)
        if index is None:
            frames = list(self.frames(function))
            index = self._add_stack(key, frames, len(frames) if self.sites[function].file else 0, "")
        return index

    def own(self, index: int) -> int:
        """Return the stack of the own code that ends at the await of site `index`; OWN when that names no user code."""
        frames, users = self.stacks.get(index, ((), 0))
        own = self._append(frames[:users], users, "", "") if users else OWN
        self.own_of[index] = own
        return own

    def last(self, index: int) -> int:
        """Return the site of the own code of a task's last step, behind its last wait at site `index`.

        Other than that of the step before this wait: both begin and end at one line, and have little else in common.
        """
        frames, users = self.stacks.get(index, ((), 0))
        if not users:
            return index
        own = self._append(frames[:users], users, "end", "")
        self.own_of[own] = own
        return own

    def _kept(self, links: list[Link]) -> tuple[list[Link], int]:
        """Return the links that a stack shows, and how many of them lead to the innermost user's."""
        kept: list[Link] = []
        users = 0
        between: Link | None = None  # the first library function below the last user's
        for link in links:
            package = self.package(link[0])
            if package == "":
                if between is not None and self.package(between[0]) not in _BETWEEN:
                    kept.append(between)
                kept.append(link)
                users, between = len(kept), None
            elif between is None and users:
                between = link
        if not users:
            between = next((link for link in reversed(links) if self.package(link[0]) in FRAMEWORKS), None)
            between = between or (links[0] if links else None)
        if between is not None:
            kept.append(between)
            if links[-1] is not between:
                kept.append(links[-1])
        return kept, users

    def _stack_frame(self, link: Link) -> StackFrame:
        code, frame = link
        if self.package(code):
            return self.name(code), "", 0
        line = line_of(frame) if frame is not None else code.co_firstlineno
        made = (code.co_qualname, code.co_filename, line)
        return self._frames.setdefault(made, made)

    def _add_stack(
        self, key: tuple[int, ...], frames: list[StackFrame], users: int, leaf: str, *, library: str = ""
    ) -> int:
        """Keep a stack that is met for the first time; `key` begins with the index of the stack above it."""
        if len(self.sites) >= _MOST_STACKS:
            return OWN
        above, above_users = self.stacks.get(key[0], ((), 0))
        whole = (*above, *frames)
        users = len(above) + users if users else above_users
        if len(whole) > _MOST_FRAMES:
            users = max(0, users - (len(whole) - _MOST_FRAMES))
            whole = (_DEEPER, *whole[1 - _MOST_FRAMES :])
        index = self._stack_index[key] = self._append(whole, users, leaf, library)
        return index

    def _append(self, frames: tuple[StackFrame, ...], users: int, leaf: str, library: str) -> int:
        """Return the index of a stack, the same for the same."""
        known = (frames, users, leaf)
        index = self._by_frames.get(known)
        if index is None:
            function, file, line = next((frame for frame in reversed(frames[:users]) if frame[1]), ("", "", 0))
            self.sites.append(Site(file, line, function, library, leaf))
            index = self._by_frames[known] = len(self.sites) - 1
            self.stacks[index] = frames, users
            if library.startswith("cache "):
                self.cache_waits.add(index)
        return index


_RUNNERS = frozenset(name.partition(".")[0] for name in IDLE)
_BETWEEN = FRAMEWORKS | {"asyncio", "anyio", "contextlib", "functools", "concurrent", "threading"}
"""Packages that are left out between two functions of the user: they pass calls on."""


def _frame(awaitable: Any) -> FrameType | None:
    """Return the frame of one link of an await chain, of those that hide their target the target's."""
    frame = frame_of(awaitable)
    if frame is None and type(awaitable).__name__ in OPAQUE:
        for target in gc.get_referents(awaitable):
            frame = frame_of(target)
            if frame is not None:
                return frame
    return frame
