"""A capture: for a while every request is recorded with its whole stacks, by the factory that the ledger has lent.

    StackCapture ── lent ── Factory ── its requests ── StackRequest ── StackTask
        ├─ CaptureState: the loop, as `LoopState`, with the requests under way
        ├─ Sampler: what runs
        └─ Tally: what it all comes to

It begins and ends in any thread and needs no word from the loop, which may be blocked: that is when captures are made.
Whatever fails inside ends the capture; the requests go on.
"""

import asyncio
import contextlib
import logging
import threading
from time import monotonic
from typing import cast

import msgspec

from hasten.ledger._accountant import Accountant, endpoint_of
from hasten.ledger._attribution import Attribution
from hasten.ledger._capture_state import CaptureState, StackRequest
from hasten.ledger._factory import Factory, is_root
from hasten.ledger._ledger import Ledger
from hasten.ledger._loop_state import Hold, LoopState
from hasten.ledger._records import RequestRecord, ScopeSummary, TaskRecord, summary_of
from hasten.ledger._sampler import Outside, Sampler
from hasten.ledger._sites import OWN
from hasten.ledger._stacks import StackTable, StackTask
from hasten.ledger._tally import CapturedStack, Tally

_MOST_CUT = 500
"""Requests under way at a capture's end whose time until then is added; the loop is held for 20 µs by each."""
_logger = logging.getLogger("hasten.ledger")


class Captured(msgspec.Struct, frozen=True):
    """What a capture has found.

    Attributes:
      answered: Requests that have ended, by endpoint.
      stacks: The most seconds first.
      notes: What a reader must know, whole sentences.
    """

    answered: dict[str, int]
    stacks: tuple[CapturedStack, ...]
    notes: tuple[str, ...]


class StackCapture:
    """Records every request of one loop with its stacks, from `start` to `stop`; may be used in any thread.

    Args:
      ledger: Attached to `loop`; it samples nothing meanwhile, and goes on afterwards.
      rate: Looks a second at what runs, 1 to 1000.
      endpoint: Only of this one (`GET /products/{id}`); empty for all.

    Attributes:
      on: Whether it records.
      failure: What has ended it early; empty if nothing has.
      settled: Whether all requests that were under way at its end are in it.
    """

    detail = False

    def __init__(self, ledger: Ledger, loop: asyncio.AbstractEventLoop, *, rate: int = 100, endpoint: str = "") -> None:
        self.on = False
        self.failure = ""
        self.settled = False
        self._ledger = ledger
        self._loop = loop
        self._wanted = endpoint
        self._rate = rate
        self._table = StackTable()
        self._accountant = Accountant("", self._table)
        self._tally = Tally(self._table, 1.0 / rate)
        self._state: CaptureState | None = None
        self._sampler: Sampler | None = None
        self._before = 0
        self._cut = 0
        self._lock = threading.Lock()

    # ---- from begin to end

    def start(self) -> bool:
        """Begin; return whether it could: the ledger may be off or not attached, or be lent already."""
        attached = self._ledger.loop(self._loop)
        if attached is None:
            return False
        state = self._state = CaptureState(self._table, attached.state)
        state.keeper = self
        self._before = _roots(self._loop)
        self.on = True
        if not self._ledger.lend(self._loop, state):
            self.on = False
            return False
        sampler = self._sampler = Sampler(
            self._loop, state, self._table, rate=self._rate, outside=self._see, failed=self.fail
        )
        state.workers = sampler.workers
        sampler.start()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            # Again on its thread, where the factory is not just counting requests.
            self._loop.call_soon_threadsafe(self._lent_again, attached.factory, state)
        return True

    def _lent_again(self, factory: Factory, state: LoopState) -> None:
        if factory.state is state:
            factory.lend(state)

    def stop(self) -> None:
        """End it: give back what was lent, and ask the loop to settle what is under way. Returns at once."""
        self._give_back()
        if self.failure or self._state is None:
            return
        try:
            self._loop.call_soon_threadsafe(self.settle)
        except RuntimeError:  # the loop is closed
            self.settle()

    def _give_back(self) -> None:
        if self._state is not None:
            self._ledger.take_back(self._loop, self._state)
        if self._sampler is not None:
            self._sampler.stop()

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._sampler is None or not self._sampler.alive

    def fail(self, error: BaseException) -> None:
        """End it because `error` happened inside it; the requests go on without it."""
        if self.on:
            self.on = False
            self.failure = f"{type(error).__name__}: {error}"
            _logger.warning("the capture has ended early: %s", self.failure, exc_info=error)
            self._give_back()
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._forget)

    # ---- requests

    def close(self, request: RequestRecord, state: LoopState) -> None:
        """Add a request whose step has just ended, on the loop's thread."""
        if request.closed:
            return
        request.close()
        if isinstance(state, CaptureState):
            state.under_way.pop(id(request), None)
        if self.on:
            try:
                self._add(cast("StackRequest", request), state)
            except Exception as error:
                self.fail(error)
        request.drop()

    def _add(self, request: StackRequest, state: LoopState) -> None:
        endpoint = self._name(request.summary)
        if not endpoint:
            return
        request.mark_last_steps(self._table)
        breakdown = self._accountant.attribute(request, state)
        shape = breakdown.shape
        counts = (count for _, _, count in shape.lines)
        self._tally.add(endpoint, zip(shape.keys, breakdown.seconds, counts, strict=True))
        if request.thread_looks or any(cast("StackTask", task).looks for task in request.tasks):
            handler = self._accountant.handler(request.summary.endpoint)
            self._add_looks(endpoint, request, Attribution(request, state, handler), request.end)

    def _add_looks(self, endpoint: str, request: StackRequest, attribution: Attribution, end: float) -> None:
        self._tally.add_looks(endpoint, request.tasks, end, attribution.own_site)
        for site, looks in request.thread_looks:
            self._tally.add_thread_looks(endpoint, site, [look for look in looks if look.when <= end])

    def _see(self, seen: Outside) -> None:
        """Add what runs outside of records, on the sampler's thread."""
        endpoint = self._name(summary_of(seen.scope)) if seen.scope is not None else ""
        if self.on and (endpoint or not self._wanted):
            self._tally.add_outside(endpoint, seen)

    def _name(self, summary: ScopeSummary) -> str:
        """Return the endpoint of a request under which it is added up; empty for one that is not wanted."""
        endpoint = endpoint_of(summary)
        if not (summary.method or summary.work) or (self._wanted and endpoint != self._wanted):
            return ""
        return self._tally.name(endpoint, matched=summary.matched)

    # ---- the end

    def settle(self) -> None:
        """Add the time until now of the requests under way, once; on the loop's thread unless that is blocked."""
        with self._lock:
            if self.settled or self._state is None:
                return
            now = monotonic()
            state = self._state
            try:
                self._settle(state, now)
            except Exception as error:
                self.fail(error)
            self.on = False
            self.settled = True
        try:
            self._loop.call_soon_threadsafe(self._forget)
        except RuntimeError:  # the loop is closed
            self._forget()

    def _settle(self, state: CaptureState, now: float) -> None:
        running, since = state.current, state.step_started
        if running is not None and now - since >= state.hold_threshold:
            seen = state._seen(running, since)  # noqa: SLF001
            holder = next((id(one) for one in state.under_way.values() if running in one.tasks), 0)
            state.holds.append(Hold(since, now, max(seen, key=seen.count) if seen else OWN, holder))
        for request in list(state.under_way.values())[:_MOST_CUT]:
            if not request.closed and self.on and request.scope is not None:
                own = running is not None and running in request.tasks
                self._add_part(request, state, since if own else now, running if own else None)

    def _add_part(self, request: StackRequest, state: CaptureState, end: float, running: TaskRecord | None) -> None:
        """Add a request that is under way, until `end`; after that its step runs, if `running` is given."""
        summary = summary_of(request.scope)
        endpoint = self._name(summary)
        if not endpoint:
            return
        request.mark_last_steps(self._table)
        attribution = Attribution(request, state, self._accountant.handler(summary.endpoint))
        attribution.cover(request.started, end)
        counts = attribution.counts
        lines = [(key, seconds, counts[key] or 1) for key, seconds in attribution.seconds.items()]
        self._tally.add(endpoint, lines, answered=False)
        self._add_looks(endpoint, request, attribution, end)
        self._cut += 1
        for look in running.looks if isinstance(running, StackTask) else ():
            if look.when >= end and look.stack != OWN:
                self._tally.add_outside(endpoint, Outside(look.stack, look.blocked, look.ticks, None))

    def _forget(self) -> None:
        """Let go of the requests under way, on the loop's thread: they are recorded no more."""
        under_way = {} if self._state is None else self._state.under_way
        while under_way:
            _, request = under_way.popitem()
            request.close()
            request.drop()

    def result(self) -> Captured:
        """Return what was found."""
        cpu = 0.0 if self._sampler is None or self._wanted else self._sampler.cpu
        return Captured(self._tally.answered(), tuple(self._tally.stacks(cpu)), tuple(self._notes()))

    def _notes(self) -> list[str]:
        notes: list[str] = []
        if self.failure:
            notes.append(f"The capture ended early: {self.failure}.")
        if self._before:
            notes.append(f"{_requests(self._before)} had begun before: only what they ran on the loop is in it.")
        if self._cut:
            notes.append(f"{_requests(self._cut)} had not ended: their time until then is in it, they are not counted.")
        if self._table.full:
            notes.append("There were more stacks than are kept apart; the time of further ones is (not seen).")
        return notes


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _roots(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many requests are under way whose tasks are known."""
    try:
        tasks = asyncio.all_tasks(loop)
    except RuntimeError:  # they change all the time
        return 0
    return sum(is_root(task.get_coro()) for task in tasks if not task.done())
