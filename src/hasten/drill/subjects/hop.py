"""One of three services that call each other for a request: the first by HTTP, the others by gRPC. Notes what it does.

`HASTEN_DRILL_HOP` is `first`, `middle` or `last`, `HASTEN_DRILL_NEXT` the address of the next, empty for the last. With
`HASTEN_DRILL_PLAIN=1` it has grpc.aio, a timeout for its calls, and no edge.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

import msgspec

from hasten.drill._calling import SERVICE
from hasten.drill.subjects._app import App, grpc_server
from hasten.http import Edge

LATE = 0.02  # seconds after its deadline, from which on work is begun too late
_PIECE = 0.01  # seconds
_PIECES = {"middle": 30, "last": 200}  # of the work of a request that is for this hop to do
_PATIENCE = 5.0  # seconds that a plain hop gives the next one


class Order(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
      expires: When nobody waits for it any more, by `time.monotonic()`, which is one clock for all of the machine.
      worker: The hop that works long for it; those before it call the next at once.
    """

    number: int
    expires: float
    worker: str


class Note(msgspec.Struct):
    """What a hop did for a request.

    Attributes:
      ended: When it stopped, by `time.monotonic()`; None while it has not.
      late: Pieces of work that were begun when it was over, the first of which is to begin at all.
    """

    number: int
    expires: float
    ended: float | None = None
    late: int = 0

    def begin_piece(self) -> None:
        """Note that a piece of work is begun."""
        self.late += monotonic() > self.expires + LATE


class Hop:
    """Does the work, and has the next hop do its."""

    def __init__(self, name: str, following: str, *, plain: bool) -> None:
        self._name, self._following, self._plain = name, following, plain
        self._notes: list[Note] = []
        self._next: Any = None
        self._address = ""

    async def by_http(self, query: str) -> tuple[int, Any]:
        """Answer a GET; the query is the order."""
        await self._work(query.encode())
        return 200, b""

    async def by_grpc(self, request: bytes, context: Any) -> bytes:
        """Answer a call of gRPC; the request is the order."""
        await self._work(request)
        return b""

    async def _work(self, said: bytes) -> None:
        order = read_order(said.decode())
        note = Note(order.number, order.expires)
        self._notes.append(note)
        note.begin_piece()
        try:
            if order.worker == self._name:
                for _ in range(_PIECES[self._name]):
                    note.begin_piece()
                    await asyncio.sleep(_PIECE)
            if self._next is not None:
                await self._next(said, timeout=_PATIENCE if self._plain else None)
        finally:
            note.ended = monotonic()

    async def notes(self, query: str) -> tuple[int, Any]:
        """Answer what was done so far."""
        return 200, self._notes

    async def grpc(self, query: str) -> tuple[int, Any]:
        """Answer where gRPC is served."""
        return 200, self._address

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Serve gRPC, and be connected to the next hop, while the block runs."""
        async with AsyncExitStack() as stack:
            if self._following:
                channel = await stack.enter_async_context(_channel(self._following, plain=self._plain))
                await channel.channel_ready()
                self._next = channel.unary_unary(f"/{SERVICE}/Work")
            self._address = await stack.enter_async_context(grpc_server(self.by_grpc, peer=self._plain))
            yield


def _channel(address: str, *, plain: bool) -> Any:
    if plain:
        import grpc

        return grpc.aio.insecure_channel(f"ipv4:{address}")
    from hasten.rpc import Channel

    return Channel(f"ipv4:{address}")


def order_text(order: Order) -> str:
    """Return an order as it is sent."""
    return f"{order.number}:{order.expires!r}:{order.worker}"


def read_order(text: str) -> Order:
    """Return the order that was sent."""
    number, expires, worker = text.split(":")
    return Order(int(number), float(expires), worker)


def _app() -> Any:
    given = os.environ.get
    plain = given("HASTEN_DRILL_PLAIN") == "1"
    hop = Hop(given("HASTEN_DRILL_HOP", "last"), given("HASTEN_DRILL_NEXT", ""), plain=plain)
    made = App({"/work": hop.by_http, "/notes": hop.notes, "/grpc": hop.grpc}, hop.living)
    return made if plain else Edge(made)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
