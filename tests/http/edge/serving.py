"""An app behind an edge, in the test's own loop by real uvicorn: by our protocol, and by those that know no edge."""

import asyncio
import contextlib
import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from hasten.http import Edge, HttpProtocol
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.ledger.serving import uvicorn_serving

SERVERS: dict[str, Any] = {"hasten": HttpProtocol, "httptools": "httptools", "h11": "h11"}
every_server = pytest.mark.parametrize("http", SERVERS.values(), ids=SERVERS)


class Answer:
    """What came back: `complete` is False where the connection ended before the response did."""

    def __init__(self, status: int, fields: dict[str, str], body: bytes, *, complete: bool = True) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.complete = complete

    @property
    def problem(self) -> Any:
        """The problem details that it has."""
        assert self.fields["content-type"] == "application/problem+json"
        return json.loads(self.body)


class Client:
    """A connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, target: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> None:
        """Send a request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self) -> Answer:
        """Return the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:-2])
        status = int(head[0].split()[1])
        if "content-length" in fields:
            return Answer(status, fields, await self._reader.readexactly(int(fields["content-length"])))
        body = b""
        while True:
            size = int((await self._reader.readline()).strip() or b"-1", 16)
            if size <= 0:
                ended = await self._reader.readline() if size == 0 else b""
                return Answer(status, fields, body, complete=bool(ended))
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)

    async def ask(self, target: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send a request and return its answer."""
        self.send(target, *fields, method=method, body=body)
        return await self.answer()

    def abort(self) -> None:
        """Be gone: nothing is said."""
        self._writer.transport.abort()

    async def head(self) -> str:
        """Return the head of the next answer, in lower case: all there is of one to HEAD."""
        return (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()

    async def is_closed(self) -> bool:
        """Return whether the server closes the connection; waits until it does or says something."""
        return await self._reader.read(1) == b""

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def served(app: Any, http: Any, **options: Any) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Client]]]:
    """Serve an app behind an edge of its own; yields what makes a client."""
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(await Client.to(port))
        return clients[-1]

    async with uvicorn_serving(Edge(app, **options), http=http) as port:
        try:
            yield connect
        finally:
            for client in clients:
                await client.aclose()


def in_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn a coroutine function into a test that runs once in each kind of event loop."""

    @functools.wraps(test)
    def runs(loop_factory: LoopFactory, **arguments: Any) -> None:
        run(loop_factory, test(**arguments))

    signature = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    runs.__dict__["__signature__"] = signature.replace(parameters=[factory, *signature.parameters.values()])
    return runs


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once."""
    del receive
    assert scope["type"] in {"http", "lifespan"}
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
