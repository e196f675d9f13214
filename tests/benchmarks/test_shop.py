"""The subjects of `shop`: an edition's processes, stopped and ended together, and answers that are ready."""

import asyncio
import http.client
import os
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks._processes import Cores
from benchmarks.shop._benchmark import ShopBenchmark
from benchmarks.shop._edition import Edition
from benchmarks.shop._ready import app
from examples.shop.data import ensure_with_notice
from hasten.load import Plan

PLAN = Path(__file__).parents[2] / "benchmarks" / "shop" / "popular.toml"


def state(pid: int) -> str:
    """Return what a process does, as in proc_pid_stat(5); empty for one that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def stands_still(pid: int) -> bool:
    """Tell whether a process that was sent SIGSTOP stops, which it does when it runs next."""
    until = time.monotonic() + 10.0
    while state(pid) != "T" and time.monotonic() < until:
        os.sched_yield()
    return state(pid) == "T"


def answered(url: str, path: str) -> int:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=20.0)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@pytest.mark.timeout(120)
@pytest.mark.may_block
def test_an_edition(tmp_path: Path) -> None:
    """It answers, its CPU is that of all its own processes, third parties are aside, and nothing of it is left."""
    database, cores = tmp_path / "shop.sqlite", Cores.available()
    ensure_with_notice(database)
    with Edition("slow", database, cores.server, cores.client) as edition:
        own, others = list(edition._own), list(edition._others)
        assert (len(own), len(others)) == (5, 2)
        assert {core for pid in own for core in os.sched_getaffinity(pid)} == {cores.server}
        assert {core for pid in others for core in os.sched_getaffinity(pid)} == {cores.client}
        before = edition.cpu_seconds()
        assert answered(edition.address, "/products/1") == 200
        assert edition.cpu_seconds() > before
        edition.suspend()
        assert all(map(stands_still, own + others))
    assert {state(pid) for pid in own + others} <= {"", "Z"}


@pytest.mark.parametrize("path", ["/products/1", "/search?q=oak", "/reports/daily", "/orders"])
def test_ready_answers(path: str) -> None:
    """Each path of the plans has an answer, as long as it says."""
    sent = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    asyncio.run(app({"type": "http", "method": "POST", "path": path.partition("?")[0]}, receive, send))
    start, body = sent
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])  # type: ignore[call-overload, arg-type]


def test_plan() -> None:
    """The plan is one, and its kinds are those of the shop's own."""
    ours, shops = (Plan.from_file(path) for path in (PLAN, PLAN.parents[2] / "examples" / "shop" / "plan.toml"))
    assert [(kind.name, kind.weight) for kind in ours.requests] == [(kind.name, kind.weight) for kind in shops.requests]


def test_subjects() -> None:
    """All editions are compared, with what none can beat."""
    assert [subject.name for subject in ShopBenchmark.subjects] == ["ready", "fast", "peers", "slow"]
