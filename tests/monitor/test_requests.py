"""Requests of an app: each is counted once, under its route, by how it ended."""

import asyncio
import gc
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hasten._core.ambient import AMBIENT
from hasten.monitor import Monitor
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._requests import AsgiApp
from hasten.monitor._routes import routes_of
from hasten.monitor._snapshot import HistogramValue

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Counted = dict[tuple[str, ...], int]


class Watching:
    """The life of a monitor that watches nothing but requests."""

    def __init__(self) -> None:
        self.began = False

    def begin(self) -> None:
        self.began = True

    async def lifespan(self, app: AsgiApp, scope: Any, receive: Any, send: Any) -> None:
        self.began = True
        await app(scope, receive, send)


class Watched:
    """An app with a monitor around it."""

    def __init__(self, app: Any) -> None:
        self.monitor = Monitor("test")
        self.life = Watching()
        self.app = self.monitor.watch_app(app, self.life, routed_by=app)

    async def ask(self, path: str, method: str = "GET", **scope: Any) -> list[Any]:
        """Send one request, as a server does; return what the app sends."""
        sent: list[Any] = []

        bodies = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            return bodies.pop() if bodies else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        request: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
        }
        request |= {"raw_path": path.encode(), "query_string": b"", "headers": [], "root_path": "", "scheme": "http"}
        await self.app({**request, "server": ("test", 80), "client": ("test", 1), **scope}, receive, send)
        return sent

    def counted(self) -> Counted:
        """Return how many requests there were, by method, route and status."""
        family = self.monitor.snapshot().family(catalogue.HTTP_SERVER_DURATION)
        return {one.values: one.value.count for one in family.series if isinstance(one.value, HistogramValue)}

    def active(self) -> int:
        """Return how many requests are not answered yet, without the rest: that is read in another thread."""
        return sum(active() for active in self.monitor._requests._layers)


def shop() -> FastAPI:
    app = FastAPI()
    products = APIRouter(prefix="/products")

    @products.get("/{product}")
    async def product(product: int) -> int:
        return product

    @products.get("/{product}/missing")
    async def missing(product: int) -> int:
        raise HTTPException(404)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("no database")

    @app.get("/sync")
    def sync() -> str:
        return "in a thread"

    app.include_router(products)
    return app


def test_requests_are_counted_by_template() -> None:
    """The label is the route's template, whatever the path; a path that no route matches has an empty one."""
    watched = Watched(shop())

    async def conversation() -> None:
        for path in ("/products/1", "/products/2", "/products/3/missing", "/nowhere/1", "/nowhere/2", "/sync"):
            await watched.ask(path)
        await watched.ask("/products/1", "POST")
        await watched.ask("/products/1", "BREW")

    asyncio.run(conversation())
    assert watched.counted() == {
        ("GET", "/products/{product}", "200"): 2,
        ("GET", "/products/{product}/missing", "404"): 1,
        ("GET", "", "404"): 2,
        ("GET", "/sync", "200"): 1,
        ("POST", "/products/{product}", "405"): 1,
        ("_other", "/products/{product}", "405"): 1,
    }
    assert watched.active() == 0


def test_included_routers_are_named_with_their_prefixes() -> None:
    """The template has the prefixes of all inclusions, and the app's routes are known by the same templates."""
    inner, outer, app = APIRouter(prefix="/reviews"), APIRouter(prefix="/products/{product}"), FastAPI()

    @inner.get("/{review}")
    async def review(product: int, review: int) -> int:
        return review

    inner.mount("/mounted", Starlette(routes=[Route("/{item}", text)]))
    outer.include_router(inner, prefix="/of")
    app.include_router(outer, prefix="/api")
    watched = Watched(app)

    async def conversation() -> None:
        await watched.ask("/api/products/1/of/reviews/2")
        await watched.ask("/api/products/1/of/mounted/3")  # a mount has not its router's own prefix

    asyncio.run(conversation())
    templates = {f"/api/products/{{product}}/of/{rest}" for rest in ("reviews/{review}", "mounted/{item}")}
    assert set(watched.counted()) == {("GET", path, "200") for path in templates}
    assert templates <= {route.path for route in routes_of(app)}


async def text(_: Any) -> PlainTextResponse:
    return PlainTextResponse("text")


@pytest.mark.may_block  # Starlette looks for the file
def test_mounted_apps_are_named_from_the_root(tmp_path: Any) -> None:
    """The template of a mounted app's route begins with the mount's own, one with parameters too."""
    (tmp_path / "a.css").write_text("")
    inner = Starlette(routes=[Route("/items/{item}", text), Mount("/deep", routes=[Route("/end", text)])])
    app = Starlette(
        routes=[Mount("/shop", inner), Mount("/of/{tenant}", inner), Mount("/static", StaticFiles(directory=tmp_path))]
    )
    watched = Watched(app)

    async def conversation() -> None:
        for path in ("/shop/items/1", "/of/a/items/1", "/of/b/items/2", "/of/a/deep/end", "/static/a.css"):
            await watched.ask(path)
        await watched.ask("/proxied/shop/items/1", root_path="/proxied")

    asyncio.run(conversation())
    assert watched.counted() == {
        ("GET", "/shop/items/{item}", "200"): 2,
        ("GET", "/of/{tenant}/items/{item}", "200"): 2,
        ("GET", "/of/{tenant}/deep/end", "200"): 1,
        ("GET", "/static", "200"): 1,
    }


def test_an_app_that_raises_has_failed() -> None:
    """A request whose app raises counts as 500, whether the framework has answered or the server will."""
    watched, plain = Watched(shop()), Watched(failing)

    async def conversation() -> None:
        with pytest.raises(RuntimeError):
            await watched.ask("/fails")
        with pytest.raises(ZeroDivisionError):
            await plain.ask("/")

    asyncio.run(conversation())
    assert watched.counted() == {("GET", "/fails", "500"): 1}
    assert plain.counted() == {("GET", "", "500"): 1}
    assert (watched.active(), plain.active()) == (0, 0)


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError


def test_a_cancelled_request_is_the_clients() -> None:
    """A request that is cancelled before it is answered counts as 499; one that was begun keeps its status."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 206, "headers": []})
        await asyncio.Event().wait()

    watched = Watched(app)

    async def conversation() -> None:
        for path in ("/begun", "/waits"):
            task = asyncio.create_task(watched.ask(path))
            await asyncio.sleep(0)
            assert watched.active() == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(conversation())
    assert watched.counted() == {("GET", "", "206"): 1, ("GET", "", "499"): 1}


def test_the_end_is_the_last_byte() -> None:
    """A streamed response ends with its last part; what the app does behind it is not the client's time."""
    app = FastAPI()
    order: list[str] = []
    watched = Watched(app)

    @app.get("/stream")
    async def stream(tasks: BackgroundTasks) -> StreamingResponse:
        async def parts() -> Any:
            order.append(f"streams {watched.active()}")
            yield "a"
            yield "b"

        tasks.add_task(lambda: order.append(f"background {watched.active()}"))
        return StreamingResponse(parts(), background=tasks)

    asyncio.run(watched.ask("/stream"))
    assert order == ["streams 1", "background 0"]
    assert watched.counted() == {("GET", "/stream", "200"): 1}


def test_the_first_request_begins_the_watch() -> None:
    """Where a server runs no lifespan the monitor begins with the first request."""
    watched = Watched(shop())
    assert not watched.life.began
    asyncio.run(watched.ask("/products/1"))
    assert watched.life.began


def test_websockets_are_left_alone() -> None:
    """A websocket reaches the app as it is, and is no request."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    watched = Watched(app)
    connection = ({"type": "websocket", "path": "/"}, object(), object())
    asyncio.run(watched.app(*connection))  # type: ignore[arg-type]
    assert seen == [connection]
    assert watched.counted() == {}


def test_a_sampled_trace_is_an_example() -> None:
    """A request of a sampled trace leaves its id at its bucket, and its trace is what the app's calls carry on."""
    carried: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ambient = AMBIENT.get()
        carried.append("" if ambient is None else ambient.traceparent)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    watched = Watched(app)

    async def conversation() -> None:
        for headers in ([], [(b"traceparent", TRACE[:-1].encode() + b"0")], [(b"traceparent", TRACE.encode())]):
            await asyncio.create_task(watched.ask("/", headers=headers))

    asyncio.run(conversation())
    assert carried == ["", TRACE[:-1] + "0", TRACE]
    (series,) = watched.monitor.snapshot().family(catalogue.HTTP_SERVER_DURATION).series
    assert isinstance(series.value, HistogramValue)
    assert [one.trace_id for one in series.value.exemplars if one is not None] == [TRACE[3:35]]


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=5), st.text(max_size=20))
def test_hostile_requests_are_counted(headers: list[tuple[bytes, bytes]], method: str) -> None:
    """Whatever fields and methods a client sends, its request is answered, and counted once."""
    watched = Watched(echo)
    asyncio.run(watched.ask("/", method, headers=headers))
    assert sum(watched.counted().values()) == 1


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def test_a_whole_answer_is_counted() -> None:
    """Who answers by the server's own way is counted as by messages; elsewhere that way is not there."""
    whole: list[tuple[bytes, bytes]] = []

    class Cycle:
        async def send(self, message: Any) -> None:
            raise AssertionError("by messages")

        def send_whole(self, head: bytes, body: bytes) -> bool:
            whole.append((head, body))
            return True

    async def app(scope: Any, receive: Any, send: Any) -> None:
        handed_on, server, _ = scope["hasten.whole"]
        assert handed_on is send
        if server.send_whole(b"HTTP/1.1 304 Not Modified\r\n\r\n", b""):
            scope["hasten.whole"][2] = 304

    async def by_messages(scope: Any, receive: Any, send: Any) -> None:
        assert "hasten.whole" not in scope
        await echo(scope, receive, send)

    watched, other = Watched(app), Watched(by_messages)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}

    async def conversation() -> None:
        await watched.app(scope, no_body, Cycle().send)
        await other.ask("/")

    asyncio.run(conversation())
    assert watched.counted() == {("GET", "", "304"): 1}
    assert other.counted() == {("GET", "", "200"): 1}


async def no_body() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_answers_in_front_of_the_routing() -> None:
    """A request that a layer answers is named by the route that would have taken it, however long its path."""
    app = Starlette(routes=[Route("/items/{item}", text), Mount("/of/{tenant}", routes=[Route("/end", text)])])
    watched = Watched(app)
    watched.app = watched.monitor.watch_app(echo, watched.life, routed_by=app)

    async def conversation() -> None:
        for path in ("/items/1", "/items/2", "/of/a/end", "/nowhere", "/items/" + "x" * 5000):
            await watched.ask(path)
        await watched.ask("/proxied/items/1", root_path="/proxied")

    asyncio.run(conversation())
    counted = watched.counted()
    assert counted == {
        ("GET", "/items/{item}", "200"): 3,
        ("GET", "/of/{tenant}/end", "200"): 1,
        ("GET", "", "200"): 2,
    }


def test_nothing_is_left_to_be_collected() -> None:
    """A request that has ended leaves no cycle of references, whichever way it was answered."""

    class Cycle:
        async def send(self, message: Any) -> None:
            pass

        def send_whole(self, head: bytes, body: bytes) -> bool:
            return True

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        scope["hasten.whole"][1].send_whole(b"", b"")

    async def conversation() -> int:
        for app in (echo, whole):
            await Watched(app).app({"type": "http", "method": "GET", "path": "/", "headers": []}, no_body, Cycle().send)
        gc.collect()
        gc.disable()
        watched = [Watched(app) for app in (echo, whole)]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"traceparent", TRACE.encode())]}
        for one in watched:
            await one.app(dict(scope), no_body, Cycle().send)
        return gc.collect()

    try:
        assert asyncio.run(conversation()) == 0
    finally:
        gc.enable()
