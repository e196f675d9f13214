"""Beside OpenTelemetry's own instrumentation: its spans are gone on with, and none is made twice."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import hasten
from hasten.monitor import outgoing_headers
from hasten.monitor.otel import FollowSpan, Otlp
from tests.monitor.otel.collector import Collector
from tests.monitor.otel.shop import living
from tests.monitor.test_trace import SPAN, TRACE, TRACEPARENT


def instrumented(app: FastAPI, provider: TracerProvider) -> None:
    """Have an app's requests be spans as OpenTelemetry's instrumentation does: current while the app runs."""
    tracer = provider.get_tracer("app")

    class Instrumentation:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            carrier = {name.decode(): value.decode() for name, value in scope["headers"]}
            context = TraceContextTextMapPropagator().extract(carrier)
            with tracer.start_as_current_span("theirs", context, SpanKind.SERVER):
                await self.app(scope, receive, send)

    app.add_middleware(Instrumentation)


def seen(otlp: Otlp, headers: dict[str, str], *, follows: bool = True) -> tuple[dict[str, Any], ReadableSpan]:
    """Return what an instrumented app would send out in a request, and the span that the instrumentation made."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> dict[str, str]:
        return outgoing_headers()

    if follows:
        app.add_middleware(FollowSpan)
    instrumented(app, provider)
    hasten.install(app, service="shop", admin=None, otlp=otlp)

    async def scenario() -> dict[str, Any]:
        transport = httpx.ASGITransport(app=app)
        async with living(app), httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            found: dict[str, Any] = (await client.get("/", headers=headers)).json()
        return found

    found = asyncio.run(scenario())
    (span,) = exporter.get_finished_spans()
    return found, span


@pytest.mark.parametrize("headers", [{}, {"traceparent": TRACEPARENT, "tracestate": "a=1", "x-request-id": "r-7"}])
def test_what_goes_out_is_within_their_span(collector: Collector, headers: dict[str, str]) -> None:
    """With the middleware, and no spans of ours, calls carry on the instrumentation's; the request's id goes along."""
    found, span = seen(Otlp(collector.url, spans=False), headers)
    context = span.get_span_context()
    assert context is not None
    flags = int(context.trace_flags)
    assert found["traceparent"] == f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    assert found.get("tracestate", "") == headers.get("tracestate", "")
    assert found.get("x-request-id", "") == headers.get("x-request-id", "")
    assert collector.spans == []


def test_without_the_middleware_what_came_goes_out(collector: Collector) -> None:
    """Their span is passed over: what goes out is within the caller's."""
    found, _ = seen(Otlp(collector.url, spans=False), {"traceparent": TRACEPARENT}, follows=False)
    assert found["traceparent"] == TRACEPARENT


def test_where_no_span_is_current(collector: Collector) -> None:
    """The middleware leaves everything as it is where nobody has made a span."""
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> dict[str, str]:
        return outgoing_headers()

    app.add_middleware(FollowSpan)
    hasten.install(app, admin=None, otlp=Otlp(collector.url, ratio=1.0))

    async def scenario() -> Any:
        transport = httpx.ASGITransport(app=app)
        async with living(app), httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.get("/", headers={"traceparent": TRACEPARENT})).json()

    found = asyncio.run(scenario())
    (span,) = collector.spans
    assert found["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert span.parent_span_id.hex() == SPAN
