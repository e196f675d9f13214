"""However many paths, methods and topics there are: series stay under their caps, and memory stays flat."""

import asyncio
import gc
import itertools
import random
import socket
import string
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

import hasten
from hasten import rpc
from hasten._core.signals import (
    CallFinished,
    CallStarted,
    EventBacklog,
    EventBuried,
    EventDelivered,
    EventHandled,
    EventPublished,
    EventRetried,
)
from hasten._install import monitor_of
from hasten.events import Bus
from hasten.monitor import CATALOGUE, Exposition, HistogramValue, Metric, Monitor
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER

_MANY = 100_000
_TRACED = 5_000  # of them, the last: tracing of memory is slow
_FLAT_BYTES = 100_000  # 20 bytes for each of those, whose paths and topics are longer
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY", "CONNECT")
_TEMPLATES = {"", "/items/{item_id}", "/{tenant}/files/{path:path}", "/{tenant}/inner/{name}", "/class", "/slow/"}


class ByClass(HTTPEndpoint):
    """A route that has methods by their names."""

    async def get(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("class")


async def _answer(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def _talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def _service(folder: Path) -> Starlette:
    tenant = Router([Route("/files/{path:path}", _answer), Mount("/inner", routes=[Route("/{name}", _answer)])])
    return Starlette(
        routes=[
            Route("/items/{item_id}", _answer, methods=["GET", "POST"]),
            Route("/class", ByClass),
            Route("/slow/", _answer),
            Mount("/static", StaticFiles(directory=folder)),
            WebSocketRoute("/talk/{name}", _talk),
            Mount("/{tenant}", tenant),
        ]
    )


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    """Return a monitored app with routes of every kind."""
    (tmp_path / "a.css").write_text("a")
    return hasten.install(_service(tmp_path), admin=None, sample_every=10**9)  # the ledger has bounds of its own


def _monitor(app: Starlette) -> Monitor:
    monitor = monitor_of(app)
    assert monitor is not None
    return monitor


def _paths(source: random.Random) -> Iterator[tuple[str, str]]:
    """Return methods and paths without end, no path twice: of routes, of mounts, and of nothing."""
    for number in itertools.count():
        word = "".join(source.choices(string.ascii_letters + "éß%/ ", k=12))
        path = source.choice(
            ("/items/{}", "/nothing/{}", "/{}/files/x/y", "/{}/inner/z", "/{}", "/t/{}/inner", "/slow{}", "/class/{}")
        )
        method = source.choice(_METHODS) if number % 3 else "".join(source.choices(string.ascii_uppercase, k=5))
        yield method, path.format(f"{word}{number}")


async def _requests(app: Any, requests: Iterable[tuple[str, str]]) -> None:
    for method, path in requests:
        await _request(app, method, path)


async def _request(app: Callable[[Any, Any, Any], Awaitable[None]], method: str, path: str) -> None:
    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(received, None) or await asyncio.get_running_loop().create_future()

    async def send(_: Any) -> None:
        return None

    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": ""}
    scope |= {"query_string": b"", "headers": [], "server": ("a", 80), "client": ("b", 1), "scheme": "http"}
    await app(scope, receive, send)


def _count(value: Any) -> float:
    return value.count if isinstance(value, HistogramValue) else value


def _counted(monitor: Monitor, metric: Metric) -> float:
    return sum(_count(series.value) for series in monitor.snapshot().family(metric).series)


def _folded(monitor: Monitor, metric: Metric) -> float:
    found = monitor.snapshot().family(catalogue.FOLDED).series
    return sum(_count(series.value) for series in found if series.values == (metric.name,))


def _assert_capped(monitor: Monitor) -> None:
    for family in monitor.snapshot().families:
        assert len(family.series) <= family.metric.most + 1, family.metric.name
        assert len({series.values for series in family.series}) == len(family.series), family.metric.name


def test_random_paths_and_methods_are_a_few_series_and_no_memory(app: Starlette) -> None:
    """100,000 paths and methods leave series of routes alone, all counted, and no memory for more of them."""
    monitor = _monitor(app)
    requests = _paths(random.Random(1))
    asyncio.run(_requests(app, itertools.islice(requests, _MANY - _TRACED)))
    gc.collect()
    tracemalloc.start()
    asyncio.run(_requests(app, itertools.islice(requests, _TRACED)))
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < _FLAT_BYTES
    _assert_capped(monitor)
    assert _counted(monitor, catalogue.HTTP_SERVER_DURATION) == _MANY
    family = monitor.snapshot().family(catalogue.HTTP_SERVER_DURATION)
    assert {values[1] for values in (series.values for series in family.series)} <= _TEMPLATES
    assert {values[0] for values in (series.values for series in family.series)} <= {*_METHODS, OTHER}


@pytest.mark.may_block
def test_files_and_redirects_have_no_raw_path(app: Starlette) -> None:
    """Files that are there and not are their mount's, and redirects to a slash have no route."""
    monitor = _monitor(app)
    paths = ("/static/a.css", "/static/b.css", "/slow", "/static/../a")
    asyncio.run(_requests(app, itertools.product(("GET", "HEAD"), paths)))
    assert _counted(monitor, catalogue.HTTP_SERVER_DURATION) == 8
    family = monitor.snapshot().family(catalogue.HTTP_SERVER_DURATION)
    assert {series.values[1] for series in family.series} == {"", "/static"}


def test_statuses_beyond_the_cap_are_folded_and_counted() -> None:
    """Label sets past a metric's cap are one series, whose events the count of folded ones says."""

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        status = int(scope["path"][1:])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = hasten.install(answers, admin=None)
    monitor = monitor_of(app)
    assert monitor is not None
    most = catalogue.HTTP_SERVER_DURATION.most
    asyncio.run(_requests(app, [("GET", f"/{100 + number}") for _ in range(2) for number in range(most + 70)]))
    _assert_capped(monitor)
    assert _counted(monitor, catalogue.HTTP_SERVER_DURATION) == 2 * (most + 70)
    assert _folded(monitor, catalogue.HTTP_SERVER_DURATION) == 2 * 70


def test_weird_requests_over_sockets(app: Starlette) -> None:
    """Methods and targets that only h11 lets pass, and websockets, make no label."""
    asyncio.run(_weird(app))
    family = _monitor(app).snapshot().family(catalogue.HTTP_SERVER_DURATION)
    found = {series.values[:2] for series in family.series}
    assert sum(_count(series.value) for series in family.series) == 6
    assert found <= {
        (method, path) for method in (OTHER, "GET", "HEAD", "OPTIONS") for path in ("", "/items/{item_id}")
    }


async def _weird(app: Any) -> None:
    server = uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", log_level="critical", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        for line in (b"BREW /items/1", b"g3t /x", b"M-SEARCH *", b"GET /items/%ff%00", b"OPTIONS *", b"HEAD /items/2"):
            await _say(listener.getsockname(), line)
        server.should_exit = True
        await serving


async def _say(address: tuple[str, int], line: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(line + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 ")
    writer.close()
    await writer.wait_closed()


async def _call_unknown(monitor: Monitor, times: int) -> None:
    server = rpc.Server()
    channel = rpc.Channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    monitor.watch(server, channel)
    await server.start()
    async with channel:
        for number in range(times):
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await channel.unary_unary(f"/any.Thing/Method{number}")(b"")
    await server.stop(None)


def test_a_server_counts_methods_that_it_has_not_together() -> None:
    """Calls of methods that a gRPC server does not have are one series there; the caller's are capped."""
    monitor, most = Monitor(), catalogue.RPC_CLIENT_DURATION.most
    asyncio.run(_call_unknown(monitor, most + 20))
    (answered,) = monitor.snapshot().family(catalogue.RPC_SERVER_DURATION).series
    assert answered.values == (OTHER, "UNIMPLEMENTED")
    assert _count(answered.value) == most + 20
    _assert_capped(monitor)
    assert _folded(monitor, catalogue.RPC_CLIENT_DURATION) == 20


def _call_signals(number: int) -> Iterator[CallStarted | CallFinished]:
    method, peer = f"/any.Thing/Method{number}", f"ipv4:10.0.0.1:{number}"
    yield CallStarted(side="client", method=method, peer=peer, attempt="first")
    yield CallFinished(
        side="client",
        method=method,
        peer=peer,
        attempt="first",
        code="OK",
        seconds=0.001,
        sent_bytes=1,
        received_bytes=2,
    )


def _event_signals(number: int) -> Iterator[Any]:
    topic, group = f"topic.{number}", f"group.{number}"
    yield EventPublished(topic=topic, ok=True, seconds=0.001, size_bytes=1)
    yield EventDelivered(topic=topic, group=group, attempt=1, returned=0, size_bytes=1)
    yield EventHandled(topic=topic, group=group, attempt=1, ok=True, seconds=0.001, waited=0.1)
    yield EventRetried(topic=topic, group=group, attempt=1, cause="failed", pause=0.1)
    yield EventBuried(topic=topic, group=group, cause="failed")
    yield EventBacklog(topic=topic, group=group, waiting=1, dead=1)


def test_random_methods_and_topics_are_capped_and_no_memory() -> None:
    """100,000 methods and topics stay under the caps of their metrics, and no memory for more of them."""
    monitor = Monitor()
    for number in range(_MANY):
        if number == _MANY - _TRACED:
            gc.collect()
            tracemalloc.start()
        for call in _call_signals(number):
            monitor._calls.note(call)
        for event in _event_signals(number):
            monitor._messages.note(event)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < _FLAT_BYTES
    _assert_capped(monitor)
    for metric in (catalogue.RPC_CLIENT_DURATION, catalogue.PROCESS_DURATION, catalogue.DEAD_LETTERS):
        assert _counted(monitor, metric) == _MANY
        assert _folded(monitor, metric) == _MANY - metric.most
    text = Exposition().render(monitor.snapshot(), open_metrics=False)
    caps = sum((metric.most + 1) * (len(metric.bounds) + 3) for metric in CATALOGUE)
    assert text.count("\n") < caps


async def _publish(monitor: Monitor, times: int) -> None:
    bus = Bus("memory://")
    monitor.watch(bus)
    async with bus:
        for number in range(times):
            await bus.publish(f"topic.{number}", number, mandatory=False)


def test_topics_of_a_bus_are_capped() -> None:
    """What a bus really publishes to more topics than there is room for is counted all the same."""
    monitor, most = Monitor(), catalogue.MESSAGES_SENT.most
    asyncio.run(_publish(monitor, most + 30))
    assert _counted(monitor, catalogue.MESSAGES_SENT) == most + 30
    assert _folded(monitor, catalogue.MESSAGES_SENT) == 30
    _assert_capped(monitor)
