"""Work that is no request of an ASGI app, a gRPC call or a message: recorded where its handler begins."""

import math
from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from hasten._core.tracing import is_asked
from hasten.ledger._drive import drive
from hasten.ledger._records import REQUEST, WORK

if TYPE_CHECKING:
    from hasten.ledger._ledger import Ledger

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_OFTEN = 0.1
"""Seconds between two pieces of work that are recorded because they ask for it: a stranger may ask."""


class WorkRecorder:
    """Has a ledger record some of what a server or a bus does; a monitor gives one to those that it watches.

        work = recorder.recorded(name, handler, run, call) if recorder.wants(traceparent) else run(call)

    As many as of requests, which are counted with them: by default one in twenty, and each whose trace is asked for,
    ten a second at most of either.
    """

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._last_asked = -math.inf

    def wants(self, traceparent: str) -> bool:
        """Tell whether to record the work that begins now, once for each; 0.3 µs.

        Args:
          traceparent: Well-formed, of its span; empty for none.
        """
        attached = self._ledger.loop(get_running_loop())
        if attached is None or not self._ledger.on:
            return False
        if not (attached.factory.sample() or (traceparent and is_asked(traceparent) and self._may_ask())):
            return False
        within = REQUEST.get()
        return within is None or within.closed

    async def recorded(
        self, name: str, handler: Any, function: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts
    ) -> T:
        """Run `function(*args)` recorded, in the task that awaits it.

        Args:
          name: The endpoint in accounts: `/shop.Pricing/Quote`, `orders.paid mail`.
          handler: The user's function that it comes to; None where it is not known.
        """
        attached = self._ledger.loop(get_running_loop())
        if attached is None:  # the ledger has left the loop meanwhile
            return await function(*args)
        state = attached.factory.state
        request = state.begin(monotonic())
        request.scope = {WORK: name, "endpoint": handler}
        token = REQUEST.set(request)
        try:
            work = function(*args)  # here: a task that is cancelled before it begins leaves no coroutine behind
            done: T = await drive(work, request.add_task(work, request.started), request, state, state.keeper)
            return done
        finally:
            REQUEST.reset(token)

    def _may_ask(self) -> bool:
        now = monotonic()
        if now - self._last_asked < MOST_OFTEN:
            return False
        self._last_asked = now
        return True
