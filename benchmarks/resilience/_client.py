"""Asks as fast as answers come, over 32 connections (closed model): `python -m benchmarks.resilience._client`.

It is lean, since it has one core for all connections. They are new for each order: between two a server is stopped, and
closes what was idle meanwhile.
"""

import asyncio
import re
import time
from typing import cast

import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import Driven, WrongValueError, carry_out, measured
from benchmarks.resilience._app import BODY, PATH
from benchmarks.resilience._orders import Ask

CONNECTIONS = 32
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REQUEST = f"GET {PATH} HTTP/1.1\r\nhost: {{host}}\r\naccept: */*\r\naccept-encoding: gzip\r\nuser-agent: bench\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._lost: Exception | None = None
        self._sent = self._stop = 0.0
        self._latencies: list[float] = []
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._peer = transport.get_extra_info("peername")

    async def run(self, stop: float, latencies: list[float]) -> None:
        """Ask until `stop`, at least once.

        Raises:
          WrongValueError: an answer is not the right one.
          ConnectionError: the server closed the connection.
        """
        if self._lost is not None:
            raise self._lost
        self._done = asyncio.get_running_loop().create_future()
        self._stop, self._latencies = stop, latencies
        self._send()
        await self._done

    def close(self) -> None:
        """Close it; nothing is under way."""
        self._transport.close()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head, end, body = data.partition(b"\r\n\r\n")
        if end and not (head.startswith(b"HTTP/1.1 200 ") and BODY.startswith(body)):
            self._fail(WrongValueError(repr(data)))
        elif body == BODY:
            self._buffer = b""
            self._answered()
        else:
            self._buffer = data

    def _answered(self) -> None:
        now = time.perf_counter()
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


class _Refused(_Connection):
    """One whose requests are refused; if the server closes it with that, it is opened again, which is counted."""

    _closes = False
    _opening: asyncio.Task[None]

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        head, end, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if end else None
        if end and (length is None or not head.startswith(b"HTTP/1.1 503 ")):
            self._fail(WrongValueError(repr(data)))
        elif length is None or len(body) < int(length[1]):
            self._buffer = data
        else:
            self._buffer = b""
            self._closes = b"\r\nconnection: close" in head
            if not self._closes:
                self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closes:
            self._closes = False
            self._opening = asyncio.get_running_loop().create_task(self._open_again())
        else:
            super().connection_lost(exc)

    async def _open_again(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, *self._peer)
        except OSError as error:
            self._fail(error)
        else:
            self._answered()


async def _run(connections: list[_Connection], seconds: float) -> list[float]:
    """Ask over all of them for so long; return the latencies."""
    latencies: list[float] = []
    stop = time.perf_counter() + seconds
    await asyncio.gather(*(connection.run(stop, latencies) for connection in connections))
    return latencies


async def ask(order: Ask) -> Driven:
    """Open connections and ask, then ask once more, measured."""
    host, port = order.address.rsplit(":", 1)
    loop, request = asyncio.get_running_loop(), _REQUEST.format(host=order.address).encode()
    kind = _Refused if order.refused else _Connection
    connections: list[_Connection] = []
    try:
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(lambda: kind(request), host, int(port))
            connections.append(connection)
        await _run(connections, order.warm_up)
        return await measured(_run(connections, order.seconds), order.pid)
    finally:
        for connection in connections:
            connection.close()


async def _main() -> None:
    announce("on stdin")
    await carry_out(Ask, ask, Driven)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main())
