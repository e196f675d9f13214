"""What comes between a service and its collector harms nobody but the collector, and is counted."""

import asyncio
import logging
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import hasten
from hasten._core.signals import EventPublished, EventSignal
from hasten._core.tracing import Tracer
from hasten.events.brokers.memory import MemoryBroker
from hasten.monitor import Monitor
from hasten.monitor._catalogue import OTLP_DROPPED, OTLP_EXPORTS
from hasten.monitor.otel import Otlp, Telemetry
from tests.monitor.otel.collector import Collector
from tests.monitor.otel.shop import TOPIC, Shop
from tests.monitor.test_trace import TRACEPARENT

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a connection that was aborted


async def counted(monitor: Monitor) -> dict[str, float]:
    """Return what became of spans and sendings: `spans ok`, `metrics failed`, `dropped queue`."""
    snapshot = await asyncio.to_thread(monitor.snapshot)
    exports, dropped = snapshot.family(OTLP_EXPORTS).series, snapshot.family(OTLP_DROPPED).series
    found = {" ".join(each.values): each.value for each in exports}
    found |= {f"dropped {each.values[0]}": each.value for each in dropped}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


@contextmanager
def nobody() -> Iterator[str]:
    """Yield the URL of a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


async def buy(shop: Shop, times: int = 1) -> list[int]:
    """Buy so many things one after the other, and return the statuses."""
    return [(await shop.client.get("/buy/7")).status_code for _ in range(times)]


class Publishing:
    """What tells of published messages as a bus does."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._tracer: Tracer
        self._hook: Callable[[EventSignal], None]

    def trace(self, tracer: Tracer) -> None:
        """As a bus's."""
        self._tracer = tracer

    def add_hook(self, hook: Callable[[EventSignal], None]) -> None:
        """As a bus's."""
        self._hook = hook

    def publish(self, *, ok: bool = True) -> None:
        """Tell of a message."""
        self._hook(EventPublished(TOPIC, ok, 0.001, 7, *self._tracer.begin("")))


# ---- a collector that is away, ill, or slow


def test_requests_while_the_collector_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """They are answered as ever, the end of the app comes, and every span is counted as dropped."""

    async def scenario(url: str) -> tuple[list[int], dict[str, float]]:
        async with Shop(Otlp(url, ratio=1.0, timeout=0.2), sample_every=10_000) as shop:
            statuses = await buy(shop, 20)
            monitor = shop.app.state.monitor
        return statuses, await counted(monitor)

    with nobody() as url:
        statuses, counts = asyncio.run(scenario(url))
    assert statuses == [200] * 20
    assert counts["spans ok"] == counts["metrics ok"] == 0
    assert counts["metrics failed"] == 1
    assert counts["dropped export"] + counts["dropped end"] >= 20 * 4  # the last messages may be handled, or not
    assert counts["dropped queue"] == 0


def test_a_collector_that_refuses_is_told_of_once(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """Each batch that it refuses is dropped and counted; our own log says once that it does, and that it is well."""
    collector.refuse(400)

    async def scenario() -> dict[str, float]:
        bus, monitor = Publishing(), Monitor("stock")
        telemetry = Telemetry(monitor, Otlp(collector.url, ratio=1.0, metrics=False))
        monitor.follow(telemetry)
        telemetry.watch(bus)
        for status in (400, 400, 400, 200):
            collector.refuse(status)
            telemetry.start()
            bus.publish()
            await telemetry.aclose()
        return await counted(monitor)

    with caplog.at_level(logging.WARNING, "hasten.monitor"):
        counts = asyncio.run(scenario())
    assert counts["dropped export"] == counts["spans failed"] == 3
    assert len(collector.spans) == counts["spans ok"] == 1
    said = [record.message for record in caplog.records if record.name == "hasten.monitor"]
    assert len(said) == 2
    assert collector.url in said[0]


def test_a_collector_that_does_not_answer_holds_up_nobody(collector: Collector) -> None:
    """While it is silent requests are answered; more spans than may wait are dropped, and counted."""

    async def scenario() -> tuple[list[int], dict[str, float], int]:
        async with Shop(Otlp(collector.url, ratio=1.0, timeout=60.0, most_spans=300), sample_every=10_000) as shop:
            with collector.silent():
                statuses = await buy(shop, 200)
                counts = await counted(shop.app.state.monitor)
                threads = sum(thread.name == "hasten-otlp" for thread in threading.enumerate())
        return statuses, counts, threads

    statuses, counts, threads = asyncio.run(scenario())
    assert statuses == [200] * 200
    assert counts["dropped queue"] > 0
    assert threads == 1


def test_the_end_does_not_wait_for_a_silent_collector(collector: Collector) -> None:
    """The app ends within the time for last words, and what was left is counted as such."""

    async def scenario() -> dict[str, float]:
        with collector.silent():
            async with Shop(Otlp(collector.url, ratio=1.0, timeout=60.0), sample_every=10_000) as shop:
                await buy(shop)
                monitor = shop.app.state.monitor
            return await counted(monitor)

    began = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - began < 30.0  # half of what a sending may take; the promise is two seconds and a half


def test_everything_is_sent_before_the_end(collector: Collector) -> None:
    """What has happened until the app's end arrives: all spans, and the last metrics with them."""

    async def scenario() -> dict[str, float]:
        async with Shop(Otlp(collector.url, ratio=1.0), sample_every=1) as shop:
            await buy(shop, 50)
            monitor = shop.app.state.monitor
        return await counted(monitor)

    counts = asyncio.run(scenario())
    assert sum(span.name == "GET /buy/{item}" for span in collector.spans) == 50
    assert all(counts[f"dropped {cause}"] == 0 for cause in ("queue", "export", "end"))
    (series,) = collector.metrics["http.server.request.duration"].histogram.data_points
    assert series.count == 50


def test_spans_are_sent_while_the_app_runs(collector: Collector) -> None:
    """They come about once a second, and all metrics at the interval that was asked for, without an end."""

    async def scenario() -> None:
        async with Shop(Otlp(collector.url, ratio=1.0, every=0.01), sample_every=10_000) as shop:
            await buy(shop)
            await shop.handled.wait()
            await asyncio.to_thread(collector.until, lambda seen: len(seen.spans) == 5 and bool(seen.metrics))

    asyncio.run(scenario())


def test_an_app_that_starts_again_sends_again(collector: Collector) -> None:
    """As apps in tests do; each time what has happened arrives."""

    async def scenario() -> None:
        bus = Publishing()
        telemetry = Telemetry(Monitor("stock"), Otlp(collector.url, ratio=1.0))
        telemetry.watch(bus)
        for _ in range(2):
            telemetry.start()
            bus.publish()
            await telemetry.aclose()
            bus.publish()  # meanwhile: nobody takes it

    asyncio.run(scenario())
    assert [span.name for span in collector.spans] == [f"publish {TOPIC}"] * 2


# ---- what is sent


def test_a_process_says_who_it_is(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Service, instance and worker stand in the resource of spans and metrics, beside what the environment says."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=7")

    async def scenario() -> None:
        async with Shop(Otlp(collector.url, ratio=1.0, headers={"authorization": "Bearer t"})) as shop:
            await buy(shop)

    asyncio.run(scenario())
    assert len(collector.resources) >= 2
    for resource in collector.resources:
        assert resource["service.name"] == "shop"
        assert resource["worker"] == "0"
        assert resource["service.instance.id"].startswith(f"{socket.gethostname()}:")
        assert resource["deployment.environment.name"] == "staging"
    assert collector.headers["authorization"] == "Bearer t"
    assert collector.headers["x-tenant"] == "7"


def test_metrics_alone(collector: Collector) -> None:
    """Where spans are not wanted none are made, and traces are passed on as they came."""

    async def scenario() -> list[str]:
        async with Shop(Otlp(collector.url, spans=False)) as shop:
            await shop.client.get("/buy/7", headers={"traceparent": TRACEPARENT})
        return shop.traceparents

    assert asyncio.run(scenario()) == [TRACEPARENT]
    assert collector.spans == []
    assert "http.server.request.duration" in collector.metrics


def test_spans_alone(collector: Collector) -> None:
    """Where metrics are not wanted, as beside a Prometheus that scrapes, none are sent."""

    async def scenario() -> None:
        async with Shop(Otlp(collector.url, ratio=1.0, metrics=False)) as shop:
            await buy(shop)

    asyncio.run(scenario())
    assert collector.spans
    assert collector.metrics == {}


# ---- what is asked for


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "collector:4318"},
        {"url": "http://"},
        {"url": "http://collector:4318/v1/traces"},
        {"url": "http://collector:4318", "ratio": 1.5},
        {"url": "http://collector:4318", "ratio": math.nan},
        {"url": "http://collector:4318", "every": 0.0},
        {"url": "http://collector:4318", "most_spans": 0},
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, Any]) -> None:
    """They are told when the app is made, with what to write instead or what is allowed."""
    with pytest.raises(hasten.ConfigurationError, match=r"otlp '"):
        Otlp(**wrong)


def test_without_the_extra() -> None:
    """`install` says which extra is missing, and hasten works without it where nobody asks for a collector."""
    code = """
import sys
sys.modules["opentelemetry"] = None
import hasten
async def app(scope, receive, send): ...
hasten.install(app)
assert not any(name.startswith("opentelemetry.") for name in sys.modules)
try:
    hasten.install(app, otlp="http://127.0.0.1:4318")
except hasten.MissingDependency as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "opentelemetry-sdk is not installed; run: pip install 'hasten[otel]'\n"


def test_importing_hasten_loads_no_sdk() -> None:
    """The SDK is loaded when a collector is asked for, and no earlier."""
    code = """
import sys, hasten, hasten.monitor
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
