"""Rounds: both sides get the same at the same times, in random order; what spoils one is told."""

import http.client
import json
import math
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.compare._cpu import NoCpu
from hasten.compare._rounds import LATENESS, Failures, Rounds, Shape, problems_of, shape_of
from hasten.compare._sides import RunningSide, running, side_of
from hasten.load import KindResult, LoadResult, Plan, Problem, Range, RequestKind
from hasten.load._result import find_problems
from tests.compare.busy_apps import plan_for, runs, state_of, write_app

KIND = KindResult(
    name="GET /a",
    method="GET",
    path="/a",
    offered=100,
    answered=100,
    errors={},
    statuses={},
    p50=0.001,
    p90=0.002,
    p99=0.003,
    p999=0.004,
    max=0.005,
    mean=0.001,
    service_p50=0.001,
    service_p99=0.003,
)
RESULT = LoadResult(
    target="http://127.0.0.1",
    arrivals="poisson",
    seed=1,
    rate=100.0,
    warmup=0.0,
    measured=1.0,
    started_at=0.0,
    total=KIND,
    kinds=(KIND,),
    achieved_rate=100.0,
    lateness_p50=0.00002,
    lateness_p99=0.0001,
    lateness_max=0.001,
    missed=0,
    repeats=0,
    connections=1,
    cpu_seconds=0.01,
    pacing="timerfd",
    partial=False,
    problems=(),
)


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RunningSide]]:
    """Run one app twice."""
    monkeypatch.chdir(tmp_path)
    app = write_app(tmp_path, "one", rounds=100)
    with running(side_of(app, "BEFORE"), side_of(app, "AFTER"), plan_for(), tmp_path, None) as both:
        yield both


def seen_by(side: RunningSide) -> list[str]:
    """Return the numbers that a side's requests had."""
    connection = http.client.HTTPConnection(urlsplit(side.url).netloc, timeout=5)
    try:
        connection.request("GET", "/seen")
        found: list[str] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def test_both_sides_of_a_pair_get_the_same_requests(sides: list[RunningSide]) -> None:
    """Number by number, and other ones in the next pair; the CPU of each is known."""
    kind = RequestKind(name="work", method="GET", path="/work?number={number}", parameters={"number": Range(0, 10**9)})
    plan = Plan(target="http://127.0.0.1", requests=(kind,), rate=100.0, arrivals="constant")
    rounds = Rounds(sides, plan, Shape(0.1, 0.3), suspend=True)
    first, second = rounds.pair(), rounds.pair()
    for side in sides:
        side.resume()
    before, after = (sorted(seen_by(side)) for side in sides)
    assert before == after
    assert len(before) == len(set(before)) == 80
    assert first.seed != second.seed
    assert first.before.kinds[0].offered == first.after.kinds[0].offered == 30
    assert min(pair_round.cpu for pair_round in (first.before, first.after)) > 0
    assert rounds.failures.problem() is None


def test_the_idle_side_rests(sides: list[RunningSide]) -> None:
    """After a pair the side that was measured first is stopped; with `suspend` off neither is."""
    order = {True: 0, False: 1}
    pair = Rounds(sides, plan_for(), Shape(0.1, 0.1), suspend=True).pair()
    assert state_of(sides[order[pair.before_first]].pid) == "T"
    assert state_of(sides[order[not pair.before_first]].pid) != "T"
    for side in sides:
        side.resume()
    Rounds(sides, plan_for(), Shape(0.1, 0.1), suspend=False).pair()
    assert all(state_of(side.pid) != "T" for side in sides)


def test_the_order_is_random_and_the_plans_seed_decides(sides: list[RunningSide]) -> None:
    """Both orders come, and the same seed brings the same pairs."""

    def pairs(seed: int) -> list[tuple[int, bool]]:
        plan = plan_for(rate=1000.0).with_settings(seed=seed)
        rounds = Rounds(sides, plan, Shape(0.0, 0.01), suspend=False)
        return [(pair.seed, pair.before_first) for pair in (rounds.pair() for _ in range(12))]

    first = pairs(1)
    assert {before_first for _, before_first in first} == {True, False}
    assert pairs(1) == first
    assert pairs(2) != first


def test_a_side_that_dies_ends_it(sides: list[RunningSide]) -> None:
    """Its exit and its last words are told, not that its port refuses connections."""
    rounds = Rounds(sides, plan_for("/crash", rate=50.0), Shape(0.1, 0.2), suspend=True)
    with pytest.raises(TargetUnreachable, match=r": ended with exit code 3 .*last words: .*the disk is full"):
        rounds.pair()
    assert sum(runs(side.pid) for side in sides) == 1


def test_a_url_that_refuses_is_named() -> None:
    """Without a process of ours the generator's own words are told."""
    nobody = RunningSide("before: http://127.0.0.1:1", "http://127.0.0.1:1", NoCpu("nobody"))
    with pytest.raises(TargetUnreachable, match=r"^http://127\.0\.0\.1:1: connection refused"):
        Rounds([nobody, nobody], plan_for(), Shape(0.1, 0.1), suspend=True).pair()


def test_a_kind_without_a_request_is_not_known(sides: list[RunningSide]) -> None:
    """A kind that did not come in a round has no latency, and does not spoil the round."""
    kinds = (
        RequestKind(name="often", method="GET", path="/work"),
        RequestKind(name="never", method="GET", path="/seen", weight=1e-9),
    )
    plan = Plan(target="http://127.0.0.1", requests=kinds, rate=100.0)
    pair = Rounds(sides, plan, Shape(0.1, 0.2), suspend=True).pair()
    often, never = pair.before.kinds
    assert math.isfinite(often.p50)
    assert (never.offered, math.isnan(never.p50)) == (0, True)
    assert {problem.check for problem in pair.before.problems} <= {LATENESS}  # of a busy machine


@pytest.mark.parametrize(
    ("rate", "weights", "measured"),
    [
        (1000.0, (1.0,), 0.5),  # the shortest
        (100.0, (1.0,), 1.0),  # a hundred requests
        (100.0, (1.0, 3.0), 2.0),  # the rarest kind wants four seconds, which is too much
        (4.0, (1.0,), 5.0),  # twenty at least
        (0.5, (1.0,), 10.0),  # and five in ten seconds
    ],
)
def test_a_round_is_as_long_as_its_kinds_need(rate: float, weights: tuple[float, ...], measured: float) -> None:
    """A hundred requests of the rarest kind, within bounds."""
    kinds = tuple(RequestKind(name=f"{n}", method="GET", path="/", weight=w) for n, w in enumerate(weights))
    plan = Plan(target="http://127.0.0.1", requests=kinds, rate=rate)
    assert shape_of(plan).measured == pytest.approx(measured)
    assert 0.2 <= shape_of(plan).lead_in <= 0.5
    assert shape_of(plan, 3.0 if rate > 2 else 30.0).measured in {3.0, 30.0}


def test_a_plan_that_yields_hardly_a_request_is_one_line() -> None:
    """Too low a rate for the longest round is named."""
    with pytest.raises(ConfigurationError, match=r"^rate: 0\.1 requests/s give 1 in a round of 10 s; raise --rate"):
        shape_of(plan_for(rate=0.1))


def test_lateness_spoils_a_round_only_where_it_changes_what_is_judged() -> None:
    """Half of the requests sent late spoil it, a generator that lost its core for a moment does not."""
    (stalled,) = find_problems(offered=100, missed=0, lateness_p99=0.004, latency_p99=0.005)
    unsent = Problem("sent requests", "80 %", "")
    assert problems_of(msgspec.structs.replace(RESULT, lateness_p99=0.004, problems=(stalled,))) == ()
    (problem,) = problems_of(msgspec.structs.replace(RESULT, lateness_p50=0.0004, problems=(stalled,)))
    assert (problem.check, problem.measured) == (LATENESS, "p50 400 µs, above 250 µs it changes the result")
    assert problems_of(msgspec.structs.replace(RESULT, problems=(unsent,))) == (unsent,)


def test_a_kind_that_fails_on_both_sides_is_named() -> None:
    """More than a tenth on both sides is the plan's fault; on one side it is a finding."""

    def failing(share: float) -> LoadResult:
        failed = round(100 * share)
        kind = msgspec.structs.replace(KIND, errors={"status": failed}, statuses={"404": failed})
        return msgspec.structs.replace(RESULT, kinds=(kind,))

    failures = Failures()
    failures.add("before", failing(1.0))
    failures.add("after", failing(0.05))
    assert failures.problem() is None
    late = msgspec.structs.replace(failing(1.0), lateness_p50=1.0)
    failures.add("after", late)  # they may have failed for being sent late
    assert failures.problem() is None
    failures.add("after", failing(0.5))
    problem = failures.problem()
    assert problem is not None
    assert problem.check == "errors"
    assert problem.measured == "GET /a: 100% of before's and 28% of after's fail, mostly by status 404"
