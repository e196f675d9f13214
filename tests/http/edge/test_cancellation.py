"""Clients that go: what works for them ends, what is to finish finishes, and nothing is left behind."""

import asyncio
import contextlib
import random
import socket
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware

import hasten
from hasten.http import Edge, EdgeRule, HttpProtocol
from hasten.monitor._catalogue import HTTP_SERVER_DURATION
from hasten.resilience import Bulkhead, Limiter, expired, remaining
from tests.http.edge.serving import Client, every_server, hello, in_loops, served
from tests.ledger.serving import uvicorn_serving


class Work:
    """An endpoint's work.

    Attributes:
      begun, ended: Set when it begins, and when it has ended.
      error: What has ended it.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: BaseException | None = None

    @contextlib.asynccontextmanager
    async def done(self) -> AsyncIterator[None]:
        self.begun.set()
        try:
            yield
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()


@every_server
@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b"some")])
@in_loops
async def test_the_client_has_gone(http: Any, method: str, body: bytes) -> None:
    """A request whose client has gone is cancelled, and so is what it waits for; the deadline is over in it."""
    work, left = Work(), []

    async def inner() -> None:
        async with work.done():
            try:
                await asyncio.Event().wait()
            finally:
                left.append(remaining())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["method"] == "POST":
                assert (await receive())["body"] == b"some"
            await asyncio.gather(inner())

    limiter = Limiter()
    async with served(app, http, limiter=limiter) as connect:
        client = await connect()
        client.send(method=method, body=body)
        await work.begun.wait()
        client.abort()
        await work.ended.wait()
    assert isinstance(work.error, asyncio.CancelledError)
    assert left == [0.0]
    assert limiter.in_flight == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked")
@in_loops
async def test_gone_before_it_was_read() -> None:
    """Nothing is begun for a client that has gone by the time its request is read: in an overload most have."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["path"])
        await hello(scope, receive, send)

    loop = asyncio.get_running_loop()
    async with uvicorn_serving(Edge(app, limiter=(limiter := Limiter())), http=HttpProtocol) as port:  # type: ignore[arg-type]
        for method in (b"GET", b"POST"):
            with socket.socket() as connection:
                connection.settimeout(0.0)
                await loop.sock_connect(connection, ("127.0.0.1", port))
                connection.send(method + b" /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        client = await Client.to(port)
        assert (await client.ask("/here")).status == 200
        await client.aclose()
    assert seen == ["/here"]
    assert limiter.in_flight == 0


@every_server
@in_loops
async def test_what_finishes(http: Any) -> None:
    """A request that is to finish goes on, sees that its client has gone if it asks, and its place is free then."""
    work, seen = Work(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            async with work.done():
                while (message := await receive())["type"] != "http.disconnect":
                    seen.append(message["body"])
                await asyncio.sleep(0)
                await hello(scope, receive, send)

    limiter = Limiter()
    async with served(app, http, limiter=limiter, rules=[EdgeRule("/pay", finishes=True)]) as connect:
        client = await connect()
        client.send("/pay", method="POST", body=b"7 EUR")
        await work.begun.wait()
        client.abort()
        await work.ended.wait()
    assert work.error is None
    assert b"".join(seen) == b"7 EUR"
    assert limiter.in_flight == 0


@every_server
@in_loops
async def test_who_has_an_answer(http: Any) -> None:
    """What runs behind a whole response goes on when its client goes."""
    work = Work()
    released = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await hello(scope, receive, send)
            async with work.done():
                assert (await receive())["type"] == "http.disconnect"
                await released.wait()

    async with served(app, http) as connect:
        client = await connect()
        assert (await client.ask()).body == b"hello"
        client.abort()
        await work.begun.wait()
        other = await connect()
        other.send()  # its answer shows that the server has seen the first one go
        assert (await other.answer()).body == b"hello"
        released.set()
        await work.ended.wait()
    assert work.error is None


@in_loops
async def test_cancelled_by_another() -> None:
    """A cancellation that is not for a client's going passes: what cancels a request ends it as without an edge."""
    task: asyncio.Task[Any] | None = None

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise asyncio.CancelledError

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    task = asyncio.get_running_loop().create_task(Edge(app, limiter=(limiter := Limiter()))(scope, receive, send))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert limiter.in_flight == 0


@every_server
@in_loops
async def test_a_thousand_go(http: Any) -> None:
    """Of requests whose clients go at any moment none leaves a place taken, a task, or a lock."""
    chance = random.Random(7)
    lock, bulkhead, limiter = asyncio.Semaphore(8), Bulkhead(1000), Limiter(initial=1000, most=1000)
    under_way = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal under_way
        if scope["type"] != "http":
            return
        under_way += 1
        try:
            async with bulkhead:
                async with lock:
                    for _ in range(chance.randrange(4)):
                        await asyncio.sleep(0)
                if scope["path"] == "/stay":
                    await asyncio.Event().wait()
            await hello(scope, receive, send)
        finally:
            under_way -= 1

    async def visit(port_of: Any) -> None:
        client: Client = await port_of()
        client.send(chance.choice(("/", "/stay")), method=chance.choice(("GET", "POST")), body=b"")
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        client.abort()

    async with served(app, http, limiter=limiter) as connect:
        before = len(asyncio.all_tasks())
        for _ in range(20):
            await asyncio.gather(*(visit(connect) for _ in range(50)))
        async with asyncio.timeout(10.0):
            while under_way or limiter.in_flight or len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0)
        assert (await (await connect()).ask()).body == b"hello"
    assert bulkhead.statistics().in_flight == 0
    assert not lock.locked()


# ---- FastAPI


class Passing(BaseHTTPMiddleware):
    """What many apps have one of."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        return await call_next(request)


@pytest.mark.parametrize("layers", [0, 2])
@every_server
@in_loops
async def test_behind_base_http_middleware(http: Any, layers: int) -> None:
    """Behind Starlette's BaseHTTPMiddleware an endpoint is cancelled all the same."""
    work = Work()
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> None:
        async with work.done():
            await asyncio.Event().wait()

    for _ in range(layers):
        app.add_middleware(Passing)
    app.add_middleware(Edge)
    async with uvicorn_serving(app, http=http) as port:
        client = await Client.to(port)
        client.send()
        await work.begun.wait()
        client.abort()
        await work.ended.wait()
        await client.aclose()
    assert isinstance(work.error, asyncio.CancelledError)


@every_server
@in_loops
async def test_in_a_thread(http: Any) -> None:
    """A thread of a `def` endpoint is not stopped, but can see that nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    begun, ended = asyncio.Event(), asyncio.Event()
    app = FastAPI()

    @app.get("/")
    def endpoint() -> None:
        loop.call_soon_threadsafe(begun.set)
        pause = threading.Event()
        while not expired():
            pause.wait(0.001)
        loop.call_soon_threadsafe(ended.set)

    app.add_middleware(Edge)
    async with uvicorn_serving(app, http=http) as port:
        client = await Client.to(port)
        client.send()
        await begun.wait()
        client.abort()
        await ended.wait()
        await client.aclose()


@in_loops
async def test_background_tasks() -> None:
    """FastAPI's background tasks go on when the client has its answer and goes."""
    work, released = Work(), asyncio.Event()
    app = FastAPI()

    async def behind() -> None:
        async with work.done():
            await released.wait()

    @app.get("/")
    async def endpoint(background: BackgroundTasks) -> str:
        background.add_task(behind)
        return "hello"

    app.add_middleware(Edge)
    async with uvicorn_serving(app, http=HttpProtocol) as port:  # type: ignore[arg-type]
        client = await Client.to(port)
        assert (await client.ask()).body == b'"hello"'
        client.abort()
        await work.begun.wait()
        released.set()
        await work.ended.wait()
        await client.aclose()
    assert work.error is None


@every_server
@in_loops
async def test_what_the_monitor_sees(http: Any) -> None:
    """Those who have gone are counted as 499, those out of time as 504."""
    work = Work()
    app = FastAPI()

    @app.get("/gone")
    async def gone() -> None:
        async with work.done():
            await asyncio.Event().wait()

    @app.get("/late")
    async def late() -> None:
        await asyncio.Event().wait()

    app.add_middleware(Edge, rules=[EdgeRule("/late", timeout=0.01)])
    hasten.install(app, admin=None)
    async with uvicorn_serving(app, http=http) as port:
        client = await Client.to(port)
        assert (await client.ask("/late")).status == 504
        client.send("/gone")
        await work.begun.wait()
        client.abort()
        await work.ended.wait()
        await client.aclose()
        counted: dict[tuple[str, ...], float] = {}
        while len(counted) < 2:
            counted = await asyncio.to_thread(_requests, app.state.monitor)
    assert counted == {("GET", "/late", "504"): 1, ("GET", "/gone", "499"): 1}


def _requests(monitor: Any) -> dict[tuple[str, ...], float]:
    return {series.values: series.value.count for series in monitor.snapshot().family(HTTP_SERVER_DURATION).series}
