"""`hasten.install(app, bus=bus)`: consumers start behind the app, and drain before it ends, whoever runs it."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

import hasten
from hasten.events import BrokerUnavailable, Bus
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import run
from tests.ledger.test_servers import SERVERS, serving

History = list[str]


class Part:
    """Anything that lives with an app, and says so; it may fail at its start or at its end."""

    def __init__(self, name: str, history: History, *, fails_at: str = "") -> None:
        self._name = name
        self._history = history
        self._fails_at = fails_at

    async def __aenter__(self) -> "Part":
        await self._note("starts")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._note("ends")

    async def _note(self, what: str) -> None:
        await asyncio.sleep(0)
        self._history.append(f"{self._name} {what}")
        if what == self._fails_at:
            raise BrokerUnavailable(self._name, "nobody answers")


class Server:
    """What a server does with an app's lifespan, and no more."""

    def __init__(self, app: Any) -> None:
        self._to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.running = asyncio.create_task(app(scope, self._to_app.get, self._from_app.put))

    async def ask(self, what: str) -> dict[str, str]:
        """Send `startup` or `shutdown`, and return the answer."""
        await self._to_app.put({"type": f"lifespan.{what}"})
        return await self._from_app.get()

    async def start(self) -> dict[str, str]:
        return await self.ask("startup")

    async def stop(self) -> dict[str, str]:
        answer = await self.ask("shutdown")
        await self.running
        return answer


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


# ---- apps that note their start and their end; with `fails` they do not start


def fastapi(history: History, *, fails: bool = False) -> Any:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        if fails:
            raise RuntimeError("no database")
        history.append("app starts")
        yield  # no `try`: as in FastAPI's documentation
        history.append("app ends")

    return FastAPI(lifespan=lifespan)


def starlette_around(history: History, *, fails: bool = False) -> Any:
    """A middleware around a framework's app, which is no framework's app itself."""
    inner = fastapi(history, fails=fails)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    return outer


def plain(history: History, *, fails: bool = False) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        if fails:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        history.append("app starts")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        history.append("app ends")
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def returns(scope: Any, receive: Any, send: Any) -> None:
    """Has no lifespan."""


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    """Has no lifespan."""
    assert scope["type"] == "http"


APPS = [fastapi, starlette_around, plain]
MakeApp = Callable[..., Any]


@pytest.mark.parametrize("make", APPS)
def test_order(make: MakeApp) -> None:
    """The app starts before its buses, which start one by one, and end in the opposite order before the app does."""

    async def scenario() -> None:
        history: History = []
        app = hasten.install(make(history), bus=[Part("first", history), Part("second", history)])
        server = Server(app)
        assert await server.start() == STARTED
        assert history == ["app starts", "first starts", "second starts"]
        assert await server.stop() == STOPPED
        assert history[3:] == ["second ends", "first ends", "app ends"]

    run(scenario())


@pytest.mark.parametrize("make", APPS)
def test_the_bus_drains_while_the_app_is_there(make: MakeApp) -> None:
    """A message that is handled when the server stops is finished and settled before the app ends; none comes after."""

    async def scenario() -> None:
        history: History = []
        broker, begun, release = MemoryBroker(), asyncio.Event(), asyncio.Event()
        bus = Bus(broker)

        @bus.subscribe("orders.paid", group="billing", concurrency=1)
        async def bill(order: int) -> None:
            begun.set()
            await release.wait()
            history.append(f"billed {order}")

        server = Server(hasten.install(make(history), bus=bus))
        assert await server.start() == STARTED
        for order in (1, 2):
            await bus.publish("orders.paid", order)
        await begun.wait()
        stopping = asyncio.create_task(server.stop())
        for _ in range(20):
            await asyncio.sleep(0)
        assert history == ["app starts"]
        release.set()
        assert await stopping == STOPPED
        assert history == ["app starts", "billed 1", "app ends"]
        assert (await broker.backlog("orders.paid", "billing")).waiting == 1

    run(scenario())


@pytest.mark.parametrize("app", [returns, refuses])
def test_an_app_without_a_lifespan(app: Any) -> None:
    """The buses have one of their own: they start and end, and one that does not start fails the start-up."""

    async def scenario() -> None:
        history: History = []
        server = Server(hasten.install(app, bus=Part("bus", history)))
        assert await server.start() == STARTED
        assert history == ["bus starts"]
        assert await server.stop() == STOPPED
        assert history == ["bus starts", "bus ends"]
        server = Server(hasten.install(app, bus=Part("broken", history, fails_at="starts")))
        answer = await server.start()
        assert answer["type"] == "lifespan.startup.failed"
        assert answer["message"].endswith("BrokerUnavailable: broken: nobody answers")
        await server.running

    run(scenario())


@pytest.mark.parametrize("make", APPS)
def test_a_bus_that_does_not_start(make: MakeApp) -> None:
    """It fails the start-up with its message; what had started before it, the app too, has ended properly by then."""

    async def scenario() -> None:
        history: History = []
        parts = [Part("first", history), Part("broken", history, fails_at="starts"), Part("third", history)]
        server = Server(hasten.install(make(history), bus=parts))
        answer = await server.start()
        assert answer["type"] == "lifespan.startup.failed"
        assert answer["message"].strip().endswith("BrokerUnavailable: broken: nobody answers")
        assert history == ["app starts", "first starts", "broken starts", "first ends", "app ends"]
        await asyncio.wait((server.running,))
        assert server.running.done()

    run(scenario())


@pytest.mark.parametrize("make", APPS)
def test_an_app_that_does_not_start(make: MakeApp) -> None:
    """No bus is started, and the server hears what the app says."""

    async def scenario() -> None:
        history: History = []
        server = Server(hasten.install(make(history, fails=True), bus=Part("bus", history)))
        answer = await server.start()
        assert answer["type"] == "lifespan.startup.failed"
        assert "no database" in answer["message"]
        assert history == []
        await asyncio.wait((server.running,))

    run(scenario())


def test_an_app_that_raises_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    """A server would go on as if it had no lifespan; with a bus that counts as a failed start."""

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise RuntimeError("no database")

    async def scenario() -> None:
        history: History = []
        server = Server(hasten.install(raises, bus=Part("bus", history)))
        answer = await server.start()
        assert answer == {"type": "lifespan.startup.failed", "message": "RuntimeError: no database"}
        await server.running
        assert history == []

    run(scenario())
    assert "no database" in caplog.text


@pytest.mark.parametrize("make", APPS)
def test_a_bus_that_does_not_end(make: MakeApp) -> None:
    """The others and the app end all the same, and the server hears of it."""

    async def scenario() -> None:
        history: History = []
        parts = [Part("first", history), Part("broken", history, fails_at="ends")]
        server = Server(hasten.install(make(history), bus=parts))
        await server.start()
        answer = await server.ask("shutdown")
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "broken: nobody answers" in answer["message"]
        assert history[-3:] == ["broken ends", "first ends", "app ends"]
        await asyncio.wait((server.running,))

    run(scenario())


def test_an_app_that_ends_by_itself() -> None:
    """When an app gives up while it serves its buses end, too."""

    async def gives_up(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise RuntimeError("gives up")

    async def scenario() -> None:
        history: History = []
        server = Server(hasten.install(gives_up, bus=Part("bus", history)))
        assert await server.start() == STARTED
        with pytest.raises(RuntimeError, match="gives up"):
            await server.running
        assert history == ["bus starts", "bus ends"]

    run(scenario())


@pytest.mark.parametrize("make", APPS)
def test_a_server_that_is_cancelled(make: MakeApp) -> None:
    """A lifespan that is cancelled while the app serves ends the buses."""

    async def scenario() -> None:
        history: History = []
        server = Server(hasten.install(make(history), bus=Part("bus", history)))
        await server.start()
        await asyncio.sleep(0)
        server.running.cancel()
        await asyncio.wait((server.running,))
        assert history == ["app starts", "bus starts", "bus ends"]

    run(scenario())


@pytest.mark.parametrize("make", [*APPS, lambda _: returns])
def test_installing_twice(make: MakeApp) -> None:
    """A second call adds its buses, but none that is there; it needs no other app, and the ledger is the same."""

    async def scenario() -> None:
        history: History = []
        first, second = Part("first", history), Part("second", history)
        once = hasten.install(make(history), bus=first)
        twice = hasten.install(once, bus=[first, second])
        again = hasten.install(twice)
        assert again is once
        server = Server(again)
        await server.start()
        await server.stop()
        parts = [each for each in history if not each.startswith("app")]
        assert parts == ["first starts", "second starts", "second ends", "first ends"]

    run(scenario())


@pytest.mark.parametrize("make", APPS)
def test_a_bus_behind_the_ledger(make: MakeApp) -> None:
    """An app that has the ledger already gets its buses by a second call, and keeps its ledger."""

    async def scenario() -> None:
        history: History = []
        with_ledger = hasten.install(make(history), service="shop")
        server = Server(hasten.install(with_ledger, bus=Part("bus", history)))
        await server.start()
        await server.stop()
        assert history == ["app starts", "bus starts", "bus ends", "app ends"]

    run(scenario())


def test_an_app_runs_again() -> None:
    """Each `with TestClient(app)` starts and ends what lives with the app, and a lifespan's state reaches requests."""
    history: History = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"pool": "open"}

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def state(request: Request) -> str:
        return str(request.state.pool)

    hasten.install(app, bus=Part("bus", history))
    for round_number in (1, 2):
        with TestClient(app) as client:
            assert len(history) == 2 * round_number - 1
            assert client.get("/").json() == "open"
        assert history == ["bus starts", "bus ends"] * round_number


def test_routers_with_a_lifespan() -> None:
    """A router's lifespan that was included before is part of the app: the bus starts behind it and ends before it."""
    history: History = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        history.append("router starts")
        yield
        history.append("router ends")

    app = FastAPI()
    app.include_router(APIRouter(lifespan=lifespan))
    hasten.install(app, bus=Part("bus", history))
    with TestClient(app):
        pass
    assert history == ["router starts", "bus starts", "bus ends", "router ends"]


def test_a_mounted_app() -> None:
    """The bus of an app that is mounted lives when the outer app's lifespan enters the inner one's."""
    history: History = []
    inner = hasten.install(fastapi(history), bus=Part("bus", history))

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    with TestClient(Starlette(routes=[Mount("/inner", inner)], lifespan=lifespan)):
        assert history == ["app starts", "bus starts"]
    assert history == ["app starts", "bus starts", "bus ends", "app ends"]


# ---- real servers

SERVED = """
import asyncio
from contextlib import asynccontextmanager

import hasten
from fastapi import FastAPI
from hasten.events import Bus

def note(what):
    with open("history.txt", "a") as file:
        file.write(what + "\\n")

@asynccontextmanager
async def lifespan(app):
    note("app starts")
    yield
    note("app ends")

app = FastAPI(lifespan=lifespan)
bus = Bus("memory://")
started, stopping = asyncio.Event(), asyncio.Event()

@bus.subscribe("orders.paid", group="billing")
async def bill(order: int):
    started.set()
    await stopping.wait()
    await asyncio.sleep(0.05)
    note(f"billed {order}")

@asynccontextmanager
async def telling():
    yield
    note("the server stops")
    stopping.set()

@app.post("/orders/{order}")
async def pay(order: int):
    await bus.publish("orders.paid", order)
    await started.wait()

hasten.install(app, bus=[bus, telling()])
"""
SERVED_BY = {**SERVERS, "hasten run": ("hasten", "run", "shop:app", "--port", "{port}")}


@pytest.mark.parametrize("server", SERVED_BY)
def test_under_a_server(server: str, tmp_path: Path) -> None:
    """Under each server SIGTERM lets a message that is handled be finished, before the app ends."""
    (tmp_path / "shop.py").write_text(SERVED)
    with serving(SERVED_BY[server], tmp_path) as url:
        urllib.request.urlopen(f"{url}/orders/7", data=b"", timeout=20)
    history = (tmp_path / "history.txt").read_text().splitlines()
    assert history == ["app starts", "the server stops", "billed 7", "app ends"]
