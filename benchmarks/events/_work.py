"""What is published, and what its handler does: the same for every subject."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from benchmarks._driven import WrongValueError

IN_FLIGHT = 64
"""Messages that are published at once, and deliveries that may be unsettled at once."""
_FIRST_NUMBER = 1_000_000  # seven digits, as all that follow: the size stays the same


class OrderPaid(msgspec.Struct, frozen=True):
    """The payload; BODY_BYTES as JSON."""

    number: int
    id: str = "7d44c1b2-5b0f-4e57-9d1c-3c0a8f21e6b4"
    customer: str = "customer-22"
    total: float = 84.5
    currency: str = "EUR"
    labels: tuple[str, ...] = ("express", "gift")
    note: str = "leave it at the green front door; thanks, Mia"


Publish = Callable[[OrderPaid], Awaitable[object]]
"""Publishes an order; the answer comes when the broker has confirmed it."""
Handle = Callable[[OrderPaid], Coroutine[Any, Any, None]]
"""What a consumer calls with every order; when it returns, the message is to be acknowledged."""
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(OrderPaid).decode
BODY_BYTES = len(encode(OrderPaid(_FIRST_NUMBER)))


class Orders:
    """Makes orders, each with a number of its own."""

    def __init__(self) -> None:
        self._first = _FIRST_NUMBER

    def __call__(self, count: int) -> list[OrderPaid]:
        """Return the next ones."""
        first = self._first
        self._first += count
        return [OrderPaid(number) for number in range(first, self._first)]


def check(orders: Sequence[OrderPaid], numbers: Sequence[int]) -> None:
    """Verify that each order was handled once.

    Args:
      numbers: Of those that were handled.
    Raises:
      WrongValueError: one was lost, or came twice.
    """
    wanted = [order.number for order in orders]
    if sorted(numbers) != wanted:
        lost = len(set(wanted).difference(numbers))
        raise WrongValueError(f"{lost} of {len(wanted)} messages lost, {len(numbers)} handled")


class Billing:
    """Handles orders: notes which; while it is shut they wait, so that the broker keeps what comes behind them.

    Attributes:
      numbers: Of the orders that were handled, in that order.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._make = Orders()
        self._opened = asyncio.Event()
        self._opened.set()
        self._expected = 0
        self._complete: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[float] | None = None

    async def bill(self, order: OrderPaid) -> None:
        """Handle an order."""
        if self._waiter is not None:
            self._waiter.set_result(time.perf_counter())
            self._waiter = None
        if not self._opened.is_set():
            await self._opened.wait()
        self.numbers.append(order.number)
        if len(self.numbers) == self._expected and self._complete is not None:
            self._complete.set_result(None)

    def shut(self) -> None:
        """Handle nothing until it is opened."""
        self._opened.clear()

    def open(self) -> None:
        """Handle what waits, and what comes."""
        self._opened.set()

    def orders(self, count: int) -> list[OrderPaid]:
        """Return new orders, each with a number of its own, and forget what was handled before."""
        self.numbers, self._expected = [], count
        self._complete = asyncio.get_running_loop().create_future()
        return self._make(count)

    def next_handled(self) -> "asyncio.Future[float]":
        """Answer, when the next order is handled, with the moment by `time.perf_counter()`."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    async def complete(self) -> None:
        """Wait until as many were handled as there were orders."""
        assert self._complete is not None
        await self._complete
