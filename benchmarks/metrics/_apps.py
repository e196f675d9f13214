"""The service under measurement: `python -m benchmarks.metrics._apps SUBJECT ROUTES`.

All serve one FastAPI app: a document that is ready, and routes to fill metrics with. Each subject is set up as its
documentation says, with its default metrics.

    /items/{number}, /loads     what the client of `response-cache` asks for
    /fill/N/{number}            so many routes: each that was asked for is a label set
    /scrape                     where the subject serves its metrics
    /lag                        the longest that the loop was late since this was asked for last
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from benchmarks._child import die_with_parent
from benchmarks.response_cache._server import serve
from benchmarks.response_cache._work import CONNECTIONS, FIRST, document

_TICK = 0.001  # seconds: uvloop's timers know no less


class LoopLag:
    """Calls back every millisecond and notes how late it was."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._due = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + _TICK
        self._loop.call_later(_TICK, self._tick)

    def _tick(self) -> None:
        self._worst = max(self._worst, self._loop.time() - self._due)
        self.start()

    def take(self) -> float:
        """Return the worst since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst


def build_app(routes: int) -> FastAPI:
    """Return the service with nothing installed; `app.state.scrape` is where its metrics are."""
    lag = LoopLag()
    answers = {number: msgspec.json.encode(document(number)) for number in range(FIRST, FIRST + CONNECTIONS)}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(lifespan=lifespan)
    app.state.scrape = lambda: "/nothing"

    @app.get("/items/{number}")
    async def item(number: int) -> Response:
        return Response(answers[number], media_type="application/json")

    @app.get("/loads")
    async def loads() -> PlainTextResponse:
        return PlainTextResponse("0")

    @app.get("/nothing")
    async def nothing() -> PlainTextResponse:
        return PlainTextResponse("")

    @app.get("/scrape")
    async def scrape() -> PlainTextResponse:
        return PlainTextResponse(app.state.scrape())

    @app.get("/lag")
    async def worst() -> PlainTextResponse:
        if not lag._due:  # noqa: SLF001 - from the first question on: the ticks are not in what a request costs
            lag.start()
        return PlainTextResponse(repr(lag.take()))

    for number in range(routes):
        app.get(f"/fill/{number}/{{value}}")(_filling)
    return app


async def _filling(value: int) -> PlainTextResponse:
    return PlainTextResponse(str(value))


def bare(app: FastAPI) -> Any:
    """Install nothing."""
    return app


def hasten_monitor(app: FastAPI) -> Any:
    """Install the monitor and its admin port, and no ledger."""
    from hasten._install import _monitored
    from hasten._monitoring import MonitorLife, make_monitor

    app, monitor = _monitored(app, lambda: MonitorLife(make_monitor("", None), "127.0.0.1:0", ""))
    app.state.scrape = lambda: f"{monitor.url}/metrics"
    return app


def hasten_install(app: FastAPI) -> Any:
    """Install everything, as users do."""
    import hasten

    hasten.install(app, admin="127.0.0.1:0")
    app.state.scrape = lambda: f"{app.state.monitor.url}/metrics"
    return app


def instrumentator(app: FastAPI) -> Any:
    """Install prometheus-fastapi-instrumentator: its route is a `def`, which runs in a thread."""
    from prometheus_fastapi_instrumentator import Instrumentator

    Instrumentator().instrument(app).expose(app)
    app.state.scrape = lambda: "/metrics"
    return app


def instrumentator_on_loop(app: FastAPI) -> Any:
    """Install it, and serve its registry by prometheus_client's own ASGI app, which runs on the loop."""
    from prometheus_client import make_asgi_app
    from prometheus_fastapi_instrumentator import Instrumentator

    Instrumentator().instrument(app)
    app.mount("/metrics", make_asgi_app())
    app.state.scrape = lambda: "/metrics/"
    return app


def starlette_exporter(app: FastAPI) -> Any:
    """Install starlette-exporter with routes as labels, which is its default; its route runs in a thread, too."""
    from starlette_exporter import PrometheusMiddleware, handle_metrics

    app.add_middleware(PrometheusMiddleware)
    app.add_route("/metrics", handle_metrics)
    app.state.scrape = lambda: "/metrics"
    return app


def opentelemetry(app: FastAPI) -> Any:
    """Install OpenTelemetry's instrumentation with a meter and no tracer; nothing is exported while it is measured."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.trace import NoOpTracerProvider

    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    FastAPIInstrumentor.instrument_app(app, meter_provider=meters, tracer_provider=NoOpTracerProvider())
    return app


APPS: dict[str, Callable[[FastAPI], Any]] = {
    "bare": bare,
    "hasten-monitor": hasten_monitor,
    "hasten-install": hasten_install,
    "instrumentator": instrumentator,
    "instrumentator-loop": instrumentator_on_loop,
    "starlette-exporter": starlette_exporter,
    "opentelemetry": opentelemetry,
}

if __name__ == "__main__":
    die_with_parent()
    serve(APPS[sys.argv[1]](build_app(int(sys.argv[2]))))
