"""The server's protocol in a real server: slow readers, the ledger, uvicorn's own ways to name it."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
import uvicorn

from hasten.http import HttpProtocol, Rule
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.site import App, Reply, Site
from tests.ledger.serving import serving, uvicorn_serving

PAGE = Rule("/page", ttl=60)
HIGH_WATER = 65536


class Watch(HttpProtocol):
    """Counts the writes of its connections.

    Attributes:
      sizes: Of all writes.
      most_held: Bytes that a transport held for its client at most.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sizes: list[int] = []
        self.most_held = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(_Counting(transport, self))


class _Counting:
    def __init__(self, transport: Any, watch: Watch) -> None:
        self._transport = transport
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._transport.write(data)
        self._watch.sizes.append(len(data))
        self._watch.most_held = max(self._watch.most_held, self._transport.get_write_buffer_size())


def watching() -> tuple[Any, list[Watch]]:
    """Return the protocol to serve by, and a list of its connections."""
    watches: list[Watch] = []

    def watch(*arguments: Any, **options: Any) -> Watch:
        watches.append(Watch(*arguments, **options))
        return watches[-1]

    return watch, watches


@pytest.mark.parametrize("http", [HttpProtocol, "hasten.http:HttpProtocol"], ids=["class", "name"])
def test_by_uvicorn(loop_factory: LoopFactory, http: Any) -> None:
    """uvicorn needs no more than the class, or from 0.36 on its name, to serve by it."""
    if isinstance(http, str) and tuple(map(int, uvicorn.__version__.split(".")[:2])) < (0, 36):
        pytest.skip("uvicorn before 0.36 takes no name")

    async def scenario() -> None:
        site = Site(App(Reply(body=b"page")), PAGE)
        async with (
            uvicorn_serving(site.layer, http=http) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            answers = [await client.get("/page") for _ in range(3)]
        assert [(answer.text, answer.headers["x-cache"]) for answer in answers] == [
            ("page", "miss"),
            ("page", "hit"),
            ("page", "hit"),
        ]
        assert all("date" in answer.headers for answer in answers)
        await site.cache.aclose()

    run(loop_factory, scenario())


@pytest.mark.parametrize(("every", "writes", "accounts"), [(1, 2, 4), (10**9, 1, 0)])
def test_the_ledger(loop_factory: LoopFactory, every: int, writes: int, accounts: int) -> None:
    """A request that the ledger records is answered by messages, which it sees; all others by one write."""

    async def scenario() -> None:
        watch, watches = watching()
        site = Site(App(Reply(body=b"page")), PAGE)
        seen: list[tuple[str, int]] = []
        async with (
            serving(site.layer, http=watch, sample_every=every) as served,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as client,
        ):
            for _ in range(4):
                answer = await client.get("/page")
                seen.append((answer.headers["x-cache"], len(watches[0].sizes)))
                watches[0].sizes.clear()
        assert seen[1:] == [("hit", writes)] * 3
        assert [account.status for account in served.accounts] == [200] * accounts
        await site.cache.aclose()

    run(loop_factory, scenario())


def test_a_client_that_does_not_read(loop_factory: LoopFactory) -> None:
    """Hits are held back from a client that does not read, and it gets all of them when it does."""
    count, body = 200, b"0123456789abcdef" * 4000

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        watch, watches = watching()
        site = Site(App(Reply(body=body)), PAGE)
        async with uvicorn_serving(site.layer, http=watch) as port:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                client.settimeout(0.0)
                await loop.sock_connect(client, ("127.0.0.1", port))
                ask = b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n"
                await loop.sock_sendall(
                    client, ask * (count - 1) + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
                )
                await _standstill(watches)
                (connection,) = watches
                assert len(connection.sizes) < count
                assert connection.most_held <= HIGH_WATER + max(connection.sizes)
                got = b""
                while part := await loop.sock_recv(client, 1 << 20):
                    got += part
        assert got.count(body) == got.count(b"HTTP/1.1 200 OK") == count
        await site.cache.aclose()

    run(loop_factory, scenario())


async def _standstill(watches: list[Watch]) -> None:
    """Wait until nothing more is written."""
    before = -1
    while not watches or len(watches[0].sizes) != before:
        before = len(watches[0].sizes) if watches else -1
        await passes(50)
