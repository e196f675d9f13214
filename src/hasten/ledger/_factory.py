"""The task factory: tasks of sampled requests run under the driver, all others stay as they are.

It is total: whatever goes wrong in it, the task is made. It chains the factory that the app had set before.
"""

import asyncio
import sys
from asyncio import Task
from collections.abc import Callable
from contextvars import Context, copy_context
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from hasten._core.unread import arrival
from hasten.ledger._drive import drive
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

    With the layer, an unrecorded request pays 1.9 µs; 2.5 when the context went through a dictionary of options and
    each sample that came too early drew a random number.

    Attributes:
      make: What asyncio calls for every task; one bound method, so that it can be compared by identity.
      knows_roots: Whether the server's tasks have been recognised.
      probed: Set when a task that runs `probe` is made: a later factory of the app's that still calls ours.
      state: Of the loop, by which requests that begin now are recorded: the ledger's, or a borrower's.
    """

    __slots__ = (
        "_is_root", "_last_sample", "_ledger", "_shortest_gap", "_until_sample", "knows_roots", "make", "previous",
        "probed", "state",
    )  # fmt: skip

    def __init__(self, ledger: "Ledger", state: LoopState, previous: TaskFactory | None) -> None:
        self._ledger = ledger
        self.state = state
        self._is_root: dict[str, bool] = {}
        self._until_sample = ledger.next_sample()
        self._shortest_gap = ledger.shortest_gap()
        self._last_sample = 0.0
        self.previous = previous
        self.make: TaskFactory = self._make
        self.knows_roots = False
        self.probed = False

    def _make(
        self, loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None, **options: Any
    ) -> "asyncio.Future[Any]":
        """Make the task of `coro`; `options` are asyncio's own (name, eager_start), None meaning absent."""
        root = self._is_root.get(getattr(coro, "__qualname__", ""))
        if root and self._until_sample > 1 and REQUEST.get() is None:
            self._until_sample -= 1  # the usual case, an unrecorded request
        elif root is False and context is None and REQUEST.get() is None:
            pass  # a task of an unrecorded request or of the server
        elif type(coro) is CoroutineType and self.state.keeper.on:
            try:
                coro, context = self._recorded(coro, context, root=root)
            except Exception as error:
                self.state.keeper.fail(error)
        if not options and self.previous is None:
            return Task(coro, loop=loop, context=context)
        if context is not None:
            options["context"] = context
        if not _EAGER:
            options.pop("eager_start", None)
        if self.previous is not None:
            return self.previous(loop, coro, **options)
        return Task(coro, loop=loop, **options)

    def _recorded(self, coro: Any, context: Context | None, *, root: bool | None) -> tuple[Any, Context | None]:
        """Return what the task is to run, `coro` or its driver when it works for a sampled request, and in what.

        Args:
          root: Whether `coro` is of a server's; None when it is met for the first time.
        """
        if root is None:
            root = self._meet(coro)
        inherited = REQUEST.get() if context is None else context.get(REQUEST)
        if not root:
            if inherited is None or inherited.closed:
                return coro, context
            return self._driven(coro, inherited, monotonic()), context
        sampled = self.sample()
        if not sampled and inherited is None:
            return coro, context
        if context is None:
            context = copy_context()
        if not sampled:
            # A pipelined request starts from the task of the one before it: it must not inherit its record.
            context.run(REQUEST.set, None)
            return coro, context
        request = self.state.begin(monotonic())
        context.run(REQUEST.set, request)
        if self.state.holds:
            self._note_unread(coro, request)
        return self._driven(coro, request, request.started), context

    def _meet(self, coro: Any) -> bool:
        """Decide for a coroutine function met for the first time; remember it, up to a bound."""
        name: str = coro.__qualname__
        root = name.endswith(ROOTS)
        if root and not self.knows_roots:
            self.knows_roots = True
            self._ledger.met_roots()
        if coro.cr_code is probe.__code__:
            self.probed = True
        elif len(self._is_root) < _MOST_NAMES:
            self._is_root[name] = root
        return root

    def sample(self) -> bool:
        """Tell whether to record the request that begins now."""
        if not self._shortest_gap:
            return True
        self._until_sample -= 1
        if self._until_sample > 0:
            return False
        now = monotonic()
        if now - self._last_sample < self._shortest_gap:
            self._until_sample = self._ledger.sample_every  # no draw: the last one has shifted these steps at random
            return False
        self._until_sample = self._ledger.next_sample()
        self._last_sample = now
        return True

    def lend(self, state: LoopState) -> None:
        """Have every request that begins from now on recorded by a borrower, until `take_back`; in any thread.

        Those that the ledger records go on as they began.
        """
        self.state = state
        self._shortest_gap = 0.0
        self._until_sample = 0

    def take_back(self, state: LoopState) -> None:
        """Sample again for the ledger, whose state is given; in any thread."""
        self.state = state
        self._until_sample = self._ledger.next_sample()
        self._shortest_gap = self._ledger.shortest_gap()

    def _driven(self, coro: Any, request: RequestRecord, created: float) -> Any:
        task = request.add_task(coro, created)
        state = request.state or self.state  # a request goes on as it was begun
        driven: Any = drive(coro, task, request, state, state.keeper)
        driven.__qualname__ = coro.__qualname__
        driven.__name__ = coro.__name__
        task.driven = driven
        return driven

    def _note_unread(self, coro: Any, request: RequestRecord) -> None:
        """Note how long the request's bytes lay in the kernel while the loop was held; there have been holds."""
        holds = self.state.holds
        if request.started - holds[-1].end > _RECENT:
            return
        cycle = coro.cr_frame.f_locals.get("self")
        unread = arrival(getattr(cycle, "transport", None)).unread
        earliest = min(hold.start for hold in holds if request.started - hold.end <= _RECENT)
        request.unread = min(unread, request.started - earliest)
        request.unread_site = holds[-1].site


def is_root(coro: Any) -> bool:
    """Tell whether a server runs a request in the coroutine `coro`."""
    return str(getattr(coro, "__qualname__", "")).endswith(ROOTS)


async def probe() -> None:
    """Do nothing: a task of it shows whether a factory calls ours."""


probe.__qualname__ = f"{__name__}.probe"  # no function of an app has it, so it is met as new each time
