"""Alerts for causes: each fires for what it is about, in time, and none for a service that is well."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hasten.monitor import CATALOGUE
from hasten.monitor.slo import Timing, cause_groups
from tests.monitor.slo.promtool import EVERY, Case, Expected, growing, run, selected, steady

TIMING = Timing().scaled(1.0, interval=EVERY)
OF = {"job": "shop", "instance": "a:9464", "worker": "0"}
GROUP = {"messaging_destination_name": "orders.paid", "messaging_consumer_group_name": "billing"}
REGION = {"cache": "products", "region": "page"}
LONG = 60  # minutes
HOURS = 420


class Ill(NamedTuple):
    """What a service with something wrong looks like.

    Attributes:
      alert: That must fire.
      series: That differ from those of a service that is well; an empty text takes one away.
      after: Minutes of it, at which the alert fires.
      before: Minutes at which it does not fire yet; None if it waits for nothing.
      gone: Whether the series of a service that is well are not there at all.
    """

    alert: str
    series: dict[str, str]
    after: int
    before: int | None = None
    gone: bool = False


def of(name: str, **labels: str) -> str:
    """Return a series of one process of the service."""
    return selected(name, {**OF, **labels})


STUCK = of("hasten_check_ok", check="consumer orders.paid billing", required="true")


def histogram(name: str, minutes: int, counts: dict[str, float], seconds: float, **labels: str) -> dict[str, str]:
    """Return a histogram that gets, in each minute, so many values up to each bound, and so many seconds."""
    made = {of(f"{name}_bucket", le=le, **labels): growing([(minutes, count)]) for le, count in counts.items()}
    made[of(f"{name}_count", **labels)] = growing([(minutes, counts["+Inf"])])
    made[of(f"{name}_sum", **labels)] = growing([(minutes, seconds)])
    return made


UP = selected("up", {"job": "shop", "instance": "a:9464"})
LOOKUPS = {result: of("hasten_cache_requests_total", result=result, **REGION) for result in ("hit", "stale", "miss")}
WELL = {
    UP: steady(HOURS, 1),
    of("hasten_check_ok", check="app", required="true"): steady(HOURS, 1),
    of("hasten_check_ok", check="consumer orders.paid billing", required="true"): steady(HOURS, 1),
    of("process_start_time_seconds"): steady(HOURS, 1700000000),
    of("process_open_fds"): steady(HOURS, 50),
    of("process_max_fds"): steady(HOURS, 1024),
    of("hasten_loop_blocked_seconds"): steady(HOURS, 0),
    of("hasten_loop_blocking_seconds_total", site="orders.py:41 place"): growing([(HOURS, 0.06)]),
    **histogram("hasten_loop_lag_seconds", HOURS, {"0.001": 599, "0.05": 600, "+Inf": 600}, 1),
    **histogram("hasten_gc_pause_seconds", HOURS, {"0.1": 60, "+Inf": 60}, 0.3, generation="2"),
    of("hasten_threadpool_threads", pool="anyio", state="busy"): steady(HOURS, 40),
    of("hasten_threadpool_threads", pool="anyio", state="limit"): steady(HOURS, 40),
    of("hasten_threadpool_queued", pool="anyio"): steady(HOURS, 0),
    of("hasten_pool_connections", pool="db", state="used"): steady(HOURS, 4),
    of("hasten_pool_connections", pool="db", state="idle"): steady(HOURS, 6),
    of("hasten_pool_connections", pool="db", state="limit"): steady(HOURS, 10),
    of("hasten_breaker_state", breaker="catalog"): steady(HOURS, 0),
    of("hasten_consumer_lag_messages", **GROUP): growing([(HOURS, 0.2)], 300),
    of("hasten_dead_letters_total", cause="failed", **GROUP): steady(HOURS, 7),
    of("hasten_outbox_oldest_seconds", table="outbox"): steady(HOURS, 2),
    of("hasten_outbox_refused_messages", table="outbox"): steady(HOURS, 0),
    of("hasten_cache_second_failures_total", cache="products"): growing([(HOURS, 1)]),
    of("hasten_cache_trusted", cache="products"): steady(HOURS, 1),
    of("hasten_cache_pending_invalidations", cache="products"): steady(HOURS, 0),
    LOOKUPS["hit"]: growing([(HOURS, 900)]),
    LOOKUPS["stale"]: growing([(HOURS, 50)]),
    LOOKUPS["miss"]: growing([(HOURS, 50)]),
}

_LATE = {"0.001": 0.0, "0.05": 580, "0.1": 600, "+Inf": 600}
ILL = (
    Ill("ServiceAbsent", {}, after=4, before=1, gone=True),
    Ill("ServiceAbsent", {UP: steady(LONG, 0)}, after=4, before=1, gone=True),
    Ill("InstanceDown", {UP: steady(LONG, 0)}, after=8, before=3),
    Ill("CheckFails", {of("hasten_check_ok", check="broker", required="false"): steady(LONG, 0)}, after=8, before=3),
    Ill("NotReady", {of("hasten_check_ok", check="database", required="true"): steady(LONG, 0)}, after=8, before=3),
    Ill("RestartLoop", {of("process_start_time_seconds"): "1 1 1 2 2 2 3 3 3 4 4 4 5 5 5 6 6 6"}, after=15, before=4),
    Ill("FileDescriptorsNearlyUsed", {of("process_open_fds"): steady(LONG, 1000)}, after=8, before=3),
    Ill("MetricsFolded", {of("hasten_metrics_folded_total", metric="x"): steady(LONG, 3)}, after=2),
    Ill("LoopBlocked", {of("hasten_loop_blocked_seconds"): "0 0 0 7x60"}, after=4, before=2),
    Ill(
        "LoopBlocking",
        {of("hasten_loop_blocking_seconds_total", site="orders.py:41 place"): growing([(LONG, 6)])},
        after=12,
        before=4,
    ),
    Ill("LoopLag", histogram("hasten_loop_lag_seconds", LONG, _LATE, 9), 16, before=8),
    Ill("GCTime", histogram("hasten_gc_pause_seconds", LONG, {"0.1": 99, "+Inf": 99}, 6, generation="2"), 16, before=8),
    Ill("GCPauses", histogram("hasten_gc_pause_seconds", LONG, {"0.1": 99, "+Inf": 100}, 1, generation="2"), 15),
    Ill("ThreadPoolExhausted", {of("hasten_threadpool_queued", pool="anyio"): steady(LONG, 3)}, after=4, before=1),
    Ill("PoolExhausted", {of("hasten_pool_connections", pool="db", state="used"): steady(LONG, 10)}, 4, before=1),
    Ill("BreakerOpen", {of("hasten_breaker_state", breaker="catalog"): "2 2 1 2 2 1 2 2 1 2"}, after=5, before=0),
    Ill(
        "ConsumerStuck",
        {of("hasten_check_ok", check="consumer orders.paid billing", required="true"): steady(LONG, 0)},
        4,
        before=1,
    ),
    Ill("ConsumerLagGrowing", {of("hasten_consumer_lag_messages", **GROUP): growing([(LONG, 60)])}, 40, before=15),
    Ill("DeadLettersGrowing", {of("hasten_dead_letters_total", cause="failed", **GROUP): growing([(LONG, 1)])}, 20),
    Ill("DeadLettersGrowing", {of("hasten_dead_letters_total", cause="expired", **GROUP): "_x30 1x30"}, 32, before=29),
    Ill("OutboxBehind", {of("hasten_outbox_oldest_seconds", table="outbox"): growing([(LONG, 60)])}, 9, before=5),
    Ill("OutboxRefused", {of("hasten_outbox_refused_messages", table="outbox"): steady(LONG, 1)}, after=3),
    Ill(
        "CacheSecondTierFailing", {of("hasten_cache_second_failures_total", cache="products"): "0+30x60"}, 12, before=4
    ),
    Ill("CacheNotTrusted", {of("hasten_cache_trusted", cache="products"): steady(LONG, 0)}, after=4, before=1),
    Ill("CacheInvalidationsPending", {of("hasten_cache_pending_invalidations", cache="products"): "1x60"}, 8, before=3),
    Ill(
        "CacheHitRatioCollapsed",
        {
            LOOKUPS["hit"]: growing([(380, 900), (40, 100)]),
            LOOKUPS["stale"]: growing([(HOURS, 0)]),
            LOOKUPS["miss"]: growing([(380, 100), (40, 900)]),
        },
        after=412,
        before=380,
    ),
)


def alerts() -> list[dict[str, Any]]:
    """Return the rules."""
    return [rule for group in cause_groups(["shop"], TIMING, "docs") for rule in group["rules"]]


def firing(minute: int, name: str, *, fires: bool) -> Expected:
    """Return that an alert fires at a minute, for the service, or does not."""
    query = f'count by (alertname, service) (ALERTS{{alertname="{name}",alertstate="firing"}})'
    return Expected(minute, query, {f'{{alertname="{name}",service="shop"}}': 1} if fires else {})


@pytest.mark.parametrize("ill", ILL, ids=lambda ill: ill.alert)
def test_an_alert_fires_for_what_it_is_about(ill: Ill, promtool: str, tmp_path: Path) -> None:
    """Each alert fires once its cause has held for long enough, and not before."""
    series = {} if ill.gone else dict(WELL)
    series |= ill.series
    expected = [firing(ill.after, ill.alert, fires=True)]
    if ill.before is not None:
        expected.append(firing(ill.before, ill.alert, fires=False))
    run(promtool, tmp_path, Case(cause_groups(["shop"], TIMING, "docs"), series, expected))


def test_a_service_that_is_well_has_no_alert(promtool: str, tmp_path: Path) -> None:
    """Seven hours of a busy service, whose pools are used and whose lag hardly grows, fire nothing."""
    expected = [Expected(minute, 'ALERTS{alertstate="firing"}', {}) for minute in range(1, HOURS, 30)]
    run(promtool, tmp_path, Case(cause_groups(["shop"], TIMING, "docs"), WELL, expected))


def test_each_alert_is_tried() -> None:
    """Every alert for a cause is among those that the tests make fire."""
    assert {rule["alert"] for rule in alerts()} == {ill.alert for ill in ILL}


def test_the_series_are_those_of_the_catalogue() -> None:
    """What these tests call a metric is one: an alert about a name that nobody exposes would never fire."""
    known = {"up"}
    for metric in CATALOGUE:
        parts = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        known |= {f"{metric.name}{part}" for part in parts}
    used = {series.partition("{")[0] for ill in ILL for series in ill.series} | {one.partition("{")[0] for one in WELL}
    assert used <= known


def test_other_jobs_are_left_alone(promtool: str, tmp_path: Path) -> None:
    """What Prometheus scrapes beside the services, with the names that every client has, fires nothing."""
    other = {"job": "node", "instance": "n:9100"}
    series = {selected("process_open_fds", other): "99x60", selected("process_max_fds", other): "100x60"}
    series |= {selected("up", other): "0x60", UP: "1x60"}
    expected = [Expected(30, 'ALERTS{alertstate="firing"}', {})]
    run(promtool, tmp_path, Case(cause_groups(["shop"], TIMING, "docs"), series, expected))


@pytest.mark.parametrize("services", [[], ["a"], ["a.b", "c-d"]])
def test_rules_are_valid_for_any_services(services: list[str], promtool: str, tmp_path: Path) -> None:
    """Without services there is no rule, and names with dots are not patterns."""
    groups = cause_groups(services, Timing(), "docs")
    assert bool(groups) == bool(services)
    run(promtool, tmp_path, Case(groups, {selected("up", {"job": "aXb", "instance": "x"}): "0x20"}, _none_of("aXb")))


def _none_of(job: str) -> list[Expected]:
    return [Expected(15, f'ALERTS{{job="{job}"}}', {})]


def test_a_page_is_rare() -> None:
    """Only what no objective may notice pages by itself."""
    pages = {rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"}
    assert pages == {"ServiceAbsent", "LoopBlocked", "ConsumerStuck"}


def test_each_summary_says_who() -> None:
    """The first word of each summary is the service, so that a pager's one line says whose fault it is."""
    for rule in alerts():
        assert rule["annotations"]["summary"].startswith(("{{ $labels.job }}", "shop:"))
