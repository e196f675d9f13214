"""Samples of the live page: what two snapshots say, made of real recordings."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._live import KEPT, MOST_ROWS, TABLES, Live
from hasten.monitor._metric import Metric
from hasten.monitor._recorder import Recorder
from hasten.monitor._sample import Holds, Sample, Story
from hasten.monitor._series import Histogram
from hasten.monitor._snapshot import Snapshot
from hasten.monitor._window import Timing, total
from hasten.monitor.slo import Objective, bounds_of

FAST = Objective(service="orders", name="fast", kind="latency", target=0.99, threshold=0.2)
ORDERS = Objective(service="orders", name="place", kind="latency", target=0.9, threshold=0.05, route="/orders")
AVAILABLE = Objective(service="orders", name="available", kind="availability", target=0.999)
OBJECTIVES = (FAST, ORDERS, AVAILABLE)


class Process:
    """A recorder and the live samples of it, with a clock that goes by the second."""

    def __init__(self, objectives: tuple[Objective, ...] = OBJECTIVES) -> None:
        self.recorder = Recorder(bounds_of(objectives))
        self.live = Live(objectives)
        self.clock = 1000.0

    def requests(self, count: int, seconds: float, route: str = "/orders", status: str = "200") -> None:
        child = self.recorder.histograms(catalogue.HTTP_SERVER_DURATION).child("GET", route, status)
        for _ in range(count):
            child.observe(seconds)

    def tick(self, seconds: float = 1.0, **given: object) -> Sample:
        """Let time pass, and take a sample."""
        self.clock += seconds
        snapshot = Snapshot("orders", "0", 5.0, 1.7e9 + self.clock, self.recorder.read())
        return self.live.add(snapshot, clock=self.clock, **given)  # type: ignore[arg-type]


# ---- quantiles


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    """A quantile errs by the width of its bucket at most, and is the highest bound for what lies above all."""
    metric = catalogue.HTTP_SERVER_DURATION
    timing = _timing(metric, values)
    true = sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]
    found = timing.quantile(share)
    assert found is not None
    bounds = (0.0, *metric.bounds)
    upper = next((bound for bound in metric.bounds if true <= bound), metric.bounds[-1])
    lower = max(bound for bound in bounds if bound < upper) if true <= upper else upper
    assert lower - 1e-6 <= found <= upper + 1e-6


def test_values_that_lie_evenly_give_the_exact_quantile() -> None:
    """Interpolation within a bucket is exact where the values are spread evenly."""
    timing = _timing(catalogue.HTTP_SERVER_DURATION, [0.1 + 0.15 * (n + 1) / 100 for n in range(100)])
    assert timing.quantile(0.5) == pytest.approx(0.175)
    assert timing.quantile(0.9) == pytest.approx(0.235)


def test_nothing_has_no_quantile() -> None:
    """Without values there is no quantile, and no highest bucket."""
    timing = total([], catalogue.HTTP_SERVER_DURATION)
    assert timing.quantile(0.99) is None
    assert timing.longest() == 0.0


def _timing(metric: Metric, values: list[float]) -> Timing:
    histogram = Histogram(metric.bounds)
    for value in values:
        histogram.observe(value)
    read = histogram.read()
    return Timing(metric.bounds, read.counts, read.total)


# ---- the second, and the last ten


def test_the_first_sample_has_no_rates() -> None:
    """What a process did before the first look is not told as if it had just happened."""
    process = Process()
    process.requests(50, 0.01)
    sample = process.tick()
    assert (sample.point.rate, sample.point.p50, sample.routes) == (0.0, None, ())


def test_a_point_is_of_its_own_second() -> None:
    """Rates, errors and quantiles of a point are those of the time since the one before."""
    process = Process()
    process.tick()
    process.requests(30, 0.02)
    process.requests(10, 0.3, status="503")
    point = process.tick(2.0).point
    assert (point.rate, point.errors) == (20.0, 5.0)
    assert point.p50 is not None
    assert 0.01 < point.p50 <= 0.025
    assert point.p99 is not None
    assert 0.25 < point.p99 <= 0.5
    still = process.tick().point
    assert (still.rate, still.p50) == (0.0, None)


def test_tables_are_over_the_last_ten_seconds() -> None:
    """A route's row stays for ten seconds after its last request, and is gone then."""
    process = Process()
    process.tick()
    process.requests(20, 0.02)
    assert process.tick().routes[0].rate == 20.0
    for _ in range(TABLES - 1):
        sample = process.tick()
    assert (sample.seconds, sample.routes[0].rate) == (10.0, 2.0)
    assert process.tick().routes == ()


def test_routes_are_ordered_by_time_and_cut() -> None:
    """The routes with the most time come first, statuses added up; how many more there are is said."""
    process = Process()
    process.tick()
    for number in range(MOST_ROWS + 5):
        process.requests(1, 0.01, route=f"/quick/{number}")
    process.requests(3, 0.5, route="/slow")
    process.requests(1, 0.5, route="/slow", status="500")
    sample = process.tick()
    assert len(sample.routes) == MOST_ROWS
    assert sample.routes_more == 6
    first = sample.routes[0]
    assert (first.name, first.rate, first.failed, first.busy) == ("GET /slow", 4.0, 1.0, 2.0)


def test_a_route_has_the_threshold_of_its_strictest_objective() -> None:
    """The latency that a route is held to is the smallest of the objectives that cover it."""
    process = Process()
    process.tick()
    process.requests(1, 0.01)
    process.requests(1, 0.01, route="/other")
    found = {row.name: row.threshold for row in process.tick().routes}
    assert found == {"GET /orders": 0.05, "GET /other": 0.2}


def test_a_request_without_a_route_and_the_folded_ones_are_named() -> None:
    """What matched no route, and what came after the last label set, are rows that say so."""
    process = Process()
    process.tick()
    process.requests(1, 0.01, route="")
    process.recorder.histograms(catalogue.HTTP_SERVER_DURATION).child("_other", "_other", "_other").observe(0.01)
    assert {row.name for row in process.tick().routes} == {"GET (no route)", "(others)"}


def test_lag_is_at_least_what_blocks_now() -> None:
    """While the loop is blocked it calls nothing back, and its lag is told as what it has been so far."""
    process = Process()
    process.tick()
    lag = process.recorder.histograms(catalogue.LOOP_LAG).child()
    for _ in range(10):
        lag.observe(0.0002)
    free = process.tick().point
    assert free.lag is not None
    assert free.lag <= 0.00025
    stuck = process.tick(blocked=4.2, blocked_at="app.py:12 handler")
    assert (stuck.point.blocked, stuck.point.lag, stuck.point.lag_most) == (4.2, 4.2, 4.2)
    assert stuck.blocked_at == "app.py:12 handler"


# ---- objectives


def test_burn_is_the_share_of_bad_events_by_the_share_that_may_be() -> None:
    """Slow events and failures burn a latency objective's budget, failures alone an availability's."""
    process = Process()
    process.tick()
    process.requests(90, 0.02)
    process.requests(5, 0.15)  # slow for the route's objective alone
    process.requests(5, 0.02, status="500")
    budgets = {one.name: one for one in process.tick().objectives}
    assert [one.events for one in budgets.values()] == [100, 100, 100]
    assert [one.bad for one in budgets.values()] == [5, 10, 5]
    assert [one.burn for one in budgets.values()] == [pytest.approx(5.0), pytest.approx(1.0), pytest.approx(50.0)]
    assert [one.of for one in budgets.values()] == ["all requests", "/orders", "all requests"]


def test_burn_forgets_after_five_minutes() -> None:
    """An objective's burn is over the last five minutes, and None when nothing happened in them."""
    process = Process((AVAILABLE,))
    process.tick()
    process.requests(10, 0.01, status="500")
    process.tick()
    for _ in range(KEPT - 1):
        (budget,) = process.tick().objectives
    assert (budget.bad, budget.seconds) == (10, 300.0)
    (budget,) = process.tick().objectives
    assert (budget.events, budget.burn) == (0, None)


def test_an_event_at_the_threshold_is_good() -> None:
    """A threshold is a bound of the histogram, and what equals it is within."""
    process = Process((FAST,))
    process.tick()
    process.requests(1, FAST.threshold)
    process.requests(1, math.nextafter(FAST.threshold, 1.0))
    assert process.tick().objectives[0].bad == 1


def test_a_bucket_of_an_objective_is_counted_too() -> None:
    """Histograms that have a bucket for an objective's threshold are added up whole, what lies above all bounds too."""
    called = Objective(service="orders", name="call", kind="latency", target=0.9, threshold=0.03, rpc="/a.B/C")
    process = Process((called, FAST))
    process.tick()
    child = process.recorder.histograms(catalogue.RPC_SERVER_DURATION).child("/a.B/C", "OK")
    for seconds in (0.02, 0.04, 100.0):
        child.observe(seconds)
    process.requests(1, 100.0)
    sample = process.tick()
    assert (sample.point.answered, sample.answered[0].rate, sample.answered[0].threshold) == (3.0, 3.0, 0.03)
    assert (sample.objectives[0].of, sample.objectives[0].events, sample.objectives[0].bad) == ("/a.B/C", 3, 2)
    assert (sample.point.rate, sample.point.p99) == (1.0, catalogue.REQUEST_BOUNDS[-1])


# ---- blocking sites, caches, messages, the rest


def test_a_site_says_when_it_was_last_seen() -> None:
    """Sites come with count, seconds and the time of their last block; those of before the first look have none."""
    process = Process()
    counts = process.recorder.counters(catalogue.LOOP_BLOCKING)
    seconds = process.recorder.counters(catalogue.LOOP_BLOCKING_TIME)
    counts.child("old.py:1 f").value = 3
    seconds.child("old.py:1 f").value = 9.0
    process.tick()
    counts.child("new.py:2 g").value += 1
    seconds.child("new.py:2 g").value += 0.5
    seen = process.tick().point.at
    new, old = process.tick().sites
    assert (new.site, new.count, new.seconds) == ("new.py:2 g", 1, 0.5)
    assert new.last == pytest.approx(seen, abs=0.01)
    assert (old.site, old.count, old.last) == ("old.py:1 f", 3, None)


def test_where_the_time_goes_is_for_each_recorded_request() -> None:
    """Seconds of the ledger are told by kind for each recorded request, of all and of the endpoints with the most."""
    process = Process()
    readings = {"/a": (0, 0.0), "/b": (0, 0.0)}

    def read() -> list[tuple[Metric, tuple[str, ...], float]]:
        found: list[tuple[Metric, tuple[str, ...], float]] = []
        for endpoint, (requests, waited) in readings.items():
            found.append((catalogue.LEDGER_REQUESTS, (endpoint,), requests))
            found.append((catalogue.LEDGER_SECONDS, (endpoint, "waiting"), waited))
        return found

    process.recorder.add_reader(read)
    process.tick()
    readings |= {"/a": (4, 0.4), "/b": (1, 0.8)}
    shares = process.tick().shares
    assert [(one.endpoint, one.requests) for one in shares] == [("", 5), ("/b", 1), ("/a", 4)]
    assert [one.kinds["waiting"] for one in shares] == [pytest.approx(0.24), pytest.approx(0.8), pytest.approx(0.1)]


def test_a_cache_has_its_hit_ratio_and_loads() -> None:
    """Stale values count as hits; loads, failed ones and their p99 stand beside."""
    process = Process()
    numbers = {"hit": 0, "stale": 0, "miss": 0}
    process.recorder.add_reader(
        lambda: [(catalogue.CACHE_REQUESTS, ("shop", "product", name), count) for name, count in numbers.items()]
    )
    process.tick()
    numbers |= {"hit": 70, "stale": 10, "miss": 20}
    process.recorder.counters(catalogue.CACHE_LOADS).child("shop", "product", "loader", "ok").value = 18
    process.recorder.counters(catalogue.CACHE_LOADS).child("shop", "product", "loader", "error").value = 2
    process.recorder.histograms(catalogue.CACHE_LOAD_DURATION).child("shop", "product", "loader").observe(0.2)
    sample = process.tick()
    (row,) = sample.caches
    assert (row.name, row.rate, row.hit, row.stale, row.loads, row.failed) == ("shop product", 100, 0.8, 10, 20, 2)
    assert row.p99 is not None
    assert 0.1 < row.p99 <= 0.25
    assert sample.point.hit == 0.8


def test_messages_calls_and_pools_have_rows() -> None:
    """Consumers with lag and dead letters, calls by method with server faults, breakers and pools are told."""
    process = Process()
    process.tick()
    record = process.recorder
    record.histograms(catalogue.PROCESS_DURATION).child("paid", "billing", "").observe(0.01)
    record.histograms(catalogue.PROCESS_DURATION).child("paid", "billing", "failed").observe(0.01)
    record.histograms(catalogue.EVENT_WAIT).child("paid", "billing").observe(2.0)
    record.counters(catalogue.DEAD_LETTERS).child("paid", "billing", "failed").value = 1
    record.gauges(catalogue.CONSUMER_LAG).child("paid", "billing").value = 7
    record.gauges(catalogue.DEAD_LETTER_BACKLOG).child("paid", "billing").value = 3
    record.histograms(catalogue.RPC_SERVER_DURATION).child("/a.B/C", "OK").observe(0.01)
    record.histograms(catalogue.RPC_SERVER_DURATION).child("/a.B/C", "INTERNAL").observe(0.01)
    record.histograms(catalogue.RPC_SERVER_DURATION).child("/a.B/C", "NOT_FOUND").observe(0.01)
    record.add_reader(lambda: [(catalogue.BREAKER_STATE, ("redis",), 2.0)])
    record.add_reader(
        lambda: [(catalogue.POOL_CONNECTIONS, ("db", state), n) for state, n in (("used", 3), ("limit", 5))]
    )
    sample = process.tick()
    (consumer,) = sample.consumers
    assert (consumer.name, consumer.rate, consumer.failed, consumer.buried) == ("paid billing", 2, 1, 1)
    assert (consumer.waiting, consumer.dead) == (7, 3)
    assert consumer.waited is not None
    assert 1.0 < consumer.waited <= 5.0
    assert [(row.name, row.rate, row.failed) for row in sample.answered] == [("/a.B/C", 3, 1)]
    assert [(row.name, row.state) for row in sample.dependencies] == [("redis", "open")]
    assert [(row.name, row.used, row.limit) for row in sample.pools] == [("db connections", 3, 5)]


def test_checks_are_told_with_their_reasons() -> None:
    """A process is ready if all checks hold, and each comes with its reason."""
    sample = Process().tick(checks=[Holds(name="app"), Holds(name="database", ok=False, reason="refused")])
    assert not sample.ready
    assert sample.checks[1].reason == "refused"


# ---- memory and JSON


def test_history_has_a_bound() -> None:
    """Five minutes are kept, whatever comes, and a story can begin after a time."""
    process = Process()
    for _ in range(KEPT + 50):
        last = process.tick().point
    story = process.live.story()
    assert len(story.points) == KEPT
    assert story.points[-1] == last
    assert [point.at for point in process.live.story(after=last.at - 2.5).points] == [last.at - 2, last.at - 1, last.at]


def test_a_story_is_read_as_it_was_written() -> None:
    """What is written as JSON is read as the same, and what an older or newer version has beside is left out."""
    process = Process()
    process.requests(5, 0.01)
    process.tick()
    process.requests(5, 0.01)
    process.tick(blocked=1.0)
    story = process.live.story()
    written = msgspec.json.encode(story)
    assert msgspec.json.decode(written, type=Story) == story
    assert msgspec.json.decode(b'{"fields": ["at"], "points": [[1.5]], "later": 1}', type=Story).points[0].at == 1.5


@given(
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["200", "404", "500"])), max_size=30)
)
def test_any_route_can_be_told(routes: list[tuple[str, str, str]]) -> None:
    """Whatever routes and methods are called, there is a sample, and it is JSON."""
    process = Process()
    process.tick()
    for method, route, status in routes:
        process.recorder.histograms(catalogue.HTTP_SERVER_DURATION).child(method, route, status).observe(0.01)
    sample = process.tick()
    assert sum(row.rate for row in sample.routes) <= len(routes)
    assert msgspec.json.decode(msgspec.json.encode(sample), type=Sample) == sample
