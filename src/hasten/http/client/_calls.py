"""How a call is made: attempts at hosts, one after the other if they fail, two beside each other if one is slow."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from time import monotonic, time
from typing import Any

from hasten._core.signals import HttpCallFinished, HttpCallHook
from hasten.http._fields import http_date, whole_seconds
from hasten.http.client._decoding import Decoders
from hasten.http.client._errors import ConnectFailed, ConnectionLost, HttpError
from hasten.http.client._exchange import Exchange
from hasten.http.client._host import Host, Hosts
from hasten.http.client._request import Request
from hasten.http.client._response import Response
from hasten.http.client._stream import Body
from hasten.resilience import Hedge, Refused, RetryBudget, RetryPolicy
from hasten.resilience._expiry import Expiring, expiry_of

RETRIED = frozenset((429, 502, 503, 504))
"""Statuses that may be different a moment later, or at another host (RFC 9110 section 15.6; RFC 6585 section 4)."""


class Calls:
    """Makes the calls of one client, in one event loop.

    Args:
      hosts: To be called.
      policy: Of retries; None for none.
      budget: Of retries and hedges.
      hedge: When a call is slow; None to never send a second.
      hooks: Told of each call.
      chance: From 0 to 1, 1 left out.
      sleep: Waits for so many seconds.

    Attributes:
      closed: Nothing is sent again.
      decoders: Of the answers' bodies.
    """

    def __init__(
        self,
        hosts: Hosts,
        *,
        policy: RetryPolicy | None,
        budget: RetryBudget,
        hedge: Hedge | None,
        hooks: list[HttpCallHook],
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.hosts = hosts
        self.closed = False
        self.loop = asyncio.get_running_loop()
        self._expiry = expiry_of(self.loop)
        self._policy, self._budget, self._hedge = policy, budget, hedge
        self._hooks = hooks
        self._chance, self._sleep = chance, sleep
        self.decoders = Decoders()

    # ---- a call

    def send(self, request: Request, deadline: float) -> Coroutine[Any, Any, Response]:
        """Return what makes a call, and returns its answer, whatever its status."""
        self._budget.deposit()
        return self._told(request, deadline) if self._hooks else self._send(request, deadline)

    async def _told(self, request: Request, deadline: float) -> Response:
        """Make a call that hooks are told of."""
        began = monotonic()
        status = received = 0
        failure = ""
        try:
            response = await self._send(request, deadline)
            status, received = response.status, len(response.content)
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            self.tell(request, monotonic() - began, status, received, failure)
        return response

    async def _send(self, request: Request, deadline: float) -> Response:
        used: list[Host] = []
        outcome: Response | HttpError | None = None
        while True:
            asked, may = 0.0, request.repeatable
            try:
                exchange = await self._attempt(request, deadline, used)
            except (ConnectFailed, ConnectionLost) as failure:
                outcome, may = failure, _may_be_sent_again(request, failure)
            except Refused:
                if outcome is None:
                    raise
                break
            else:
                outcome = self._response(exchange)
                if outcome.status not in RETRIED:
                    return outcome
                asked = _asked_pause(outcome)
            pause = self._pause_after(request, deadline, used, asked) if may else -1.0
            if pause < 0.0:
                break
            if pause > 0.0:
                await self._sleep(pause)
        if isinstance(outcome, Response):
            return outcome
        raise outcome

    def _pause_after(self, request: Request, deadline: float, used: Collection[Host], asked: float) -> float:
        """Return the seconds until the next attempt; negative if there is to be none."""
        policy = self._policy
        if self.closed or policy is None or request.attempts >= policy.attempts:
            return -1.0
        if asked > 0.0 or not self.hosts.has_other(used):
            pause = max(asked, policy.delay(request.attempts, self._chance))
        else:
            pause = 0.0  # what one host cannot do another may at once
        if monotonic() + pause >= deadline or not self._budget.try_withdraw():
            return -1.0
        return pause

    def _response(self, exchange: Exchange) -> Response:
        request, head = exchange.request, exchange.head
        assert head is not None
        return Response(
            head.status,
            head.lines,
            exchange.content,
            host=exchange.host.pool.name,
            method=request.method,
            target=request.target,
            decoders=self.decoders,
        )

    def tell(self, request: Request, seconds: float, status: int, received: int, failure: str) -> None:
        """Tell the hooks of a call that has ended."""
        if not self._hooks:
            return
        signal = HttpCallFinished(
            request.host, request.method, status, failure, seconds, request.attempts,
            len(request.body), received, request.span, request.parent,
        )  # fmt: skip
        for hook in self._hooks:
            try:
                hook(signal)
            except Exception as error:
                self.loop.call_exception_handler({"message": "hasten.http: error in a hook", "exception": error})

    # ---- an attempt

    async def _attempt(self, request: Request, deadline: float, used: list[Host]) -> Exchange:
        exchange = self.begin(request, deadline, used)
        used.append(exchange.host)
        hedge = self._hedge
        delay = hedge.delay() if hedge is not None and request.repeatable else None
        if hedge is not None and delay is not None:
            exchange = await self._hedged(exchange, used, hedge, delay)
        else:
            try:
                await exchange
            finally:
                self.end(exchange)
        if exchange.error is not None:
            raise exchange.error
        if hedge is not None and _is_well(exchange):
            hedge.record(monotonic() - exchange.began)
        return exchange

    def begin(
        self, request: Request, deadline: float, used: Collection[Host], *, streamed_until: float | None = None
    ) -> Exchange:
        """Send a request to a host that is chosen for it; whoever begins an attempt calls `end`.

        Args:
          streamed_until: The answer is streamed, and wanted until then.
        Raises:
          Refused: there is none that is well.
        """
        now = monotonic()
        host = self.hosts.begin(used, now)
        host.attempts += 1
        if used:
            host.again += 1
        request.attempts += 1
        request.host = host.pool.name
        exchange = Exchange(request, host, deadline, self.loop.create_future(), now)
        if streamed_until is not None:
            exchange.body, exchange.told = Body(exchange), streamed_until
        self.watch(exchange)
        host.pool.submit(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Note that an attempt is over; if it is not, it is given up."""
        self._expiry.watched.discard(exchange)
        if not exchange.ended or exchange.connection is not None:
            exchange.leave()
        self.hosts.ended(exchange)

    def watch(self, one: Expiring) -> None:
        """Have something expire at its deadline; within 5 ms after, with one timer for all of the loop's."""
        self._expiry.watched.add(one)
        if one.deadline < self._expiry.due:
            self._expiry.sweep_at(one.deadline)

    # ---- two attempts

    async def _hedged(self, first: Exchange, used: list[Host], hedge: Hedge, delay: float) -> Exchange:
        """Return the attempt that was answered first; the first one, if neither was well."""
        second = _Second(self, first, used, hedge, first.began + delay)
        self.watch(second)
        try:
            await first
            other = second.exchange
            if other is None or _is_well(first):
                return first
            if _is_well(other):
                return other
            unheard = other if first.ended else first
            if not unheard.ended:
                unheard.waiter = self.loop.create_future()
                await unheard
            return unheard if _is_well(unheard) else first
        finally:
            self._expiry.watched.discard(second)
            self.end(first)
            if second.exchange is not None:
                self.end(second.exchange)


class _Second:
    """The second attempt of a call, which is made when the first takes long.

    Attributes:
      deadline: When that is, by `time.monotonic()`.
      exchange: Once it is made.
    """

    __slots__ = ("_calls", "_first", "_hedge", "_used", "deadline", "exchange")

    def __init__(self, calls: Calls, first: Exchange, used: list[Host], hedge: Hedge, deadline: float) -> None:
        self._calls, self._first, self._used, self._hedge = calls, first, used, hedge
        self.deadline = deadline
        self.exchange: Exchange | None = None

    def expire(self) -> None:
        """Send it, if the first has no answer yet; called by `Expiry` alone."""
        first = self._first
        if first.ended or not self._hedge.try_hedge():
            return
        try:
            self.exchange = second = self._calls.begin(first.request, first.deadline, self._used)
        except Refused:
            return
        second.host.hedges += 1
        self._used.append(second.host)
        second.waiter = first.waiter  # whichever ends first
        if second.ended and not first.waiter.done():
            first.waiter.set_result(None)


def _is_well(exchange: Exchange) -> bool:
    return exchange.head is not None and exchange.error is None and exchange.head.status not in RETRIED


def _may_be_sent_again(request: Request, error: ConnectFailed | ConnectionLost) -> bool:
    return request.repeatable or not (isinstance(error, ConnectionLost) and error.may_be_processed)


def _asked_pause(response: Response) -> float:
    """Return the seconds that Retry-After asks for, in either of its forms; 0.0 without (RFC 9110 section 10.2.3)."""
    value = response.fields.get("retry-after")
    if value is None:
        return 0.0
    seconds = whole_seconds(value.encode("latin-1"))
    if seconds is not None:
        return float(seconds)
    moment = http_date(value.encode("latin-1"))
    return 0.0 if moment is None else max(0.0, moment - time())
