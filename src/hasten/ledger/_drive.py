"""The coroutine that a sampled request's task runs in place of the user's: it resumes the user's and times each step.

A native coroutine around a generator whose locals are the state: a step costs half of what a class with `__next__`
costs (0.26 µs against 0.49), and tools that read tasks from outside (`python -m asyncio ps`) find the native object
they expect. What the task sends or throws is passed on; what the user's coroutine yields, returns or raises is passed
back. Tracebacks gain two frames.
"""

import types
from collections.abc import Generator
from time import monotonic
from types import CodeType
from typing import Any, Protocol

from hasten.ledger._loop_state import IDLE_GAP, LoopState
from hasten.ledger._records import MOST_STEPS, NOBODY, OUTSIDE, STRIDE, RequestRecord, TaskRecord
from hasten.ledger._sites import OWN

_MOST_NUMBERS = MOST_STEPS * STRIDE


class Keeper(Protocol):
    """Who has requests recorded: the ledger, or a capture that has borrowed its factory."""

    on: bool
    detail: bool

    def close(self, request: RequestRecord, state: LoopState) -> None:
        """End the recording of a request whose step has just ended, and have its account made."""

    def fail(self, error: BaseException) -> None:
        """Record no more, because `error` happened in the recording."""


async def drive(coroutine: Any, task: TaskRecord, request: RequestRecord, state: LoopState, ledger: Keeper) -> Any:
    """Run `coroutine` to its end, writing each of its steps into `task`.

    Cancellation: thrown into `coroutine` as the task threw it.
    """
    return await _steps(coroutine, task, request, state, ledger)


@types.coroutine
def _steps(
    coroutine: Any, task: TaskRecord, request: RequestRecord, state: LoopState, ledger: Keeper
) -> Generator[Any, Any, Any]:
    # Over 40 lines because it is the hot path: a call for each of its parts would double what a step costs.
    send = coroutine.send
    write = task.steps.extend
    task.driven = None
    thrown: BaseException | None = None
    while not request.closed:
        started = monotonic()
        if started - state.last_end > IDLE_GAP:
            state.busy_since = started
        if started - state.mark > state.mark_age:
            state.read_clocks(started)
        # Not None when this task starts eagerly, within another's step.
        outer, outer_started = state.current, state.step_started
        state.current, state.step_started = task, started
        request.running = task.number
        if len(request.tasks) > 1:
            request.note_wakers(task, OUTSIDE)
        try:
            if thrown is None:
                awaited = send(None)
            else:
                error, thrown = thrown, None
                awaited = coroutine.throw(error)
                del error  # its traceback holds this frame
        except BaseException as error:
            ended = monotonic()
            state.current, state.step_started, state.last_end = outer, outer_started, ended
            if outer is None:
                state.ran += ended - started
            write((task.waiting_since, started, ended, state.busy_since, task.site, task.waker))
            task.ended = task.waiting_since = ended
            _step_over(task, request, state, ledger, ended - started)
            if isinstance(error, StopIteration):
                return error.value
            raise
        ended = monotonic()
        state.current, state.step_started, state.last_end = outer, outer_started, ended
        if outer is None:
            state.ran += ended - started
        write((task.waiting_since, started, ended, state.busy_since, task.site, task.waker))
        task.waiting_since = ended
        if request.completed or ended - started > state.long_step or len(request.tasks) > 1:
            _step_over(task, request, state, ledger, ended - started)
        if not request.closed:
            _suspend(task, request, state, ledger, awaited)
        try:
            yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            thrown = error
    return (yield from _unrecorded(coroutine, thrown))


def _step_over(task: TaskRecord, request: RequestRecord, state: LoopState, ledger: Keeper, seconds: float) -> None:
    try:
        if len(request.tasks) > 1:
            request.note_wakers(task, task.number)
        if seconds > state.long_step:
            state.end_long_step(task, request, seconds)
        if request.completed or (task.ended and task.number == 0):
            ledger.close(request, state)
    except Exception as error:
        request.close()
        ledger.fail(error)


def _suspend(task: TaskRecord, request: RequestRecord, state: LoopState, ledger: Keeper, awaited: Any) -> None:
    try:
        if len(task.steps) >= _MOST_NUMBERS:
            request.close()
            request.drop()
            return
        task.waker = NOBODY
        task.future = awaited if len(request.tasks) > 1 and hasattr(awaited, "done") else None
        site = state.sites.suspended(task, awaited)
        if task.new_call:
            task.new_call = False
            task.site = site
            if ledger.detail:
                request.note_call(site, state.sites.identity(task.called, awaited))
        else:
            task.site = ~site if site > OWN else site
    except Exception as error:
        request.close()
        ledger.fail(error)


@types.coroutine
def _unrecorded(coroutine: Any, thrown: BaseException | None) -> Generator[Any, Any, Any]:
    """Run what is left of `coroutine` after its request's account was made (background tasks), timing nothing."""
    while thrown is not None:
        error, thrown = thrown, None
        try:
            awaited = coroutine.throw(error)
        except StopIteration as stop:
            return stop.value
        try:
            yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as later:
            thrown = later
    return (yield from coroutine)


DRIVER_CODE: CodeType = _steps.__code__
"""Code of the frame under which the user's stack stands; it ends the watchdog's walk."""
