"""FastAPI called by aiohttp: one session, connections pooled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from benchmarks.rpc._orders import TIMEOUT, TRACEPARENT, traceparents
from benchmarks.rpc._stack import Caller, Place
from benchmarks.rpc.echo_pb2 import Order
from benchmarks.rpc.stacks._fastapi import IDLE_SECONDS, MEDIA_TYPE, SAY, SAY_IN_TIME, serve_fastapi

_NONE, _IN_TIME = ClientTimeout(total=None), ClientTimeout(total=TIMEOUT)


class FastapiAiohttpStack:
    """A `Stack` for TCP."""

    def serve(self, place: Place) -> None:
        """Serve on a free port."""
        serve_fastapi()

    @asynccontextmanager
    async def calling(self, address: str, place: Place, in_flight: int) -> AsyncIterator[Caller]:
        """Yield a caller with a pool of `in_flight` connections."""
        connector = TCPConnector(limit=in_flight, keepalive_timeout=IDLE_SECONDS)
        async with ClientSession(connector=connector) as session:
            plain, in_time = URL(address + SAY), URL(address + SAY_IN_TIME)
            plain_headers = {"content-type": MEDIA_TYPE}
            traceparent = traceparents()

            async def post(url: URL, order: Order, headers: dict[str, str], timeout: ClientTimeout) -> Order:  # noqa: ASYNC109
                body = order.SerializeToString()
                async with session.post(url, data=body, headers=headers, timeout=timeout) as response:
                    response.raise_for_status()
                    return Order.FromString(await response.read())

            yield Caller(
                lambda order: post(plain, order, plain_headers, _NONE),
                lambda order: post(in_time, order, plain_headers | {TRACEPARENT: traceparent()}, _IN_TIME),
            )
