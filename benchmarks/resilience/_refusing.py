"""A server that has no room for requests: `python -m benchmarks.resilience._refusing SUBJECT`.

All answer every request with 503, and would serve FastAPI's hello. There is room for one, and that is taken.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop
from fastapi import Depends, FastAPI, HTTPException

from benchmarks._child import die_with_parent
from benchmarks.resilience._app import PATH, app
from benchmarks.resilience._server import announce_listener, serve_by_uvicorn

_BODY = b"no room"
_FIELDS = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY)), (b"retry-after", b"1")]
_WHOLE = b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n%b" % (b"".join(b"%b: %b\r\n" % f for f in _FIELDS), _BODY)


class _Unread(asyncio.Protocol):
    """Refuses whatever comes."""

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        self._write(_WHOLE)


async def _serve_unread() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = await asyncio.get_running_loop().create_server(_Unread, sock=listener)
    announce_listener(listener)
    await server.serve_forever()


def _limit() -> None:
    uvloop.run(_serve_unread())


def _edge(*, http: str = "") -> None:
    from hasten.http import Edge, HttpProtocol
    from hasten.resilience import Limiter, Priority

    limiter = Limiter(initial=1, least=1, most=1)
    limiter.admits(Priority.HIGH)
    serve_by_uvicorn(Edge(app, limiter=limiter), http=http or HttpProtocol)


def _uvicorn_limit() -> None:
    serve_by_uvicorn(app, limit_concurrency=1, log_level="critical")  # else it logs each refusal


def _asgi_counter() -> None:
    room, under_way = 1, 1

    async def bounded(scope: Any, receive: Any, send: Any) -> None:
        nonlocal under_way
        if scope["type"] == "http" and under_way >= room:
            await send({"type": "http.response.start", "status": 503, "headers": _FIELDS})
            await send({"type": "http.response.body", "body": _BODY})
            return
        under_way += 1
        try:
            await app(scope, receive, send)
        finally:
            under_way -= 1

    serve_by_uvicorn(bounded)


def _fastapi_dependency() -> None:
    room, under_way = 1, 1

    async def admitted() -> None:
        if under_way >= room:
            raise HTTPException(503, "no room", {"retry-after": "1"})

    bounded = FastAPI()

    @bounded.get(PATH, dependencies=[Depends(admitted)])
    async def hello() -> dict[str, str]:
        return {"message": "Hello World"}

    serve_by_uvicorn(bounded)


REFUSING: dict[str, Callable[[], None]] = {
    "limit": _limit,
    "hasten-edge": _edge,
    "hasten-edge-layer": partial(_edge, http="httptools"),
    "uvicorn-limit": _uvicorn_limit,
    "asgi-counter": _asgi_counter,
    "fastapi-dependency": _fastapi_dependency,
}

if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    REFUSING[sys.argv[1]]()
