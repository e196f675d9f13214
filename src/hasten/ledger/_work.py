"""Work that is no request of an ASGI app, a gRPC call or a message: recorded where its handler begins."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from hasten._core.tracing import is_asked
from hasten.ledger._drive import drive
from hasten.ledger._records import REQUEST, WORK

if TYPE_CHECKING:
    from hasten.ledger._ledger import Ledger
    from hasten.ledger._loop_state import LoopState

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_OFTEN = 0.1
"""Seconds between two pieces of work that are recorded because they ask for it: a stranger may ask."""


class WorkRecorder:
    """Has a ledger record some of what a server or a bus does; a monitor gives one to those that it watches.

    As many as of requests, which are counted with them: by default one in twenty, and each whose trace is asked for,
    ten a second at most of either. Work that is not recorded pays 0.4 µs.
    """

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._last_asked = -math.inf

    def __call__(
        self,
        name: str,
        handler: Any,
        traceparent: str,
        function: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
    ) -> Coroutine[Any, Any, T]:
        """Return `function(*args)`, or a coroutine that runs it recorded; to be awaited in the task that is to run it.

        Args:
          name: The endpoint in accounts: `/shop.Pricing/Quote`, `orders.paid`.
          handler: The user's function that it comes to; None where it is not known.
          traceparent: Well-formed, of its span; empty for none.
        """
        attached, within = self._ledger.loop(asyncio.get_running_loop()), REQUEST.get()
        if attached is None or not self._ledger.on or (within is not None and not within.closed):
            return function(*args)
        if attached.factory.sample() or (is_asked(traceparent) and self._may_ask()):
            return _record(attached.factory.state, {WORK: name, "endpoint": handler}, function, args)
        return function(*args)

    def _may_ask(self) -> bool:
        now = monotonic()
        if now - self._last_asked < MOST_OFTEN:
            return False
        self._last_asked = now
        return True


async def _record(
    state: "LoopState", scope: dict[str, Any], function: Callable[[*Ts], Coroutine[Any, Any, T]], args: tuple[*Ts]
) -> T:
    request = state.begin(monotonic())
    request.scope = scope
    token = REQUEST.set(request)
    try:
        work = function(*args)  # here: a task that is cancelled before it begins leaves no coroutine behind
        done: T = await drive(work, request.add_task(work, request.started), request, state, state.keeper)
        return done
    finally:
        REQUEST.reset(token)
