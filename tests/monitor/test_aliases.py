"""The names of prometheus-fastapi-instrumentator are served with the values that it would serve itself."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.staticfiles import StaticFiles
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import hasten
from hasten._install import monitor_of
from hasten.monitor import CATALOGUE, Exposition, Family, HistogramValue, Series, Snapshot
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._aliases import DURATION, HIGHR, IN_PROGRESS, INSTRUMENTATOR, TOTAL, instrumentator
from hasten.monitor._metric import OTHER

_SIZES = {"http_request_size_bytes", "http_response_size_bytes"}
_REQUESTS = (
    ("GET", "/items/1"),
    ("GET", "/items/2"),
    ("POST", "/items/2"),
    ("DELETE", "/items/2"),  # 405
    ("GET", "/nothing"),
    ("GET", "/teapot"),
    ("GET", "/broken"),
    ("GET", "/api/v1/orders/7"),
    ("GET", "/inner/users/7"),
    ("GET", "/inner/none"),
    ("HEAD", "/head"),
    ("GET", "/old"),
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _service() -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/api/v1")

    @app.get("/items/{number}")
    @app.post("/items/{number}")
    async def item(number: int) -> int:
        return number

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken")

    @app.head("/head")
    async def head() -> PlainTextResponse:
        return PlainTextResponse("head")

    @app.get("/old", status_code=301)
    async def old() -> None:
        return None

    @router.get("/orders/{number}")
    async def order(number: int) -> int:
        return number

    async def user(_: Any) -> PlainTextResponse:
        return PlainTextResponse("user")

    app.include_router(router)
    app.mount("/inner", Starlette(routes=[Route("/users/{name}", user)]))
    return app


def _drive(app: FastAPI, requests: tuple[tuple[str, str], ...] = _REQUESTS) -> None:
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        for method, path in requests:
            client.request(method, path)


def _theirs(app: FastAPI, *requests: tuple[str, str]) -> Samples:
    registry = CollectorRegistry()
    Instrumentator(registry=registry).instrument(app)
    _drive(app, requests or _REQUESTS)
    return _samples(generate_latest(registry).decode())


def _ours(app: FastAPI, *requests: tuple[str, str]) -> Samples:
    hasten.install(app, admin=None)
    _drive(app, requests or _REQUESTS)
    monitor = monitor_of(app)
    assert monitor is not None
    families = instrumentator(monitor.snapshot().families)
    return _samples(Exposition().render(Snapshot("", "", 0.0, 0.0, families), open_metrics=False))


def _samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def _of(samples: Samples, *suffixes: str) -> Samples:
    return {key: value for key, value in samples.items() if key[0].endswith(suffixes)}


def test_names_and_labels_are_theirs() -> None:
    """Every name that the instrumentator has by default is served with its labels, the sizes apart."""
    theirs, ours = _theirs(_service()), _ours(_service())
    names = {name for name, _ in theirs if not name.startswith(tuple(_SIZES))}
    assert {name for name, _ in ours} == names | {IN_PROGRESS.name}
    for name in names:
        labels = {frozenset(dict(labels)) for each, labels in theirs if each == name}
        assert {frozenset(dict(labels)) for each, labels in ours if each == name} == labels


def test_counts_are_theirs() -> None:
    """The same requests give the same counts of the same routes, methods and classes of status."""
    theirs, ours = _theirs(_service()), _ours(_service())
    counted = _of(theirs, TOTAL.name, f"{DURATION.name}_count", f"{HIGHR.name}_count")
    assert len(counted) > 10
    assert _of(ours, TOTAL.name, "_count") == counted


def test_buckets_of_durations_are_theirs() -> None:
    """The histogram by route has their buckets; the one of all requests has those of theirs that are recorded."""
    theirs, ours = _theirs(_service()), _ours(_service())

    def bounds(samples: Samples, name: str) -> set[str]:
        return {dict(labels)["le"] for each, labels in samples if each == f"{name}_bucket"}

    assert bounds(ours, DURATION.name) == bounds(theirs, DURATION.name) == {"0.1", "0.5", "1.0", "+Inf"}
    missing = {"0.075", "0.75", "1.5", "2.0", "3.0", "3.5", "4.0", "4.5", "7.5", "30.0", "60.0"}
    assert bounds(theirs, HIGHR.name) - bounds(ours, HIGHR.name) == missing


def test_every_observation_is_in_the_bucket_of_its_value() -> None:
    """Counts are regrouped without moving one past a bound."""
    metric = catalogue.HTTP_SERVER_DURATION
    counts = tuple(range(1, len(metric.bounds) + 2))
    one = Series(("GET", "/a", "200"), HistogramValue(counts, 5.0))
    two = Series(("GET", "/a", "503"), HistogramValue(counts, 1.0))
    families = [Family(each, (one, two) if each is metric else ()) for each in CATALOGUE]
    total, duration, highr, _ = instrumentator(families)
    (low,) = duration.series
    assert isinstance(low.value, HistogramValue)
    assert low.values == ("GET", "/a")
    upto = [sum(counts[: metric.bounds.index(bound) + 1]) for bound in (0.1, 0.5, 1.0)]
    assert low.value.counts == tuple(
        2 * n for n in (upto[0], upto[1] - upto[0], upto[2] - upto[1], sum(counts) - upto[2])
    )
    assert highr.series == (Series((), HistogramValue(tuple(2 * n for n in counts), 6.0)),)
    assert {series.values[1]: series.value for series in total.series} == {"2xx": sum(counts), "5xx": sum(counts)}


def test_what_is_folded_stays_one_series() -> None:
    """Requests beyond the cap are one series of their own, not a class of status that is none."""
    value = HistogramValue((1,) * 14, 1.0)
    requests = Series((OTHER, OTHER, OTHER), value)
    families = [Family(each, (requests,) if each is catalogue.HTTP_SERVER_DURATION else ()) for each in CATALOGUE]
    assert instrumentator(families)[0].series == (Series((OTHER, OTHER, OTHER), 14),)


def test_alias_names_are_none_of_ours() -> None:
    """An alias never meets a metric of the catalogue."""
    assert not {metric.name for metric in INSTRUMENTATOR} & {metric.name for metric in CATALOGUE}


@pytest.mark.parametrize(
    ("request_", "theirs", "ours"),
    [
        (("GET", "/static/missing.css"), "/static", "none"),
        (("GET", "/slash"), "/slash", "none"),
        (("BREW", "/items/1"), "BREW", OTHER),
    ],
)
def test_known_differences(request_: tuple[str, str], theirs: str, ours: str, tmp_path: Path) -> None:
    """What the how-to page says is labelled otherwise is: files, redirects to a slash, methods that nobody knows."""

    def service() -> FastAPI:
        app = _service()
        app.mount("/static", StaticFiles(directory=tmp_path))
        app.get("/slash/")(lambda: None)
        return app

    def value(samples: Samples) -> str:
        ((labels, _),) = [(dict(key[1]), count) for key, count in samples.items() if key[0] == TOTAL.name]
        return labels["method" if request_[0] == "BREW" else "handler"]

    assert value(_theirs(service(), request_)) == theirs
    assert value(_ours(service(), request_)) == ours
