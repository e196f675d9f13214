"""Hedged calls: when no answer comes, the same call goes to another server too, and the first answer counts (gRFC A6).

Jeffrey Dean and Luiz Barroso, The Tail at Scale (2013): the tail of one server is rarely that of another.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import Metadata

from hasten._core.signals import Attempt
from hasten.rpc.channel._attempts import Allowance, previous_attempts, pushback
from hasten.rpc.channel._call import OK, ClientCall, call_back
from hasten.rpc.channel._service_config import HedgingPolicy
from hasten.rpc.channel._unary import UnaryUnaryCall

if TYPE_CHECKING:
    from hasten.rpc.channel._balancing import Endpoint


class HedgedCall(grpc.aio.UnaryUnaryCall[Any, Any]):
    """A unary call with several attempts at once.

    An attempt that fails with a non-fatal code sends the next at once, or when the server asks for it by
    grpc-retry-pushback-ms; the first success, and the first fatal failure, is the call's outcome, and the other
    attempts are cancelled. Hedges are paid from the channel's budget.

    Args:
      first: The first attempt, prepared and not yet sent; the others are like it.
    Cancellation: cancelling who awaits it cancels all attempts.
    """

    def __init__(
        self, policy: HedgingPolicy, allowance: Allowance, first: UnaryUnaryCall, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._policy = policy
        self._allowance = allowance
        self._loop = loop
        self._attempts: list[UnaryUnaryCall] = []
        self._open = 0
        self._exhausted = False
        self._timer: asyncio.TimerHandle | None = None
        self._outcome: UnaryUnaryCall | None = None
        self._settled: asyncio.Future[None] = loop.create_future()
        self._callbacks: list[Callable[[Any], None]] = []
        self.used: set[Endpoint] = set()
        self._send(first)

    # ---- attempts

    def _send(self, call: UnaryUnaryCall) -> None:
        call.plan = _Hedge(self, len(self._attempts))
        self._attempts.append(call)
        self._open += 1
        call.add_done_callback(self._ended)
        self._hedge_in(self._policy.hedging_delay)  # first, because the dispatch may end the call at once
        call.dispatch()

    def _hedge_in(self, seconds: float) -> None:
        """Send one more attempt in so many seconds and not before, if there may be one then."""
        self._stop_timer()
        left = self._attempts[0].deadline - time.monotonic()
        if not self._exhausted and len(self._attempts) < self._policy.max_attempts and seconds < left:
            self._timer = self._loop.call_later(seconds, self._hedge)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hedge(self) -> None:
        self._timer = None
        if self._allowance.take():
            self._send(self._attempts[0].another())
        else:
            self._exhausted = True
            self._settle_if_nothing_is_left(self._attempts[-1])

    def attempt_ended(self, call: ClientCall, code: grpc.StatusCode) -> None:
        """Take what a server has answered to one attempt."""
        if self._outcome is None:
            asked = pushback(call)
            forbidden = asked is not None and asked < 0
            self._exhausted = self._exhausted or forbidden
            self._allowance.note(code, failed=code in self._policy.non_fatal_codes or forbidden)

    def _ended(self, call: UnaryUnaryCall) -> None:
        self._open -= 1
        if self._outcome is not None:
            return
        code = call.outcome
        if code is OK or code not in self._policy.non_fatal_codes:
            self._settle(call)
            return
        self._hedge_in(pushback(call) or 0.0)
        self._settle_if_nothing_is_left(call)

    def _settle_if_nothing_is_left(self, call: UnaryUnaryCall) -> None:
        """Take a failure for the outcome when no attempt is open and none will be sent."""
        if self._outcome is None and not self._open and self._timer is None:
            self._settle(call)

    def _settle(self, call: UnaryUnaryCall) -> None:
        self._outcome = call
        self._stop_timer()
        for other in self._attempts:
            if other is not call:
                other.cancel()
        if not self._settled.done():
            self._settled.set_result(None)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            call_back(callback, self)

    async def _winner(self) -> UnaryUnaryCall:
        if self._outcome is None:
            await asyncio.shield(self._settled)
        assert self._outcome is not None
        return self._outcome

    # ---- grpc.aio.UnaryUnaryCall

    def __await__(self) -> Generator[Any, None, Any]:
        if self._outcome is None:
            try:
                yield from self._settled
            except asyncio.CancelledError:
                self.cancel()
                raise
        assert self._outcome is not None
        return (yield from self._outcome.__await__())

    @property
    def wait_name(self) -> str:
        return self._attempts[0].wait_name

    @property
    def wait_identity(self) -> str:
        return self._attempts[0].wait_identity

    def cancel(self) -> bool:
        """Cancel all attempts; False when the call is over already."""
        if self._outcome is not None:
            return False
        self._exhausted = True
        self._stop_timer()
        last = self._attempts[-1] if self._open else self._attempts[0].another()  # cancelled between two attempts
        last.cancel()
        if self._outcome is None:
            self._settle(last)
        return True

    def cancelled(self) -> bool:
        return self._outcome is not None and self._outcome.cancelled()

    def done(self) -> bool:
        return self._outcome is not None

    def time_remaining(self) -> float | None:
        return self._attempts[0].time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._outcome is not None:
            call_back(callback, self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> Metadata:
        return await (await self._winner()).initial_metadata()

    async def trailing_metadata(self) -> Metadata:
        return await (await self._winner()).trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        return await (await self._winner()).code()

    async def details(self) -> str:
        return await (await self._winner()).details()

    async def debug_error_string(self) -> str:
        return await (await self._winner()).debug_error_string()

    async def wait_for_connection(self) -> None:
        await (await self._winner()).wait_for_connection()

    def __repr__(self) -> str:
        return repr(self._outcome or self._attempts[0]).replace("UnaryUnaryCall", "HedgedCall", 1)


class _Hedge:
    """The plan of one attempt."""

    def __init__(self, hedged: HedgedCall, number: int) -> None:
        self._hedged = hedged
        self._number = number
        self.used = hedged.used

    @property
    def kind(self) -> Attempt:
        return "hedge" if self._number else "first"

    def fields(self) -> bytes:
        return previous_attempts(self._number)

    def attempt_ended(self, call: ClientCall, code: grpc.StatusCode, *, final: bool) -> bool:
        if not final:
            self._hedged.attempt_ended(call, code)
        return False
