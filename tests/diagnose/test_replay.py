"""The replay: one simulated loop, checked against arithmetic."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.diagnose._evidence import EndpointEvidence, Evidence
from hasten.diagnose._replay import ON_LOOP, Replay, Segment, quantile_interval, segments, simulate, steps
from hasten.ledger import Account, Kind
from tests.diagnose.accounts import (
    ENDPOINT,
    SERVICE,
    account,
    blocked,
    computed,
    held,
    preempted,
    queued,
    site,
    threaded,
    traffic,
    unread,
    waited,
)

HANDLER = site("read", 10)
CALL = site("read", 12, library="httpx.AsyncClient.get")

durations = st.integers(0, 50).map(lambda number: number / 1000)
stretches = st.one_of(
    durations.map(lambda seconds: computed(seconds, HANDLER)),
    durations.map(lambda seconds: blocked(seconds, HANDLER)),
    durations.map(lambda seconds: waited(seconds, CALL)),
    durations.map(lambda seconds: held(seconds, HANDLER)),
    durations.map(queued),
    durations.map(lambda seconds: unread(seconds)),
)
paths = st.lists(stretches, min_size=1, max_size=8)
starts = st.integers(0, 400).map(lambda number: 100 + number / 1000)
histories = st.lists(
    st.builds(lambda path, started: account(*path, started=started), paths, starts), min_size=1, max_size=15
)


def endpoint(accounts: list[Account]) -> EndpointEvidence:
    """Return the only endpoint of `accounts`."""
    (only,) = Evidence(accounts).endpoints
    return only


def test_a_request_alone_takes_its_own_time() -> None:
    """Without neighbours a replayed response is the loop time and the waits, and nothing else."""
    alone = endpoint([account(computed(0.002, HANDLER), waited(0.010, CALL), computed(0.001, HANDLER))])
    assert Replay([alone]).responses(alone) == [pytest.approx(0.013)]


def test_requests_that_arrive_faster_than_they_are_served_queue() -> None:
    """In a D/D/1 queue with 10 ms of work every 8 ms, request n responds after 10 + 2 n ms."""
    busy = endpoint(traffic(20, computed(0.010, HANDLER), every=0.008))
    expected = [pytest.approx(0.010 + 0.002 * number) for number in range(20)]
    assert Replay([busy]).responses(busy) == expected


def test_the_simulation_agrees_with_queueing_theory() -> None:
    """Random arrivals with equal service times wait rho s / (2 (1 - rho)) on average, as M/D/1 says."""
    source, load, service = random.Random(7), 0.6, 0.010
    arrivals, now = [], 0.0
    for _ in range(60_000):
        now += source.expovariate(load / service)
        arrivals.append(now)
    responses = simulate(arrivals, [[service]] * len(arrivals))
    mean_wait = sum(responses) / len(responses) - service
    assert mean_wait == pytest.approx(load * service / (2 * (1 - load)), rel=0.05)


def test_waits_overlap_and_steps_do_not() -> None:
    """Two requests that arrive together wait at the same time, and their steps run one after the other."""
    pair = endpoint(traffic(2, computed(0.004, HANDLER), waited(0.020, CALL), computed(0.001, HANDLER), every=0))
    assert Replay([pair]).responses(pair) == [pytest.approx(0.025), pytest.approx(0.029)]


def test_another_endpoint_of_the_service_holds_the_loop() -> None:
    """A step of one endpoint delays the other's requests, and a fix of the one speeds up the other."""
    slow = traffic(1, computed(0.100, HANDLER), endpoint="GET /slow", first=100.0)
    fast = traffic(1, computed(0.001, HANDLER), endpoint="GET /fast", first=100.010)
    evidence = Evidence(slow + fast)
    replay = Replay(evidence.endpoints)
    victim = evidence.endpoint(SERVICE, "GET /fast")
    assert victim is not None
    assert replay.responses(victim) == [pytest.approx(0.091)]

    def off_loop(account: Account) -> list[Segment] | None:
        if account.endpoint == "GET /fast":
            return None
        return [Segment(Kind.THREAD, part.site, part.seconds) for part in segments(account)]

    assert replay.responses(victim, off_loop) == [pytest.approx(0.001)]


def test_time_unread_moves_the_arrival_forward() -> None:
    """A request arrives when its bytes did: unread time is not replayed but arises from the hold."""
    slow = account(computed(0.050, HANDLER), started=100.0)
    late = account(unread(0.040), computed(0.001, HANDLER), started=100.050)
    both = endpoint([slow, late])
    assert Replay([both]).responses(both) == [pytest.approx(0.050), pytest.approx(0.041)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([], [0.0]),
        ([computed(1, HANDLER), blocked(2, HANDLER), preempted(4, HANDLER)], [7.0]),
        ([waited(1, CALL), threaded(2, HANDLER)], [0.0, 3.0, 0.0]),
        ([computed(1, HANDLER), queued(9), computed(2, HANDLER)], [1.0, 0.0, 2.0]),
        ([computed(1, HANDLER), waited(2, CALL), held(9, HANDLER), computed(3, HANDLER)], [1.0, 2.0, 3.0]),
        ([waited(1, CALL), held(9, HANDLER), waited(2, CALL)], [0.0, 3.0, 0.0]),
    ],
)
def test_steps_and_waits_alternate(path: list[Segment], expected: list[float]) -> None:
    """Loop times and waits alternate, neighbours add up, a hold between own steps makes a turn."""
    assert steps(segments(account(*path))) == expected  # type: ignore[arg-type]


@given(histories)
def test_nothing_is_faster_than_its_own_work(accounts: list[Account]) -> None:
    """An identity replay never gives a response below the request's own loop time and waits."""
    only = endpoint(accounts)
    for recorded, response in zip(only.accounts, Replay([only]).responses(only), strict=True):
        own = sum(part.seconds for part in segments(recorded) if part.kind in ON_LOOP or part.kind is Kind.WAITING)
        assert response >= own - 1e-9


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(accounts: list[Account], source: random.Random) -> None:
    """Accounts read in another order give the same responses."""
    shuffled = list(accounts)
    source.shuffle(shuffled)
    before, after = endpoint(accounts), endpoint(shuffled)
    assert sorted(Replay([before]).responses(before)) == sorted(Replay([after]).responses(after))


@given(st.lists(st.tuples(starts, durations), min_size=1, max_size=30), st.floats(0, 1))
def test_less_work_is_never_slower(requests: list[tuple[float, float]], left: float) -> None:
    """Of requests that take one step each, none gets slower when every step gets shorter."""
    only = endpoint([account(computed(seconds, HANDLER), started=started) for started, seconds in requests])
    replay = Replay([only])

    def shorter(account: Account) -> list[Segment]:
        return [part._replace(seconds=part.seconds * left) for part in segments(account)]

    pairs = zip(replay.responses(only), replay.responses(only, shorter), strict=True)
    assert all(after <= before + 1e-9 for before, after in pairs)


@given(st.lists(paths, min_size=1, max_size=10), st.sampled_from([Kind.COMPUTING, Kind.BLOCKING, Kind.WAITING]))
def test_removed_time_never_raises_the_median(many: list[list[Segment]], kind: Kind) -> None:
    """Where requests do not overlap, taking a kind of time out never makes the median worse."""
    apart = [account(*path, started=100.0 + 10 * number) for number, path in enumerate(many)]  # type: ignore[arg-type]
    only = endpoint(apart)

    def without(account: Account) -> list[Segment]:
        return [part for part in segments(account) if part.kind is not kind]

    prediction = Replay([only]).predict(only, without)
    assert prediction is not None
    assert prediction.p50_after <= prediction.p50_before + 1e-9


def test_the_range_of_the_p99_holds_the_replayed_one() -> None:
    """The p99 is given as a range around the replayed value, widened by what the unchanged replay missed."""
    recorded = [
        account(
            held(0.010, HANDLER),
            computed(0.001, HANDLER),
            waited(0.001 * number, CALL),
            started=100.0 + number,
        )
        for number in range(200)
    ]
    only = endpoint(recorded)
    prediction = Replay([only]).predict(only, lambda _: None)
    assert prediction is not None
    assert prediction.p50_before == prediction.p50_after == pytest.approx(only.p50)
    assert prediction.p99_after_low <= 0.198 <= prediction.p99_after_high
    assert prediction.p99_after_high >= only.p99


@pytest.mark.parametrize("number", [1, 2, 10, 1000])
def test_the_interval_of_a_quantile_stays_within_the_values(number: int) -> None:
    """The interval of a quantile ends at the largest value and begins at or below the quantile."""
    ordered = [float(value) for value in range(number)]
    low, high = quantile_interval(ordered, 0.99)
    assert 0 <= low <= 0.99 * number
    assert low <= high <= number - 1
    assert quantile_interval([], 0.99) == (0.0, 0.0)


def test_one_endpoint_of_several_is_read_out() -> None:
    """Responses are those of the asked endpoint alone, in the order of its accounts."""
    evidence = Evidence(
        traffic(3, computed(0.001, HANDLER)) + traffic(2, computed(0.002, HANDLER), endpoint="GET /b", first=200.0)
    )
    replay = Replay(evidence.endpoints)
    first, second = evidence.endpoint(SERVICE, ENDPOINT), evidence.endpoint(SERVICE, "GET /b")
    assert first is not None
    assert second is not None
    assert replay.responses(first) == [pytest.approx(0.001)] * 3
    assert replay.responses(second) == [pytest.approx(0.002)] * 2


def test_a_long_recording_is_replayed_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more requests than a replay takes, those in the middle are replayed, in order and without gaps."""
    monkeypatch.setattr("hasten.diagnose._replay.MOST_SEGMENTS", 10)
    accounts = [account(computed(0.001 * (number + 1), HANDLER), started=100.0 + number) for number in range(30)]
    early = account(computed(0.5, HANDLER), started=50.0, endpoint="GET /early")
    evidence = Evidence([early, *accounts])
    first, last = evidence.endpoint(SERVICE, "GET /early"), evidence.endpoint(SERVICE, ENDPOINT)
    assert first is not None
    assert last is not None
    replay = Replay(evidence.endpoints)
    assert replay.responses(last) == pytest.approx([0.001 * number for number in range(11, 21)])
    assert replay.predict(first, lambda _: None) is None
