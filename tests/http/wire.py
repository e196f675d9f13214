"""A connection that tests hold in their hands: uvicorn's protocols write into it, and tests say what comes over it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HttpToolsProtocol
from uvicorn.server import ServerState

from hasten.http import HttpProtocol, Rule
from tests.cache.running import passes
from tests.http.case import asks
from tests.http.site import App, Reply, Site, pairs

RULE = Rule("/{path:path}", ttl=60, statuses=(200, 204, 301, 404))
JSON = {"Content-Type": "application/json", "Link": "</a%20b>; rel=next", "X-Empty": ""}
PAGES = {
    "/page": Reply(JSON, b'{"number":1}'),
    "/zero": Reply(body=b""),
    "/long": Reply(JSON, b"a line\n" * 20_000),
    "/empty": Reply(status=204, body=b""),
    "/moved": Reply({"Location": "/page"}, status=301),
    "/gone": Reply(JSON, b"gone", status=404),
    "/control": Reply({"X-Odd": "a\x01b"}),
    "/name": Reply({"X Odd": "a"}),
}
REFUSES_NAMES = HEADER_RE.search(b"x odd") is not None
"""Whether uvicorn refuses fields with names that are none; it has a mistake there before 0.42."""
SERVER = ((b"date", b"Tue, 14 Nov 2023 22:13:20 GMT"), (b"server", b"uvicorn"))


class Line(asyncio.Transport):
    """Keeps what is written.

    Attributes:
      seen: What the protocol did, in order: bytes (of writes that follow each other) and the names of what it called.
      writes: The sizes of all writes.
    """

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)})
        self.seen: list[bytes | str] = []
        self.writes: list[int] = []
        self.protocol: asyncio.Protocol | None = None
        self._closing = False

    def write(self, data: Any) -> None:
        self.writes.append(len(data))
        if self.seen and isinstance(self.seen[-1], bytes):
            self.seen[-1] += bytes(data)
        elif data:
            self.seen.append(bytes(data))

    def close(self) -> None:
        self.seen.append("close")
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """End the connection."""
        if not self._closing and self.protocol is not None:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.seen.append("pause reading")

    def resume_reading(self) -> None:
        self.seen.append("resume reading")


@dataclass
class Connection:
    """A connection to an app under one of the protocols, in the running loop.

    Attributes:
      logged: What uvicorn logged, its access log among it.
    """

    app: Any
    protocol_class: type[HttpToolsProtocol]
    server: tuple[tuple[bytes, bytes], ...] = SERVER
    line: Line = field(default_factory=Line)
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listen()
        config = uvicorn.Config(self.app, log_config=None, interface="asgi3", lifespan="off")
        self.state = ServerState()
        self.tick(self.server)
        self.protocol = self.protocol_class(config, self.state, {})
        self.line.protocol = self.protocol
        self.protocol.connection_made(self.line)

    def tick(self, server: tuple[tuple[bytes, bytes], ...]) -> None:
        """Let the server have other fields of its own, as each second."""
        self.state.default_headers = list(server)

    async def ask(self, data: bytes) -> "Connection":
        """Let bytes come, and wait until there is nothing more to do."""
        self.come(data)
        await self.settle()
        return self

    def come(self, data: bytes) -> None:
        """Let bytes come, if the connection is open yet."""
        if not self.line.is_closing():
            self.protocol.data_received(data)

    def slow(self, *, paused: bool) -> None:
        """Let the client be slow to read, or not any more."""
        (self.protocol.pause_writing if paused else self.protocol.resume_writing)()

    async def settle(self) -> None:
        await passes(30)

    @property
    def output(self) -> bytes:
        """All that was written."""
        return b"".join(part for part in self.line.seen if isinstance(part, bytes))

    def trace(self) -> dict[str, Any]:
        """Return what tells one protocol from another: what it wrote and called, and its state afterwards."""
        protocol = self.protocol
        return {
            "seen": list(self.line.seen),
            "logged": list(self.logged),
            "requests": self.state.total_requests,
            "connections": len(self.state.connections),
            "tasks": len(self.state.tasks),
            "waiting": len(protocol.pipeline),
            "timer": protocol.timeout_keep_alive_task is not None,
            "paused": (protocol.flow.read_paused, protocol.flow.write_paused),
            "cycle": _state_of(protocol.cycle),
        }

    def _listen(self) -> None:
        heard = self.logged

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                error = record.exc_info[1] if record.exc_info else None
                heard.append(f"{record.getMessage().strip()} {error!r}")

        self._listener = Listener()
        for name in ("uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).addHandler(self._listener)
        self._level = logging.getLogger("uvicorn.error").level
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    async def end(self) -> None:
        """Lose the connection, and wait for what is left to do."""
        self.line.lose(None)
        await self.settle()
        for name in ("uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).removeHandler(self._listener)
        logging.getLogger("uvicorn.error").setLevel(self._level)


def _state_of(cycle: Any) -> Any:
    if cycle is None:
        return None
    names = ("disconnected", "keep_alive", "waiting_for_100_continue", "response_started", "response_complete")
    return {name: getattr(cycle, name) for name in names} | {"event": cycle.message_event.is_set()}


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Be an app that has all pages, and others that are not kept."""
    reply = PAGES.get(scope["path"], Reply({"cache-control": "no-store"}, b"other"))
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs(reply.fields)})
    await send({"type": "http.response.body", "body": reply.body})


async def site_with_pages(**options: Any) -> Site:
    """Return a site that has kept all pages."""
    app = App()
    app.talk = plain
    site = Site(app, RULE, **options)
    for path in PAGES:
        await site.get(asks(path=path))
    return site


async def both(
    scenario: Callable[[Connection, Site], Awaitable[None]],
    make: Callable[[], Awaitable[Site]] = site_with_pages,
    server: tuple[tuple[bytes, bytes], ...] = SERVER,
) -> Connection:
    """Let the same happen under uvicorn's protocol and ours; return our connection, which saw just what the other did.

    Args:
      make: Makes the site, one for each.
      server: The server's own fields.
    """
    traces = []
    for protocol in (HttpToolsProtocol, HttpProtocol):
        site = await make()
        connection = Connection(site.layer, protocol, server)
        try:
            await scenario(connection, site)
            await connection.settle()
            traces.append(connection.trace())
        finally:
            await connection.end()
            await site.cache.aclose()
    assert traces[0] == traces[1]
    return connection


def request(path: str = "/page", *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: site.example", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
