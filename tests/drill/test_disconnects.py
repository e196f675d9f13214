"""Clients that leave: what the drill measures, and the app that it measures it on."""

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hasten.drill import Impossible, Stage
from hasten.drill.drills._disconnects import DISCONNECTS, p99
from hasten.drill.subjects.recorded import NUMBER, REPORT, Recorded, Report
from tests.drill.measuring import measures_of

_APPS = """
import asyncio

async def answer(send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})

async def slow(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.sleep(0.2)
        await answer(send)

async def quick(scope, receive, send):
    if scope["type"] == "http":
        await answer(send)
"""


@pytest.fixture
def apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module of apps that services can import."""
    (tmp_path / "left_apps.py").write_text(_APPS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "left_apps"


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """Handlers, what they call, and what is left: each with uvicorn's figure beside it; the services have ended."""
    stage = Stage(folder=tmp_path, quick=True)
    measures = measures_of(DISCONNECTS, stage, services=4)
    assert [measure.promise.partition(":")[0] for measure in measures] == [
        "a handler that sleeps",
        "a handler that calls",
        "what it has called in another service",
        "requests that go on 0.5 s after 60 clients have left",
        "200 calls at once then, on all of the pool",
    ]
    assert all(math.isfinite(measure.measured) and measure.beside_measured is not None for measure in measures)
    assert [measure.measured for measure in measures[3:]] == [0.0, 0.0]


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_ones_own_app(tmp_path: Path, apps: str) -> None:
    """An app of one's own is asked at its path; what it does for nobody is counted until it ends."""
    stage = Stage(folder=tmp_path, quick=True, target=f"{apps}:slow", path="/orders")
    measures = measures_of(DISCONNECTS, stage, services=2)
    assert [measure.promise.partition(":")[0] for measure in measures] == [
        "/orders",
        "requests that go on 0.5 s after 60 clients have left",
    ]
    assert all(math.isfinite(measure.measured) for measure in measures)


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_an_app_that_answers_at_once(tmp_path: Path, apps: str) -> None:
    """Nobody can leave before an answer that comes at once, and the drill says so."""
    stage = Stage(folder=tmp_path, quick=True, target=f"{apps}:quick")
    with pytest.raises(Impossible, match="before anybody could leave; name a path that takes 50 ms or more"):
        measures_of(DISCONNECTS, stage, services=1)


def test_p99() -> None:
    """Of the requests that went on when their clients left, those that never end are the slowest."""
    left = dict.fromkeys(range(1, 101), 10.0)
    ended = {number: 10.0 + number / 1000 for number in left}
    assert p99(left, ended) == pytest.approx(0.099)
    assert p99(left, {**ended, 7: math.inf, 8: math.inf}) == math.inf


def test_p99_of_what_had_not_begun() -> None:
    """What had ended, or never began, counts not; where that is half of it, nothing was measured."""
    left = dict.fromkeys((1, 2, 3, 4, 5), 10.0)
    assert p99(left, {1: 9.0, 3: 10.5, 4: 10.25, 5: 10.125}) == 0.5
    for ended in ({}, {1: 10.5}, {1: 9.0, 2: 9.0, 3: 9.0, 4: 10.5, 5: 10.5}):
        with pytest.raises(Impossible, match=r"of 5 clients . left while what they had asked for went on"):
            p99(left, ended)


def test_what_is_recorded() -> None:
    """Requests with a number are under way until the app has returned, failed, or was cancelled."""

    async def record() -> list[Report]:
        begun, going = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.set()
            await going.wait()

        recorded = Recorded(app)
        tasks = [asyncio.create_task(recorded(_scope("/", number), _nothing, _nothing)) for number in (1, 2)]
        await begun.wait()
        first = await _report(recorded)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        second = await _report(recorded)
        going.set()
        await asyncio.wait(tasks)
        return [first, second, await _report(recorded)]

    first, second, third = asyncio.run(record())
    assert (sorted(first.under_way), first.ended) == ([1, 2], {})
    assert (second.under_way, [*second.ended]) == ([2], [1])
    assert (third.under_way, sorted(third.ended)) == ([], [1, 2])
    assert third.ended[1] <= third.ended[2]


def _scope(path: str, number: int | None = None) -> dict[str, Any]:
    headers = [] if number is None else [(NUMBER.encode(), b"%d" % number)]
    return {"type": "http", "path": path, "headers": headers}


async def _nothing(message: Any = None) -> None:
    """Take what is sent, or have nothing to give."""


async def _report(recorded: Recorded) -> Report:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await recorded(_scope(REPORT), _nothing, send)
    return msgspec.json.decode(sent[-1]["body"], type=Report)
