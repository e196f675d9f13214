"""Burn alerts, by `promtool test rules`: when they fire, and when they must not."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hasten.monitor.slo import Objective, Timing, objective_groups
from tests.monitor.slo.promtool import EVERY, Case, Expected, Fired, Phase, events, growing, run, selected, steady

HOUR, DAY = 60, 1440
ROUTE = {"http_request_method": "GET", "http_route": "/orders", "http_response_status_code": "200"}
FAST = Objective(
    service="shop", name="fast", kind="latency", target=0.99, threshold=0.05, route="/orders", method="GET"
)
AVAILABLE = Objective(service="shop", name="up", kind="availability", target=0.999)
TIMING = Timing().scaled(1.0, interval=EVERY)
RARELY = Timing().scaled(1.0, interval=5 * EVERY)
"""For days: one evaluation in 5 minutes, since what is older is stale."""
OF = '{service="shop",slo="fast"}'
OF_AVAILABLE = '{service="shop",slo="up"}'


@pytest.fixture
def proven(promtool: str, tmp_path: Path) -> Callable[..., None]:
    """Return what has promtool evaluate the rules of an objective over series, and look at what comes of it."""

    def prove(
        objective: Objective, series: dict[str, str], *expected: Expected, timing: Timing = TIMING, budget: bool = True
    ) -> None:
        groups = objective_groups([objective], timing, "docs")
        used = groups if budget else groups[:1]  # the window of the objective takes most of the time
        run(promtool, tmp_path, Case(used, series, expected, round(timing.interval / 60)))

    return prove


def slow_and_fast(*phases: Phase, objective: Objective = FAST) -> dict[str, str]:
    """Return requests of one instance, which is up all the time."""
    up = {'up{job="shop",instance="a:9464"}': steady(sum(phase.minutes for phase in phases), 1)}
    return up | events(objective, phases, ROUTE, repr(objective.threshold))


def firing(minute: int, severity: str, *, fires: bool) -> Expected:
    """Return that an alert of a severity fires at a minute, or that none does."""
    query = f'count by (severity) (ALERTS{{alertname=~"SLOBurn.*",severity="{severity}",alertstate="firing"}})'
    return Expected(minute, query, {f'{{severity="{severity}"}}': 1} if fires else {})


def ratio(minute: int, name: str, value: float | None, labels: str = OF) -> Expected:
    """Return what a recorded series is, rounded, or that it has no value."""
    return Expected(minute, f"round({name}, 1e-6)", {} if value is None else {labels: value})


# ---- each pair of windows


@pytest.mark.parametrize("number", range(4))
def test_each_pair_fires_when_its_share_of_the_budget_is_spent(number: int, proven: Callable[..., None]) -> None:
    """After a good time as long as the long window, at 1.5 times its rate, a pair fires at 2/3 of the long window.

    It ends about a short window after the fault has.
    """
    burn = TIMING.burns[number]
    long, short = round(burn.long.seconds / 60), round(burn.short.seconds / 60)
    timing = msgspec.structs.replace(RARELY if long > DAY // 2 else TIMING, burns=(burn,))
    objective = msgspec.structs.replace(FAST, severities=(burn.severity,))
    rate = burn.rate(TIMING.objective_window("30d"))
    bad = round(1000 * 0.01 * rate * 1.5)
    late = 10 + long // 20
    series = slow_and_fast(Phase(long, 1000), Phase(long, 1000 - bad, bad), Phase(2 * short + 30, 1000))
    proven(
        objective,
        series,
        firing(long + long * 2 // 3 - late, burn.severity, fires=False),
        firing(long + long * 2 // 3 + late, burn.severity, fires=True),
        firing(2 * long + 1, burn.severity, fires=True),
        firing(2 * long + short + 20, burn.severity, fires=False),
        timing=timing,
        budget=False,
    )


def test_a_burn_below_each_rate_fires_nothing(proven: Callable[..., None]) -> None:
    """Half of the allowed share of slow requests, for three days, is kept silently, with half of the budget left."""
    proven(
        FAST,
        slow_and_fast(Phase(3 * DAY, 995, 5)),
        *[firing(day * DAY - 5, severity, fires=False) for day in (1, 2, 3) for severity in ("page", "ticket")],
        ratio(3 * DAY - 5, "slo:error:ratio_rate3d", 0.005),
        ratio(3 * DAY - 5, "slo:error_budget_remaining:ratio", 0.5),
        timing=RARELY,
    )


def test_a_total_failure_pages_at_once_and_ends_when_it_ends(proven: Callable[..., None]) -> None:
    """When every request is slow, the page comes within 13 minutes, and is gone 10 minutes after the recovery."""
    series = slow_and_fast(Phase(6 * HOUR, 100), Phase(14, 0, 100), Phase(HOUR, 100))
    proven(
        FAST,
        series,
        firing(6 * HOUR - 1, "page", fires=False),
        firing(6 * HOUR + 13, "page", fires=True),
        firing(6 * HOUR + 24, "page", fires=False),
    )


def test_what_was_never_good_pages(proven: Callable[..., None]) -> None:
    """A release whose every request fails from the first on pages, though no good request has ever been seen."""
    failed = events(FAST, [Phase(30, 0, 100)], {**ROUTE, "http_response_status_code": "500"}, "0.05")
    proven(FAST, {'up{job="shop"}': steady(30, 1), **failed}, firing(10, "page", fires=True))


# ---- quiet times


def test_a_quiet_hour_makes_no_alert_blind(proven: Callable[..., None]) -> None:
    """An hour without a request gives no NaN: the windows leave it out, and a fault behind it pages as ever."""
    series = slow_and_fast(Phase(2 * HOUR, 100), Phase(HOUR, 0), Phase(HOUR, 0, 100))
    proven(
        FAST,
        series,
        ratio(3 * HOUR - 5, "slo:events:rate5m", 0),
        ratio(3 * HOUR - 5, "slo:events_bad:rate5m", 0),
        ratio(3 * HOUR - 5, "slo:error:ratio_rate5m", None),
        ratio(3 * HOUR - 5, "slo:error:ratio_rate6h", 0),
        ratio(3 * HOUR - 5, "slo:error_budget_remaining:ratio", 1),
        firing(3 * HOUR - 5, "page", fires=False),
        firing(3 * HOUR + 15, "page", fires=True),
    )


def test_a_quiet_day_keeps_what_was_spent_before(proven: Callable[..., None]) -> None:
    """A day without a request fires nothing and changes no budget."""
    series = slow_and_fast(Phase(10 * HOUR, 998, 2), Phase(DAY, 0), Phase(HOUR, 1000))
    proven(
        FAST,
        series,
        ratio(9 * HOUR, "slo:error_budget_remaining:ratio", 0.8),
        ratio(10 * HOUR + DAY - 5, "slo:error_budget_remaining:ratio", 0.8),
        ratio(10 * HOUR + DAY - 5, "slo:error:ratio_rate2h", None),
        *[firing(minute, one, fires=False) for minute in (15 * HOUR, 33 * HOUR) for one in ("page", "ticket")],
        timing=RARELY,
    )


def test_a_busy_hour_weighs_more_than_a_quiet_one(proven: Callable[..., None]) -> None:
    """Half of the few events of one hour being bad is half a percent of two hours, of which the other one was busy."""
    series = slow_and_fast(Phase(HOUR, 1000), Phase(HOUR, 5, 5))
    proven(FAST, series, Expected(2 * HOUR - 1, "slo:error:ratio_rate6h < bool 0.006", {OF: 1}))


@pytest.mark.parametrize(("bad", "pages"), [(1, False), (4, False), (6, True)])
def test_a_few_bad_events_of_a_quiet_night_page_nobody(
    bad: int,
    pages: bool,  # noqa: FBT001 - a parameter of the test
    proven: Callable[..., None],
) -> None:
    """Though every request of the night is bad, a page needs five of them within its long window."""
    series = slow_and_fast(Phase(2 * HOUR, 1), Phase(3 * HOUR, 0), Phase(bad, 0, 1), Phase(10, 0))
    proven(FAST, series, firing(5 * HOUR + bad + 3, "page", fires=pages))


# ---- failures, series that are not there, restarts


def test_no_failure_yet_is_no_failure(proven: Callable[..., None]) -> None:
    """A service that has never answered 5xx has an error ratio of 0 and its whole budget, though no series says 5xx."""
    proven(
        AVAILABLE,
        {'up{job="shop"}': steady(HOUR, 1), **events(AVAILABLE, [Phase(HOUR, 100)], ROUTE)},
        ratio(50, "slo:error:ratio_rate5m", 0, OF_AVAILABLE),
        ratio(50, "slo:error_budget_remaining:ratio", 1, OF_AVAILABLE),
        firing(50, "page", fires=False),
    )


def test_failures_page(proven: Callable[..., None]) -> None:
    """2 % of 5xx, where 0.1 % are allowed, page; 4xx are the caller's, and do not."""
    found = events(AVAILABLE, [Phase(6 * HOUR, 90), Phase(2 * HOUR, 78)], ROUTE)
    missing = events(AVAILABLE, [Phase(8 * HOUR, 10)], {**ROUTE, "http_response_status_code": "404"})
    failed = events(AVAILABLE, [Phase(6 * HOUR, 0), Phase(2 * HOUR, 2)], {**ROUTE, "http_response_status_code": "503"})
    proven(
        AVAILABLE,
        found | missing | failed,
        firing(6 * HOUR - 1, "page", fires=False),
        firing(8 * HOUR - 1, "page", fires=True),
    )


def test_a_fast_failure_is_not_fast(proven: Callable[..., None]) -> None:
    """A 5xx within the threshold is a bad event of a latency objective."""
    good = slow_and_fast(Phase(HOUR, 80))
    failed = events(FAST, [Phase(HOUR, 20)], {**ROUTE, "http_response_status_code": "500"}, "0.05")
    proven(FAST, good | failed, ratio(50, "slo:error:ratio_rate5m", 0.2), firing(50, "page", fires=True))


def test_other_routes_do_not_count(proven: Callable[..., None]) -> None:
    """An objective of a route leaves other routes and other methods of it alone."""
    other = events(FAST, [Phase(HOUR, 0, 500)], {**ROUTE, "http_route": "/reports"}, "0.05")
    posted = events(FAST, [Phase(HOUR, 0, 500)], {**ROUTE, "http_request_method": "POST"}, "0.05")
    proven(FAST, slow_and_fast(Phase(HOUR, 100)) | other | posted, ratio(50, "slo:error:ratio_rate5m", 0))


def test_a_restart_is_no_burst(proven: Callable[..., None]) -> None:
    """Counters that begin anew, of one of two instances, give neither negative nor additional events."""
    one, half = events(FAST, [Phase(2 * HOUR, 99, 1)], ROUTE, "0.05"), HOUR
    restarted = {
        series.replace("a:9464", "b:9464"): f"{growing([(half, step)])} {growing([(half, step)])}"
        for series, step in zip(one, (100, 99, 100), strict=True)
    }
    proven(
        FAST,
        one | restarted,
        ratio(half - 5, "slo:error:ratio_rate5m", 0.01),
        Expected(half + 3, "slo:events:rate5m < bool 3.4", {OF: 1}),
        Expected(half + 3, "slo:error:ratio_rate5m < bool 0.011", {OF: 1}),
        firing(2 * HOUR - 1, "page", fires=False),
    )


@pytest.mark.parametrize("le", ["1", "1.0"])
def test_a_bucket_is_found_however_it_is_written(le: str, proven: Callable[..., None]) -> None:
    """A threshold of a whole second matches `le="1"` and `le="1.0"`."""
    slow = msgspec.structs.replace(FAST, threshold=1.0)
    proven(slow, events(slow, [Phase(HOUR, 90, 10)], ROUTE, le), ratio(50, "slo:error:ratio_rate5m", 0.1))


# ---- absent data


def test_an_objective_nobody_asks_for_says_so_after_a_day(proven: Callable[..., None]) -> None:
    """A service that runs without any series of the objective has all of its budget; after a day a ticket asks why."""
    query = 'count(ALERTS{alertname="SLONoData",severity="ticket",alertstate="firing"})'
    proven(
        FAST,
        {'up{job="shop"}': steady(25 * HOUR, 1)},
        ratio(HOUR, "slo:events:rate5m", 0),
        ratio(HOUR, "slo:error_budget_remaining:ratio", 1),
        Expected(23 * HOUR, query, {}),
        Expected(24 * HOUR + 5, query, {"{}": 1}),
        firing(24 * HOUR, "page", fires=False),
        timing=RARELY,
    )


def test_a_service_that_is_gone_has_no_objective(proven: Callable[..., None]) -> None:
    """While a service cannot be scraped, nothing is recorded for it, and burn alerts end: ServiceAbsent fires."""
    series = {name: f"{values} stale" for name, values in slow_and_fast(Phase(HOUR, 0, 100)).items()}
    series['up{job="shop",instance="a:9464"}'] = f"{steady(HOUR, 1)} {steady(HOUR, 0)}"
    proven(
        FAST,
        series,
        firing(HOUR - 1, "page", fires=True),
        ratio(HOUR + 20, "slo:events:rate5m", None),
        firing(HOUR + 45, "page", fires=False),
        Expected(HOUR + 50, 'ALERTS{alertname="SLONoData"}', {}),
    )


# ---- calls and messages


def test_calls_fail_by_the_codes_of_a_servers_fault(proven: Callable[..., None]) -> None:
    """INTERNAL counts against a method's availability, NOT_FOUND does not, and other methods do not."""
    objective = Objective(service="shop", name="calls", kind="availability", target=0.99, rpc="/shop.Catalog/Get")
    series: dict[str, str] = {}
    for code, count in (("OK", 80), ("NOT_FOUND", 15), ("INTERNAL", 5)):
        series |= events(
            objective, [Phase(HOUR, count)], {"rpc_method": objective.rpc, "rpc_response_status_code": code}
        )
    other = {"rpc_method": "/shop.Catalog/Put", "rpc_response_status_code": "INTERNAL"}
    series |= events(objective, [Phase(HOUR, 500)], other)
    proven(objective, series, ratio(50, "slo:error:ratio_rate5m", 0.05, '{service="shop",slo="calls"}'))


def test_calls_are_slow_by_their_bucket(proven: Callable[..., None]) -> None:
    """A method's latency objective counts calls above the threshold, and those that failed in time."""
    objective = Objective(
        service="shop", name="calls", kind="latency", target=0.99, threshold=0.01, rpc="/shop.Catalog/Get"
    )
    answered = {"rpc_method": objective.rpc, "rpc_response_status_code": "OK"}
    series = events(objective, [Phase(HOUR, 90, 5)], answered, "0.01")
    series |= events(objective, [Phase(HOUR, 5)], {**answered, "rpc_response_status_code": "UNAVAILABLE"}, "0.01")
    proven(objective, series, ratio(50, "slo:error:ratio_rate5m", 0.1, '{service="shop",slo="calls"}'))


@pytest.mark.parametrize(("group", "share"), [("billing", 0.2), ("", 0.1)])
def test_messages_fail_by_their_handlers(group: str, share: float, proven: Callable[..., None]) -> None:
    """A topic's objective counts handlings that failed: of its group, or of all groups if it names none."""
    objective = Objective(
        service="shop", name="paid", kind="availability", target=0.99, topic="orders.paid", group=group
    )
    series: dict[str, str] = {}
    for name, error, count in (("billing", "", 80), ("billing", "failed", 20), ("mail", "", 100)):
        labels = {"messaging_destination_name": "orders.paid", "messaging_consumer_group_name": name}
        series |= events(objective, [Phase(HOUR, count)], {**labels, "error_type": error})
    proven(objective, series, ratio(50, "slo:error:ratio_rate5m", share, '{service="shop",slo="paid"}'))


# ---- other windows, texts


def test_a_shorter_window_burns_faster(proven: Callable[..., None]) -> None:
    """5 % of slow requests use up 2 % of a week's budget within the hour and page, and do not for a month's."""
    series = slow_and_fast(Phase(2 * HOUR, 100), Phase(HOUR, 95, 5))
    weekly = msgspec.structs.replace(FAST, window="7d")
    proven(weekly, series, firing(2 * HOUR + 30, "page", fires=False), firing(3 * HOUR - 5, "page", fires=True))
    proven(FAST, series, firing(3 * HOUR - 5, "page", fires=False))


def test_only_wanted_severities_alert(proven: Callable[..., None]) -> None:
    """An objective that wants tickets alone pages nobody."""
    tickets = msgspec.structs.replace(FAST, severities=("ticket",))
    series = slow_and_fast(Phase(30, 0, 100))
    proven(tickets, series, firing(20, "page", fires=False), firing(20, "ticket", fires=True))


HOSTILE = '/a"} or vector(1) #\\{{ .Value }}/{x:path}'


@pytest.mark.parametrize("route", ["/orders", HOSTILE])
def test_a_page_says_what_was_promised_and_what_is_left(route: str, promtool: str, tmp_path: Path) -> None:
    """The texts have the promise, the burn rate, the budget and the share in them, and a route as it is written."""
    objective = msgspec.structs.replace(FAST, route=route)
    series = {
        'up{job="shop"}': steady(30, 1),
        **events(objective, [Phase(30, 0, 100)], {**ROUTE, "http_route": route}, "0.05"),
    }
    fired = Fired(
        20,
        "SLOBurnFast",
        {"severity": "page", "service": "shop", "slo": "fast"},
        {
            "summary": "shop: fast uses up its error budget 100.0 times as fast as it may",
            "description": f"Promised: 99 % of GET {route} within 50.0 ms, over 30d. Budget left: -9900%; bad in the "
            "last 5m: 100%.",
            "runbook_url": "docs/alerts#sloburnfast",
        },
    )
    groups = objective_groups([objective], TIMING, "docs/alerts")
    run(promtool, tmp_path, Case(groups, series, [], fired=[fired]))


def test_hostile_names_stay_names(proven: Callable[..., None]) -> None:
    """Quotes, backslashes and templates in a route neither break a rule nor end its string."""
    route = HOSTILE
    objective = msgspec.structs.replace(FAST, route=route)
    name = selected("up", {"job": "shop"})
    proven(objective, {name: steady(10, 1)}, ratio(9, "slo:events:rate5m", 0), ratio(9, "slo:events_bad:rate5m", 0))
