"""FastAPI called by httpx: one client, connections pooled, HTTP/1.1.

At each call its pool goes through all connections once for each of them: with 64 a call costs 5 ms of CPU, with 8 it
costs 1.2, but then only 8 of 64 calls are under way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx import URL, AsyncClient, Limits

from benchmarks.rpc._orders import TIMEOUT, TRACEPARENT, traceparents
from benchmarks.rpc._stack import Caller, Place
from benchmarks.rpc.echo_pb2 import Order
from benchmarks.rpc.stacks._fastapi import MEDIA_TYPE, SAY, SAY_IN_TIME, serve_fastapi


class FastapiHttpxStack:
    """A `Stack` for TCP."""

    def serve(self, place: Place) -> None:
        """Serve on a free port."""
        serve_fastapi()

    @asynccontextmanager
    async def calling(self, address: str, place: Place, in_flight: int) -> AsyncIterator[Caller]:
        """Yield a caller with a pool of `in_flight` connections."""
        limits = Limits(max_connections=in_flight, max_keepalive_connections=in_flight, keepalive_expiry=None)
        async with AsyncClient(limits=limits, timeout=None, trust_env=False) as client:
            plain, in_time = URL(address + SAY), URL(address + SAY_IN_TIME)
            plain_headers = {"content-type": MEDIA_TYPE}
            traceparent = traceparents()

            async def post(url: URL, order: Order, headers: dict[str, str], timeout: float | None) -> Order:  # noqa: ASYNC109
                response = await client.post(url, content=order.SerializeToString(), headers=headers, timeout=timeout)
                response.raise_for_status()
                return Order.FromString(response.content)

            yield Caller(
                lambda order: post(plain, order, plain_headers, None),
                lambda order: post(in_time, order, plain_headers | {TRACEPARENT: traceparent()}, TIMEOUT),
            )
