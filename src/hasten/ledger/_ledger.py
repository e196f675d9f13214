"""The ledger of a process: samples requests, turns their records into accounts, tells its listeners.

Whatever fails inside turns the ledger off with one warning; requests go on as without it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from hasten._core.signals import LedgerHook, RequestRecorded
from hasten.ledger._account import Account
from hasten.ledger._accountant import Accountant, endpoint_of
from hasten.ledger._backlog import Backlog
from hasten.ledger._collections import CollectionTimer
from hasten.ledger._factory import Factory, probe
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import STRIDE, RequestRecord
from hasten.ledger._sites import SiteTable
from hasten.ledger._statistics import EndpointStatistics, Statistics, Totals
from hasten.ledger._threads import ThreadTimer
from hasten.ledger._watchdog import Watchdog

Listener = Callable[[Account], None]
_CALM, _CALM_IN_DETAIL = 0.2, 0.05
"""Seconds between the watchdog's looks in calm times."""
_SHORTEST_GAP = 0.1
"""Seconds between two recorded requests when not every one is: a record beside a busy service's code costs 0.1 ms."""
_logger = logging.getLogger("hasten.ledger")


class AttachedLoop:
    """What is in place on one loop.

    Attributes:
      chaining: A factory that the app has set later; it was probed.
      lasting: The app's lifespan runs on the loop, so its end will be told.
    """

    __slots__ = ("chaining", "collections", "factory", "lasting", "state", "watchdog")

    def __init__(self, state: LoopState, factory: Factory, watchdog: Watchdog, collections: CollectionTimer) -> None:
        self.state = state
        self.factory = factory
        self.watchdog = watchdog
        self.collections = collections
        self.chaining: object = None
        self.lasting = False


class Ledger:
    """Accounts for requests on the loops it is attached to.

    Args:
      service: Name of the service in its accounts.
      sample_every: One request in this many is recorded, at random, ten a second at most; 1 records every request.
      detail: For `hasten doctor`: the watchdog looks at every recorded step, not only at long ones, and library calls
        are recorded with their arguments.
      hold_threshold: Seconds from which on a step or callback counts as holding the loop.
      listeners: Called with each account, on the loop's thread; must be quick and must not raise. Where every request
        is recorded they may be called 50 ms late, with up to 16 accounts in a row.
      hooks: Called with each `LedgerSignal`, nearly always on the loop's thread; must be quick and must not raise.
      random_source: Chooses the samples.

    Attributes:
      on: Whether it records; False after a failure.
      sample_every: As given.
      knows_roots: Whether the tasks of every attached loop's server have been recognised.
    """

    def __init__(
        self,
        service: str = "",
        *,
        sample_every: int = 20,
        detail: bool = False,
        hold_threshold: float = 0.02,
        listeners: Iterable[Listener] = (),
        hooks: Iterable[LedgerHook] = (),
        random_source: random.Random | None = None,
    ) -> None:
        self.hold_threshold = hold_threshold
        self.on = True
        self.knows_roots = False
        self.sites = SiteTable()
        self.listeners: list[Listener] = []
        self.hooks: list[LedgerHook] = list(hooks)
        self._random = random_source or random.Random()
        self._attached: dict[asyncio.AbstractEventLoop, AttachedLoop] = {}
        self._threads = ThreadTimer(self.sites)
        self._statistics = Statistics(self.sites)
        self.configure(service, sample_every=sample_every, detail=detail, listeners=listeners)

    def configure(self, service: str, *, sample_every: int, detail: bool, listeners: Iterable[Listener] = ()) -> None:
        """Set what a loop that is attached from now on records, and add listeners."""
        self.service = service
        self.detail = detail
        self.listeners.extend(listeners)
        self.sample_every = sample_every
        self._accountant = Accountant(service, self.sites)

    def attach(self, loop: asyncio.AbstractEventLoop) -> AttachedLoop | None:
        """Begin to account on `loop`, unless it is attached already; call on its thread.

        Returns None when the ledger is off.
        """
        attached = self._attached.get(loop)
        if attached is None and self.on:
            try:
                attached = self._attach(loop)
            except Exception as error:
                self.fail(error)
        return attached

    def _attach(self, loop: asyncio.AbstractEventLoop) -> AttachedLoop:
        for closed in [other for other in self._attached if other.is_closed()]:
            self.detach(closed)
        if not self._attached:
            self._threads.install()
        state = LoopState(self.sites, self.hold_threshold, self.hooks)
        state.keeper = self
        state.backlog = Backlog(loop, lambda request: self._settle(request, state))
        factory = Factory(self, state, loop.get_task_factory())
        watchdog = Watchdog(
            loop,
            state,
            interval=self.hold_threshold,
            calm=_CALM_IN_DETAIL if self.detail else _CALM,
            oldest=0.0 if self.detail else self.hold_threshold / 2,
            check=lambda: self._check_factory(loop),
        )
        collections = CollectionTimer(state.pauses, self.hooks)
        attached = self._attached[loop] = AttachedLoop(state, factory, watchdog, collections)
        self.knows_roots = False
        loop.set_task_factory(factory.make)
        collections.install()
        watchdog.start()
        return attached

    def met_roots(self) -> None:
        """Note that a loop's factory has recognised its server's tasks.

        Where its end will be told, accounts may wait for each other from now on.
        """
        loops = list(self._attached.values())  # another thread may attach its loop
        self.knows_roots = all(attached.factory.knows_roots for attached in loops)
        for attached in loops:
            if attached.factory.knows_roots and attached.lasting:
                attached.state.backlog.patient = self.sample_every == 1

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put everything on `loop` back as it was; does nothing when not attached."""
        attached = self._attached.pop(loop, None)
        if attached is None:
            return
        attached.state.backlog.close()
        attached.watchdog.stop()
        attached.collections.remove()
        attached.state.close()
        if not loop.is_closed() and loop.get_task_factory() is attached.factory.make:
            loop.set_task_factory(attached.factory.previous)
        if not self._attached:
            self._threads.remove()

    def statistics(self) -> tuple[EndpointStatistics, ...]:
        """Return a frozen snapshot of what was recorded so far, per endpoint."""
        return self._statistics.snapshot()

    def totals(self) -> dict[str, Totals]:
        """Return the recorded seconds of each endpoint by kind; cheap, for who asks often."""
        return self._statistics.totals()

    def executors(self) -> tuple[ThreadPoolExecutor, ...]:
        """Return the thread pools that have been used on the attached loops and still are there, in any thread."""
        return tuple(self._threads.executors)

    def holder(self, loop: asyncio.AbstractEventLoop) -> str:
        """Return what runs on `loop` now, `orders.py:41 place_order`, in any thread; empty where nothing is seen."""
        attached = self._attached.get(loop)
        return "" if attached is None else self.sites.place(attached.watchdog.site())

    def lend(self, loop: asyncio.AbstractEventLoop, state: LoopState) -> bool:
        """Have a borrower record every request of `loop` that begins from now on, until `take_back`; in any thread.

        The ledger's watchdog and hooks go on, but it samples no request meanwhile.

        Args:
          state: What the borrower knows of the loop, and how it is told of requests (`keeper`).
        Returns:
          Whether it was lent: not where the ledger is off or not attached, and to one borrower at a time.
        """
        attached = self._attached.get(loop)
        if attached is None or not self.on or attached.factory.state is not attached.state:
            return False
        self._threads.tables += (state.sites,)
        attached.factory.lend(state)
        return True

    def take_back(self, loop: asyncio.AbstractEventLoop, state: LoopState) -> None:
        """Sample for the ledger again; does nothing for a borrower that has nothing any more. In any thread."""
        self._threads.tables = tuple([table for table in self._threads.tables if table is not state.sites])
        attached = self._attached.get(loop)
        if attached is not None and attached.factory.state is state:
            attached.factory.take_back(attached.state)

    def next_sample(self) -> int:
        """Return after how many requests the next one may be recorded, at least 1.

        Uniform up to 2n - 1, mean n: a fixed step would lock on to periodic traffic.
        """
        return 1 + int(self._random.random() * (2 * self.sample_every - 1))

    def shortest_gap(self) -> float:
        """Return the seconds that must lie between two recorded requests of a loop."""
        return _SHORTEST_GAP if self.sample_every > 1 else 0.0

    def loop(self, loop: asyncio.AbstractEventLoop) -> AttachedLoop | None:
        """Return what is in place on `loop`."""
        return self._attached.get(loop)

    def close(self, request: RequestRecord, state: LoopState) -> None:
        """End the recording of a request whose step has just ended, and have its account made."""
        if not request.closed:
            request.close()
            state.backlog.add(request)

    def _settle(self, request: RequestRecord, state: LoopState) -> None:
        """Make the account of an ended request and tell the listeners; drop what it was made of."""
        if self.on:
            try:
                self._account(request, state)
            except Exception as error:
                self.fail(error)
        request.drop()

    def _account(self, request: RequestRecord, state: LoopState) -> None:
        accountant, statistics = self._accountant, self._statistics
        breakdown = accountant.attribute(request, state)
        for hook in self.hooks:
            hook(_recorded(request))
        endpoint, matched = endpoint_of(request.summary), request.summary.matched
        wall = request.end - request.started + request.unread
        account = accountant.account(request, breakdown, endpoint) if self.listeners else None
        if statistics.add(endpoint, wall, zip(breakdown.shape.keys, breakdown.seconds, strict=True), matched=matched):
            statistics.keep(endpoint, wall, account or accountant.account(request, breakdown, endpoint))
        if account is not None:
            for listener in self.listeners:
                listener(account)

    def fail(self, error: BaseException) -> None:
        """Turn the ledger off because `error` happened inside it, and warn once."""
        self._turn_off(f"{type(error).__name__}: {error}", error)

    def _turn_off(self, reason: str, error: BaseException | None = None) -> None:
        if self.on:
            self.on = False
            for attached in self._attached.values():
                attached.watchdog.stop()
            _logger.warning("the ledger is off: %s; requests are served without it", reason, exc_info=error)

    def _check_factory(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the watchdog's thread: when the app has set another factory, probe it on the loop."""
        attached = self._attached.get(loop)
        current = loop.get_task_factory()
        if attached is None or current is attached.factory.make or current is attached.chaining:
            return
        attached.chaining = current
        loop.call_soon_threadsafe(self._probe_factory, loop, attached)

    def _probe_factory(self, loop: asyncio.AbstractEventLoop, attached: AttachedLoop) -> None:
        """Turn the ledger off when the app's later factory does not call ours."""
        attached.factory.probed = False
        loop.create_task(probe()).add_done_callback(asyncio.Task.result)
        if not attached.factory.probed:
            self.detach(loop)
            self._turn_off("the app has set a task factory of its own")


def _recorded(request: RequestRecord) -> RequestRecorded:
    steps = [
        task.steps[at + 2] - task.steps[at + 1] for task in request.tasks for at in range(0, len(task.steps), STRIDE)
    ]
    return RequestRecorded(tuple(steps), tuple([started - handed for _, _, handed, started, _ in request.threads]))
