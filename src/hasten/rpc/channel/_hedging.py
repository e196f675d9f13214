"""Hedged calls: when no answer comes, the same call goes to another server too, and the first answer counts (gRFC A6).

Jeffrey Dean and Luiz Barroso, The Tail at Scale (2013): the tail of one server is rarely that of another.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import grpc
from grpc.aio import Metadata

from hasten._core.signals import Attempt
from hasten.rpc.channel._attempts import Allowance, previous_attempts, pushback
from hasten.rpc.channel._balancing import Endpoint
from hasten.rpc.channel._call import OK, ClientCall
from hasten.rpc.channel._service_config import HedgingPolicy
from hasten.rpc.channel._unary import UnaryUnaryCall


class HedgedCall(grpc.aio.UnaryUnaryCall[Any, Any]):
    """A unary call with several attempts at once.

    An attempt that fails with a non-fatal code sends the next at once; the first success, and the first fatal failure,
    is the call's outcome, and the other attempts are cancelled. Hedges are paid from the channel's budget.

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
        number = len(self._attempts)
        call.plan = _Hedge(self, number)
        self._attempts.append(call)
        self._open += 1
        call.add_done_callback(self._ended)
        call.dispatch()
        if self._outcome is None and number + 1 < self._policy.max_attempts:
            self._timer = self._loop.call_later(self._policy.hedging_delay, self._hedge)

    def _hedge(self) -> None:
        """Send one more attempt, if there may be one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._outcome is not None or self._exhausted or len(self._attempts) >= self._policy.max_attempts:
            return
        if self._allowance.take():
            self._send(self._attempts[0].another())
        else:
            self._exhausted = True

    def attempt_ended(self, call: ClientCall, endpoint: Endpoint | None, code: grpc.StatusCode) -> None:
        """Note how one attempt ended."""
        if endpoint is not None:
            self.used.add(endpoint)
        failed = code in self._policy.non_fatal_codes
        self._allowance.note(code, failed=failed)
        pause = pushback(call) if failed else None
        if pause is not None and pause < 0:
            self._exhausted = True

    def _ended(self, call: UnaryUnaryCall) -> None:
        self._open -= 1
        if self._outcome is not None:
            return
        code = call.outcome
        if code is not OK and code in self._policy.non_fatal_codes:
            self._hedge()
            if self._open or self._outcome is not None:
                return
        self._settle(call)

    def _settle(self, call: UnaryUnaryCall) -> None:
        self._outcome = call
        if self._timer is not None:
            self._timer.cancel()
        for other in self._attempts:
            if other is not call:
                other.cancel()
        if not self._settled.done():
            self._settled.set_result(None)
        for callback in self._callbacks:
            callback(self)

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
        for call in list(self._attempts):
            call.cancel()
        return True

    def cancelled(self) -> bool:
        return self._outcome is not None and self._outcome.cancelled()

    def done(self) -> bool:
        return self._outcome is not None

    def time_remaining(self) -> float | None:
        return self._attempts[0].time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._outcome is not None:
            callback(self)
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

    def attempt_ended(self, call: ClientCall, endpoint: Endpoint | None, code: grpc.StatusCode) -> bool:
        self._hedged.attempt_ended(call, endpoint, code)
        return False
