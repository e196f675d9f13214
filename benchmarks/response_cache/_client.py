"""Asks as fast as answers come, over 32 connections (closed model): `python -m benchmarks.response_cache._client`.

Each connection asks for a document of its own and compares every body with it. It is lean, since it has one core for
all connections.
"""

import asyncio
import re
import time
from typing import cast

import msgspec
import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import Driven, RecomputedError, WrongValueError, carry_out, measured
from benchmarks.response_cache._work import CONNECTIONS, FIRST, document, path_of

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REQUEST = "GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\naccept-encoding: gzip\r\nuser-agent: bench\r\n\r\n"


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Order: ask the service at `host:port` for a while.

    Attributes:
      pid: Of the server.
      seconds: How long, after `warm_up` seconds that are not measured.
      cached: No document may be made meanwhile.
    """

    address: str
    pid: int
    seconds: float
    warm_up: float
    cached: bool


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._request = b""
        self._expected: object = None
        self._body = b""
        self._lost: Exception | None = None
        self._stop = 0.0
        self._sent = 0.0
        self._latencies: list[float] = []
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def ask(self, address: str, path: str, expected: object) -> None:
        """Choose what to ask for, and the document that is to come; None for anything."""
        self._request = _REQUEST.format(path=path, host=address).encode()
        self._expected, self._body = expected, b""

    async def run(self, stop: float, latencies: list[float]) -> None:
        """Ask until `stop`, at least once.

        Raises:
          WrongValueError: an answer is not the document.
          ConnectionError: the server closed the connection.
        """
        if self._lost is not None:
            raise self._lost
        self._done = asyncio.get_running_loop().create_future()
        self._stop, self._latencies = stop, latencies
        self._send()
        await self._done

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        found = _LENGTH.search(self._buffer, 0, end)
        if found is None or not self._buffer.startswith(b"HTTP/1.1 200 "):
            self._fail(WrongValueError(repr(self._buffer[:end])))
        elif len(self._buffer) >= end + int(found[1]):
            body, self._buffer = self._buffer[end:], b""
            self._answered(body)

    def _answered(self, body: bytes) -> None:
        now = time.perf_counter()
        if self._expected is None:
            self._body = body
        elif body != self._body:
            if self._body or msgspec.json.decode(body) != self._expected:
                self._fail(WrongValueError(repr(body)))
                return
            self._body = body  # the first: all that follow must be equal to it
        self._latencies.append(now - self._sent)
        if now < self._stop:
            self._send()
        elif self._done is not None:
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionResetError("the server closed a connection")
        self._fail(self._lost)

    def _fail(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    async def number(self) -> int:
        """Return the answer to one request as a number."""
        await self.run(0.0, [])
        return int(self._body)


class _Service:
    """The connections to one subject."""

    def __init__(self, askers: list[_Connection], counter: _Connection) -> None:
        self._askers = askers
        self._counter = counter

    @classmethod
    async def connect(cls, address: str) -> "_Service":
        """Open them, and read every document once."""
        host, port = address.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        opened = [(await loop.create_connection(_Connection, host, int(port)))[1] for _ in range(CONNECTIONS + 1)]
        for number, connection in enumerate(opened[1:], FIRST):
            connection.ask(address, path_of(number), document(number))
        opened[0].ask(address, "/loads", None)
        service = cls(opened[1:], opened[0])
        await service.run(0.0)
        return service

    async def run(self, seconds: float) -> list[float]:
        """Ask over all connections; return the latencies."""
        latencies: list[float] = []
        stop = time.perf_counter() + seconds
        await asyncio.gather(*(asker.run(stop, latencies) for asker in self._askers))
        return latencies

    async def measure(self, order: Ask) -> Driven:
        """Ask for a while, measured."""
        await self.run(order.warm_up)
        loads = await self._counter.number()
        driven = await measured(self.run(order.seconds), order.pid)
        made = await self._counter.number() - loads
        if order.cached and made:
            raise RecomputedError(f"{made} of {driven.calls} hits were made again")
        return driven


async def _main() -> None:
    services: dict[str, _Service] = {}

    async def work(order: Ask) -> Driven:
        if order.address not in services:
            services[order.address] = await _Service.connect(order.address)
        return await services[order.address].measure(order)

    announce("on stdin")
    await carry_out(Ask, work, Driven)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main())
