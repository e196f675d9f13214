"""Services that answer just as a test says, and a client of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from hasten.http.client import Client
from hasten.http.client._pool import Pool
from hasten.testing import FaultProxy
from tests.http.site import NOON
from tests.load.servers import Handler, read_request, serving

Answer = Callable[[bytes, int], bytes]
MINUTE = "cache-control: max-age=60"


def response(body: bytes = b"ok", *fields: str, status: int = 200) -> bytes:
    """Return the bytes of a response with a length."""
    lines = [f"HTTP/1.1 {status} Word", f"content-length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Time:
    """The time of day, which a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Service:
    """A service whose connections are in the test's hands.

    Attributes:
      requests: All that came, head and body, in order.
      connections: Accepted so far.
      answer: Makes the answer of a request, by its bytes and number; empty bytes close the connection without one.
    """

    def __init__(self, answer: Answer | bytes = b"") -> None:
        fixed = answer or response()
        self.answer: Answer = fixed if callable(fixed) else lambda request, number: fixed
        self.requests: list[bytes] = []
        self.connections = 0
        self.came = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            self.came.set()
            answer = self.answer(request, len(self.requests))
            if not answer:
                return
            writer.write(answer)

    def targets(self) -> list[str]:
        """Return what was asked for."""
        return [request.split(b" ", 2)[1].decode() for request in self.requests]

    def fields(self, number: int = -1) -> dict[str, str]:
        """Return the fields of a request."""
        lines = self.requests[number].partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def numbered(*fields: str) -> Service:
    """Return a service whose answers are their numbers."""
    return Service(lambda request, number: response(b"%d" % number, *fields))


@asynccontextmanager
async def calling(handler: Handler, **options: Any) -> AsyncIterator[Client]:
    """Yield a client of a service that is served meanwhile."""
    async with serving(handler) as url, Client(url, **options) as client:
        yield client


@asynccontextmanager
async def calling_service(service: Service, **options: Any) -> AsyncIterator[Client]:
    async with calling(service.handle, **options) as client:
        yield client


@asynccontextmanager
async def through_a_proxy(service: Service, **options: Any) -> AsyncIterator[tuple[Client, FaultProxy]]:
    """Yield a client and the proxy between it and a service."""
    async with (
        serving(service.handle) as url,
        FaultProxy(url.removeprefix("http://")) as proxy,
        Client(f"http://{proxy.address}", **options) as client,
    ):
        yield client, proxy


def pool_of(client: Client) -> Pool:
    """Return the connections of a client of one host."""
    assert client._calls is not None
    return client._calls.hosts.every[0].pool


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not condition():
        await asyncio.sleep(0)
