"""The work of a call, the same for every subject: requests, the handler's answer, the check of a reply.

Messages are copies of a template with a number of their own: all of protobuf's work on them is in C, so that what is
measured is the stack and not the making of messages (0.5 µs a copy of the small one, 3.2 µs of the large one).
"""

import itertools
from collections.abc import Callable

from benchmarks.rpc.echo_pb2 import Line, Order

TIMEOUT = 5.0
"""Seconds that a call with a deadline may take."""
TRACEPARENT = "traceparent"
SIZES_BYTES = SMALL_BYTES, LARGE_BYTES = 97, 10_178
_FIRST_NUMBER = 1_760_000_000_000  # a varint of six bytes, as are all that follow: the size stays the same


def template(size_bytes: int) -> Order:
    """Return an order of SMALL_BYTES or LARGE_BYTES when serialised; the large one has 100 lines."""
    order = Order(
        id="7d44c1b2-5b0f-4e57-9d1c-3c0a8f21e6b4",
        number=_FIRST_NUMBER,
        customer="customer-22",
        total=84.5,
        labels=["express", "gift"],
        attributes={"shop": "north"},
    )
    order.lines.extend(_line(number) for number in range(100 if size_bytes == LARGE_BYTES else 0))
    return order


def _line(number: int) -> Line:
    return Line(
        article=f"9b1f7a52-0c6d-4f6e-8a3b-6f0e5d4c{number:04}",
        stamp=_FIRST_NUMBER + number,
        name=f"article number {number}",
        price=number * 1.5,
        note=b"n" * 24,
    )


def requests(size_bytes: int) -> Callable[[], Order]:
    """Return a function that builds the next request."""
    original = template(size_bytes)
    numbers = itertools.count(_FIRST_NUMBER)

    def build() -> Order:
        order = Order()
        order.CopyFrom(original)
        order.number = next(numbers)
        return order

    return build


def answer(order: Order) -> Order:
    """Return what a handler answers: a new message, with the next number."""
    reply = Order()
    reply.CopyFrom(order)
    reply.number = order.number + 1
    return reply


def check(request: Order, reply: Order) -> None:
    """Verify that `reply` is what `answer` makes of `request`.

    Raises:
      ValueError: it is not.
    """
    if reply.number != request.number + 1 or len(reply.lines) != len(request.lines):
        raise ValueError(f"wrong reply: number {reply.number} with {len(reply.lines)} lines to {request.number}")


def traceparents() -> Callable[[], str]:
    """Return a function that makes a traceparent (W3C Trace Context, 55 characters) for each call."""
    spans = itertools.count(0x1000_0000_0000_0000)
    return lambda: f"00-4f1d6a0c9be2473c8d51f0a7e3b69c24-{next(spans):016x}-01"
