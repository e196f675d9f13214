"""What a process did in a trace that somebody has asked for is kept; of all others nothing is."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
from fastapi import FastAPI

import hasten
import hasten.rpc
from hasten._core.ambient import AMBIENT, Carried
from hasten._core.signals import EventHandled, EventSignal
from hasten._core.tracing import asked_traceparent, span_id_of, trace_id_of
from hasten.events import Bus
from hasten.monitor import Monitor, outgoing_headers
from hasten.monitor._traces import MOST_TRACES, MOST_WORKS
from tests.http.client.services import Service, calling_service, response
from tests.monitor.test_trace import TRACEPARENT


async def echo(request: bytes, context: Any) -> bytes:
    return request


@asynccontextmanager
async def called(monitor: Monitor) -> AsyncIterator[hasten.rpc.Channel]:
    """Yield a channel to a server, both watched."""
    server = hasten.rpc.Server()
    server.add_registered_method_handlers("t.T", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    channel = hasten.rpc.Channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    monitor.watch(server, channel)
    await server.start()
    try:
        async with channel:
            yield channel
    finally:
        await server.stop(None)


def shop(channel: hasten.rpc.Channel) -> FastAPI:
    """Return an app that calls another service."""
    app = FastAPI()
    stub = channel.unary_unary("/t.T/Echo")

    @app.get("/items/{item}")
    async def item(item: str) -> dict[str, str]:
        await stub(item.encode())
        return outgoing_headers()

    return app


async def ask(app: Any, traceparent: str) -> Any:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return (await client.get("/items/7", headers={"traceparent": traceparent})).raise_for_status().json()


def test_a_request_and_its_calls() -> None:
    """A request is kept with the call that it made, at both ends, each within the other; what goes out goes on."""
    traceparent = asked_traceparent()

    async def scenario() -> tuple[Any, Any]:
        back = Monitor("stock")
        async with called(back) as channel:
            app = hasten.install(shop(channel), service="shop", admin=None)
            app.state.monitor.watch(channel)
            return await ask(app, traceparent), (app.state.monitor, back)

    outgoing, (front, back) = asyncio.run(scenario())
    call, request = front.traces.of(trace_id_of(traceparent))
    assert (request.kind, request.name, request.outcome) == ("request", "GET /items/{item}", "200")
    assert request.parent == span_id_of(traceparent)
    assert outgoing["traceparent"] == f"00-{trace_id_of(traceparent)}-{request.span}-01"
    assert (call.kind, call.name, call.outcome, call.parent) == ("call", "/t.T/Echo", "OK", request.span)
    served = next(work for work in back.traces.of(trace_id_of(traceparent)) if work.kind == "served")
    assert served.parent == call.span
    assert request.started <= call.started <= served.started
    assert served.seconds <= call.seconds <= request.seconds


def test_an_http_call() -> None:
    """A call by HTTP is kept with whom it has asked, and what came of it goes on in its span."""
    traceparent = asked_traceparent()

    async def scenario() -> tuple[Monitor, str, str]:
        monitor, service = Monitor("shop"), Service(response(status=404))
        async with calling_service(service) as client:
            monitor.watch(client)
            AMBIENT.set(Carried(math.inf, traceparent))
            await client.get("/items/7")
            return monitor, service.fields()["traceparent"], client.statistics().hosts[0].name

    monitor, sent, host = asyncio.run(scenario())
    (call,) = monitor.traces.of(trace_id_of(traceparent))
    assert (call.kind, call.name, call.outcome, call.peer) == ("call", "GET", "404", host)
    assert call.parent == span_id_of(traceparent)
    assert call.span == span_id_of(sent)


def test_of_other_traces_nothing_is_kept() -> None:
    """A trace of somebody else's is passed on as it came, and nothing is kept of it."""

    async def scenario() -> tuple[Any, Any]:
        monitor = Monitor("stock")
        async with called(monitor) as channel:
            app = hasten.install(shop(channel), service="shop", admin=None)
            return await ask(app, TRACEPARENT), (app.state.monitor, monitor)

    outgoing, monitors = asyncio.run(scenario())
    assert outgoing["traceparent"] == TRACEPARENT
    assert [monitor.traces.of(trace_id_of(TRACEPARENT)) for monitor in monitors] == [(), ()]


def test_messages() -> None:
    """What was published is kept, and what was handled within it."""
    traceparent = asked_traceparent()

    async def scenario() -> Monitor:
        bus = Bus("memory://")
        handled = asyncio.Event()
        monitor = Monitor("orders")
        monitor.watch(bus)

        @bus.subscribe("orders.paid", group="mail")
        async def note(paid: dict[str, int]) -> None:
            pass

        def end(signal: EventSignal) -> None:
            if isinstance(signal, EventHandled):
                handled.set()

        bus.add_hook(end)  # behind the monitor's
        async with bus:
            AMBIENT.set(Carried(math.inf, traceparent))
            await bus.publish("orders.paid", {"order": 1})
            await handled.wait()
        return monitor

    works = asyncio.run(scenario()).traces.of(trace_id_of(traceparent))
    published, handled = sorted(works, key=lambda work: work.kind, reverse=True)
    assert (published.kind, published.name, published.outcome) == ("published", "orders.paid", "ok")
    assert published.parent == span_id_of(traceparent)
    assert (handled.kind, handled.name, handled.parent) == ("handled", "orders.paid", published.span)


def test_what_is_kept_is_bounded() -> None:
    """Of many traces the last are kept, and of one with many calls the first."""

    async def scenario() -> tuple[Monitor, list[str]]:
        monitor = Monitor("stock")
        traces = [asked_traceparent() for _ in range(MOST_TRACES + 3)]
        async with called(monitor) as channel:
            stub = channel.unary_unary("/t.T/Echo")
            for traceparent in traces:
                AMBIENT.set(Carried(math.inf, traceparent))
                await stub(b"")
            for _ in range(MOST_WORKS):
                await stub(b"")
        return monitor, [trace_id_of(each) for each in traces]

    monitor, traces = asyncio.run(scenario())
    kept = [len(monitor.traces.of(trace)) for trace in traces]
    assert kept[:3] == [0, 0, 0]
    assert kept[3:] == [2] * (MOST_TRACES - 1) + [MOST_WORKS]
