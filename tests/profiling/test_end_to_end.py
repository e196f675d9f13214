"""Faults in a running service, captured: for an alert of a real Prometheus, told by a real Alertmanager; by the service
itself; and fifty times in a row, under load.

Rules and alertmanager.yml are the generated ones, with all windows 120 times shorter.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hasten.load import Generator, Plan
from hasten.monitor.deploy import Waits, alertmanager_config, rule_files
from hasten.monitor.slo import Delivery, Service, Timing, parse_slo
from hasten.profiling import Profile
from tests.monitor.prometheus import Alertmanager, Prometheus, Webhook, eventually
from tests.profiling.faulty_shop import SERVICE, SLO, Shop, running
from tests.profiling.test_triggers import alert, body

pytestmark = pytest.mark.may_block
SCALED = Timing().scaled(1 / 120, interval=0.5)
TIMING = msgspec.structs.replace(SCALED, burns=(SCALED.burns[0], SCALED.burns[2]))
SOON = Waits(first=0.1, next=0.5, again=3600.0)
LATER = Waits(first=6.0, next=6.0, again=3600.0)
CAPTURES = 50


@pytest.fixture(scope="module")
def shop(prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return a service that captures for alerts alone, which Prometheus scrapes and evaluates rules of."""
    folder = tmp_path_factory.mktemp("shop")
    with running(folder, hold=0.0, p99=False, seconds=2.0, cooldown=0.0) as service:
        prometheus.scrape(SERVICE, [service.target])
        prometheus.set_rules(rule_files(parse_slo(SLO.encode(), "slo.toml"), TIMING))
        yield service
    prometheus.set_rules({})
    prometheus.scrape(SERVICE, [], wait=False)


@pytest.fixture
def alerts(shop: Shop, alertmanager: Alertmanager, prometheus: Prometheus) -> Iterator[Webhook]:
    """Return what gets pages and tickets; the service's own receiver gets what is captured for."""
    eventually(lambda: not _pages(prometheus), "a page does not end")

    def generated(url: str) -> str:
        delivery = Delivery(page=f"{url}page", ticket=f"{url}ticket", capture=True)
        services = [Service(name=SERVICE, targets=(shop.target,))]
        return alertmanager_config(delivery, SOON, LATER, services=services, captures=SOON)

    with alertmanager.webhook(generated) as receiver:
        yield receiver


def _pages(prometheus: Prometheus) -> list[str]:
    return [str(one["labels"]) for one in prometheus.alerts() if one["labels"]["severity"] == "page"]


def share(profile: Profile, function: str) -> float:
    """Return the share of a profile's seconds in stacks that a function is on."""
    on = sum(one.seconds for one in profile.stacks if any(frame.function.endswith(function) for frame in one.frames))
    return on / profile.spent if profile.spent else 0.0


# ---- alerts


def test_a_blocked_loop_alerts_and_is_captured(shop: Shop, alerts: Webhook) -> None:
    """The alert comes while the loop is blocked, and the capture on disk names the function that blocks it."""
    with shop.asked("/stock?seconds=8"):
        entry, profile = shop.captured("alert")
    page = alerts.wait_for(lambda alert: alert.name == "LoopBlocked")
    assert page.receiver == "pages"
    assert entry.labels["alertname"] == "LoopBlocked"
    assert entry.labels["service"] == SERVICE
    assert entry.labels["summary"].split(" for ")[0] == page.annotations["summary"].split(" for ")[0]
    assert profile.labels["alertname"] == "LoopBlocked"
    assert share(profile, "check_stock") > 0.5


def test_a_burning_objective_alerts_and_is_captured(shop: Shop, alerts: Webhook) -> None:
    """A latency objective is missed: the capture on disk names the function that computes too long."""
    before = {one.id for one in shop.captures()}
    with shop.asked("/login"):
        page = alerts.wait_for(lambda alert: alert.name == "SLOBurnFast")
        eventually(lambda: bool(_new(shop, before)), "nothing is captured for a burning objective")
    entry = _new(shop, before)[0]
    assert page.labels["slo"] == entry.labels["slo"] == "login-fast"
    assert share(shop.profile(entry), "hash_password") > 0.5


def _new(shop: Shop, before: set[str]) -> list[Any]:
    return [one for one in shop.captures() if one.id not in before and one.labels.get("alertname") == "SLOBurnFast"]


def test_a_storm_of_alerts(tmp_path: Path) -> None:
    """1,000 webhooks of 20 alerts each, none told twice: one capture, and a process that is no larger afterwards."""
    with running(tmp_path, hold=0.0, p99=False, seconds=0.5) as shop:
        _storm(shop, range(200))
        before = shop.memory()
        _storm(shop, range(200, 1000))
        grown = shop.memory() - before
        shop.captured("alert")
        assert [one["trigger"] for one in shop.told()] == ["alert"]
    assert grown < 8_000_000  # the 800 bodies have 7 MB, their parts several times as much


def _storm(shop: Shop, numbers: Iterable[int]) -> None:
    with httpx.Client(base_url=shop.admin, trust_env=False, timeout=30.0) as client:
        for number in numbers:
            alerts = [alert(pod=f"{number}-{each}") for each in range(20)]
            assert client.post("/alerts", content=body(*alerts)).status_code in {200, 202}


# ---- by itself


def test_a_loop_that_is_blocked_is_captured(tmp_path: Path) -> None:
    """Without any alert: the loop is held for longer than it may be, and is captured while it is."""
    with running(tmp_path, hold=0.5, seconds=1.0) as shop:
        assert shop.ask("/stock?seconds=3") == 200
        entry, profile = shop.captured("hold")
        assert entry.labels["state"] == "goes on"
        assert share(profile, "check_stock") > 0.5
        shop.ask("/stock?seconds=1")
        assert len(shop.told()) == 1  # the cooldown


def test_a_quantile_over_its_objective_is_captured(tmp_path: Path) -> None:
    """Without any alert: requests are slower than promised."""
    with running(tmp_path, hold=0.0, seconds=2.0) as shop, shop.asked("/login"):
        entry, profile = shop.captured("p99")
    assert (entry.labels["slo"], entry.labels["of"]) == ("login-fast", "/login")
    assert entry.labels["p95"].endswith(" ms")
    assert share(profile, "hash_password") > 0.5


# ---- under load


@pytest.mark.timeout(180)
def test_captures_under_load_fail_no_request(tmp_path: Path) -> None:
    """Fifty captures in a row by all engines, at 100 requests a second: every request has its answer."""
    with running(tmp_path, hold=0.0, p99=False, keep=10) as shop:
        plan = Plan.for_url(f"{shop.url}/quick", rate=100.0, duration=160.0)
        generator = Generator(plan)

        async def load() -> list[str]:
            sending = asyncio.create_task(generator.run())
            states = await asyncio.to_thread(_capture, shop, CAPTURES)
            generator.stop()
            await sending
            return states

        states = asyncio.run(load())
        result = generator.result()
        assert states == ["done"] * CAPTURES, shop.told()
        assert result.total.offered > 100
        assert result.total.failed == 0, result.total.errors
        assert len(shop.captures()) == 10
        assert shop.ask("/quick") == 200


def _capture(shop: Shop, count: int) -> list[str]:
    """Capture so often, one after the other, and return how each ended."""
    states: list[str] = []
    with httpx.Client(base_url=shop.admin, trust_env=False, timeout=30.0) as client:
        for number in range(count):
            engine = ("ledger", "yappi", "py-spy")[number % 3]
            begun = client.post("/profile", params={"engine": engine, "seconds": "0.2"})
            assert begun.status_code == 202, begun.text
            while (answer := client.get(begun.headers["location"])).status_code == 202:
                time.sleep(0.02)
            states.append("done" if answer.status_code == 200 else answer.text)
    return states
