"""Results: percentiles with failures in them, and when a measurement is not valid."""

import math

import msgspec
import pytest

from hasten._core.errors import InvalidMeasurement
from hasten.load import LoadResult
from hasten.load._result import find_problems
from hasten.load._tally import Tally, merged


def tally_of(*latencies: float, failed: int = 0) -> Tally:
    tally = Tally()
    for latency in latencies:
        tally.answer(latency, latency / 2)
    for _ in range(failed):
        tally.fail("timeout")
    return tally


def test_failed_requests_are_the_slowest() -> None:
    """A failed request counts as infinitely slow: p99 is infinite once more than 1 % failed."""
    tally = tally_of(*[0.01] * 98, failed=2)
    p50, p98, p99, largest = tally.quantiles((0.5, 0.98, 0.99, 1.0))
    assert p50 == p98 == pytest.approx(0.01, rel=0.005)
    assert p99 == largest == math.inf


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 99, 100, 101, 1000])
def test_quantiles_are_those_of_the_sorted_list(count: int) -> None:
    """A percentile is the smallest latency that this share of the requests does not exceed."""
    latencies = [(index + 1) / 1000 for index in range(count)]
    shares = (0.5, 0.9, 0.99, 0.999)
    expected = [latencies[max(1, math.ceil(share * count)) - 1] for share in shares]
    assert tally_of(*latencies).quantiles(shares) == pytest.approx(expected, rel=0.005)


def test_nothing_offered() -> None:
    """Without a request everything is 0, and nothing is infinite."""
    result = Tally().result("k", "GET", "/")
    assert (result.offered, result.failed, result.p99, result.max, result.mean) == (0, 0, 0.0, 0.0, 0.0)


def test_all_failed() -> None:
    """When nothing was answered every percentile is infinite."""
    result = tally_of(failed=3).result("k", "GET", "/")
    assert (result.offered, result.answered, result.errors) == (3, 0, {"timeout": 3})
    assert (result.p50, result.max) == (math.inf, math.inf)


def test_unexpected_statuses_fail() -> None:
    """A response with an unexpected status is a failure of kind status; which status is told."""
    tally = tally_of(0.001)
    tally.unexpected(503, 0.001)
    result = tally.result("k", "GET", "/")
    assert (result.offered, result.answered, result.errors, result.statuses) == (
        2,
        1,
        {"status": 1},
        {"503": 1},
    )


def test_merged_is_the_sum() -> None:
    """All kinds together are counted like one."""
    total = merged([tally_of(0.001, 0.002, failed=1), tally_of(0.003)])
    result = total.result("total", "", "")
    assert (result.offered, result.answered, result.errors) == (4, 3, {"timeout": 1})
    assert result.mean == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("lateness_p99", "latency_p99", "checks"),
    [
        (0.0009, 0.0001, []),  # below 1 ms it changes nothing that is claimed
        (0.0011, 0.0001, ["generator's lateness"]),
        (0.009, 0.1, []),  # below a tenth of the p99
        (0.011, 0.1, ["generator's lateness"]),
        (5.0, 0.0, []),  # nothing was answered: there is no latency to change
    ],
)
def test_lateness_bound(lateness_p99: float, latency_p99: float, checks: list[str]) -> None:
    """A run is not valid when its own lateness is above 1 ms and above a tenth of the p99."""
    problems = find_problems(offered=100, missed=0, lateness_p99=lateness_p99, latency_p99=latency_p99)
    assert [problem.check for problem in problems] == checks


def test_missed_rate() -> None:
    """A run is not valid when less than 99 % of the requests were sent."""
    assert not find_problems(offered=990, missed=10, lateness_p99=0.0, latency_p99=0.1)
    (problem,) = find_problems(offered=989, missed=11, lateness_p99=0.0, latency_p99=0.1)
    assert (problem.check, problem.measured) == (
        "sent requests",
        "98.9% of 1000 requests were sent, 99% are needed",
    )


def test_nothing_due_is_not_valid() -> None:
    """A run that had nothing to send says so instead of reporting zeros."""
    (problem,) = find_problems(offered=0, missed=0, lateness_p99=0.0, latency_p99=0.0)
    assert problem.measured == "none was due in the measured part"


def test_own_limits_are_not_the_servers() -> None:
    """Running out of files is said to be the generator's limit."""
    limit = "Too many open files"
    (problem,) = find_problems(offered=1, missed=0, lateness_p99=0.0, latency_p99=0.1, own_limit=limit)
    assert (problem.check, problem.measured) == ("generator's limits", limit)


def load_result(**changes: object) -> LoadResult:
    total = tally_of(0.1).result("total", "", "")
    result = LoadResult(
        target="http://127.0.0.1",
        arrivals="poisson",
        seed=1,
        rate=1.0,
        warmup=0.0,
        measured=1.0,
        started_at=0.0,
        total=total,
        kinds=(total,),
        achieved_rate=1.0,
        lateness_p50=0.0,
        lateness_p99=0.0,
        lateness_max=0.0,
        missed=0,
        repeats=0,
        connections=1,
        cpu_seconds=0.001,
        pacing="timerfd",
        partial=False,
        problems=(),
    )
    return msgspec.structs.replace(result, **changes)


def test_require_valid() -> None:
    """A result that is not valid raises the failed check with its figure; a valid one is returned."""
    assert load_result().require_valid().valid
    problems = find_problems(offered=100, missed=0, lateness_p99=0.05, latency_p99=0.1)
    with pytest.raises(InvalidMeasurement, match=r"generator's lateness: p99 50.0 ms, above 10.0 ms it changes"):
        load_result(problems=problems).require_valid()


def test_json_round_trip() -> None:
    """A result survives JSON; an infinite time is null there."""
    result = load_result()
    assert msgspec.json.decode(msgspec.json.encode(result), type=LoadResult) == result
    failed = tally_of(failed=1).result("total", "", "")
    assert b'"p99":null' in msgspec.json.encode(load_result(total=failed))
