"""The task factory: tasks of sampled requests run under the driver, all others stay as they are.

It is total: whatever goes wrong in it, the task is made. It chains the factory that the app had set before.
"""

import asyncio
import sys
from asyncio import Task
from collections.abc import Callable
from contextvars import copy_context
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from hasten.ledger._drive import drive
from hasten.ledger._kernel import unread_seconds
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import REQUEST, RequestRecord

if TYPE_CHECKING:
    from hasten.ledger._ledger import Ledger

TaskFactory = Callable[..., "asyncio.Future[Any]"]
_EAGER = sys.version_info >= (3, 12)
_RECENT = 0.05
"""The kernel is asked only when a hold ended less than this many seconds ago."""
_MOST_NAMES = 10_000
ROOTS = ("RequestResponseCycle.run_asgi", "future_watcher")
"""Ends of the qualified names of the coroutines that uvicorn (all its protocols) and granian run a request in."""


class Factory:
    """The factory of one loop.

    Attributes:
      make: What asyncio calls for every task; one bound method, so that it can be compared by identity.
      knows_roots: Whether the server's tasks have been recognised.
      probed: Set when a task that runs `probe` is made: a later factory of the app's that still calls ours.
    """

    def __init__(self, ledger: "Ledger", state: LoopState, previous: TaskFactory | None) -> None:
        self._ledger = ledger
        self._state = state
        self._is_root: dict[str, bool] = {}
        self._until_sample = ledger.next_sample()
        self._last_sample = 0.0
        self.previous = previous
        self.make: TaskFactory = self._make
        self.knows_roots = False
        self.probed = False

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Future[Any]":
        """Make the task of `coro`; `options` are asyncio's own (context, name, eager_start), None meaning absent."""
        root = self._is_root.get(getattr(coro, "__qualname__", ""))
        if root and self._until_sample > 1 and REQUEST.get() is None:
            self._until_sample -= 1  # the usual case, an unrecorded request, pays 0.5 µs
        elif type(coro) is CoroutineType and self._ledger.on:
            try:
                coro = self._recorded(coro, options)
            except Exception as error:
                self._ledger.fail(error)
        if not _EAGER:
            options.pop("eager_start", None)
        if self.previous is not None:
            return self.previous(loop, coro, **options)
        return Task(coro, loop=loop, **options)

    def _recorded(self, coro: Any, options: dict[str, Any]) -> Any:
        """Return what the task is to run: `coro`, or its driver when it works for a sampled request."""
        context = options.get("context")
        inherited = REQUEST.get() if context is None else context.get(REQUEST)
        root = self._is_root.get(coro.__qualname__)
        if root is None:
            root = self._meet(coro)
        if not root:
            if inherited is None or inherited.closed:
                return coro
            return self._driven(coro, inherited, monotonic())
        if not self.sample():
            if inherited is not None:
                # A pipelined request starts from the task of the one before it: it must not inherit its record.
                _set_request(None, options)
            return coro
        request = RequestRecord(monotonic())
        _set_request(request, options)
        self._note_unread(coro, request)
        return self._driven(coro, request, request.started)

    def _meet(self, coro: Any) -> bool:
        """Decide for a coroutine function met for the first time; remember it, up to a bound."""
        name: str = coro.__qualname__
        root = name.endswith(ROOTS)
        if root and not self.knows_roots:
            self.knows_roots = True
            self._ledger.met_roots()
        self.probed |= coro.cr_code is probe.__code__
        if len(self._is_root) < _MOST_NAMES and not self.probed:
            self._is_root[name] = root
        return root

    def sample(self) -> bool:
        """Tell whether to record the request that begins now."""
        self._until_sample -= 1
        if self._until_sample > 0:
            return False
        self._until_sample = self._ledger.next_sample()
        now = monotonic()
        if now - self._last_sample < self._ledger.shortest_gap():
            return False
        self._last_sample = now
        return True

    def _driven(self, coro: Any, request: RequestRecord, created: float) -> Any:
        task = request.add_task(coro, created)
        driven: Any = drive(coro, task, request, self._state, self._ledger)
        driven.__qualname__ = coro.__qualname__
        driven.__name__ = coro.__name__
        task.driven = driven
        return driven

    def _note_unread(self, coro: Any, request: RequestRecord) -> None:
        """Note how long the request's bytes lay in the kernel while the loop was held."""
        holds = self._state.holds
        if not holds or request.started - holds[-1].end > _RECENT:
            return
        cycle = coro.cr_frame.f_locals.get("self")
        unread = unread_seconds(getattr(cycle, "transport", None))
        earliest = min(hold.start for hold in holds if request.started - hold.end <= _RECENT)
        request.unread = min(unread, request.started - earliest)
        request.unread_site = holds[-1].site


def _set_request(request: RequestRecord | None, options: dict[str, Any]) -> None:
    """Make the task run with `request` as its REQUEST: in the context it is given, else in a copy of this one."""
    context = options.get("context")
    if context is None:
        context = options["context"] = copy_context()
    context.run(REQUEST.set, request)


async def probe() -> None:
    """Do nothing: a task of it shows whether a factory calls ours."""
