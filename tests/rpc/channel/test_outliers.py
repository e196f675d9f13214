"""Endpoints that fail are taken out for a while, never too many of them, and come back."""

import socket
from random import Random

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._balancing import Endpoint
from hasten.rpc.channel._outliers import (
    DEFAULT_DETECTION,
    FailurePercentageEjection,
    OutlierDetection,
    OutlierDetector,
    SuccessRateEjection,
    default_detection,
)
from hasten.rpc.channel._target import Address

OK, INTERNAL, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE


def make_endpoints(number: int) -> list[Endpoint]:
    """Return so many endpoints with addresses of their own."""
    return [Endpoint(Address(socket.AF_INET, ("127.0.0.1", port))) for port in range(1, number + 1)]


def detector(detection: OutlierDetection, endpoints: list[Endpoint], seed: int = 1) -> OutlierDetector:
    """Return a detector over these endpoints."""
    made = OutlierDetector(detection, Random(seed).random)
    made.update(endpoints)
    return made


def count(made: OutlierDetector, endpoint: Endpoint, *, successes: int = 0, failures: int = 0) -> None:
    """Let so many attempts on an endpoint succeed and fail, the successes last."""
    for _ in range(failures):
        made.finished(endpoint, UNAVAILABLE, 0.0)
    for _ in range(successes):
        made.finished(endpoint, OK, 0.0)


def ejected(endpoints: list[Endpoint]) -> list[int]:
    """Return the positions of the ejected ones."""
    return [index for index, endpoint in enumerate(endpoints) if endpoint.ejected]


# ---- consecutive failures


def test_five_failures_in_a_row() -> None:
    """By default the fifth failure in a row ejects at once, and a success in between starts the count anew."""
    endpoints = make_endpoints(2)
    made = detector(DEFAULT_DETECTION, endpoints)
    outcomes = [INTERNAL] * 4 + [OK] + [UNAVAILABLE] * 5
    assert [made.finished(endpoints[0], code, 0.0) for code in outcomes] == [False] * 9 + [True]
    assert ejected(endpoints) == [0]


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_says_nothing(code: grpc.StatusCode) -> None:
    """A cancelled call and an overloaded endpoint count neither for nor against it."""
    endpoints = make_endpoints(2)
    made = detector(DEFAULT_DETECTION, endpoints)
    for _ in range(4):
        made.finished(endpoints[0], INTERNAL, 0.0)
    for _ in range(10):
        made.finished(endpoints[0], code, 0.0)
    assert (endpoints[0].successes, endpoints[0].failures, ejected(endpoints)) == (0, 4, [])
    assert made.finished(endpoints[0], INTERNAL, 0.0)


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT])
def test_answers_the_caller_asked_for(code: grpc.StatusCode) -> None:
    """A status that is the caller's affair never ejects."""
    endpoints = make_endpoints(2)
    made = detector(DEFAULT_DETECTION, endpoints)
    assert not any(made.finished(endpoints[0], code, 0.0) for _ in range(100))
    assert endpoints[0].successes == 100


def test_policies_by_default() -> None:
    """Detection is on by default where there is another endpoint to choose: not with pick_first."""
    assert default_detection("pick_first") is None
    assert default_detection("round_robin") is default_detection("p2c") is DEFAULT_DETECTION
    assert (DEFAULT_DETECTION.consecutive_failures, DEFAULT_DETECTION.max_ejection_percent) == (5, 50)


# ---- sweeps


def test_success_rate() -> None:
    """An endpoint far below the mean success rate is ejected; one with too few calls is not judged."""
    endpoints = make_endpoints(7)
    made = detector(OutlierDetection(success_rate=SuccessRateEjection()), endpoints)
    for endpoint in endpoints[:5]:
        count(made, endpoint, successes=100)
    count(made, endpoints[5], successes=50, failures=50)
    count(made, endpoints[6], failures=99)
    assert made.sweep(10.0)
    assert ejected(endpoints) == [5]


def test_success_rate_needs_enough_endpoints() -> None:
    """With fewer than minimum_hosts that have the volume nobody is judged, and an idle sweep changes nothing."""
    endpoints = make_endpoints(5)
    made = detector(OutlierDetection(success_rate=SuccessRateEjection()), endpoints)
    for endpoint in endpoints[:3]:
        count(made, endpoint, successes=100)
    count(made, endpoints[3], failures=100)
    assert not made.sweep(10.0)
    assert not made.sweep(20.0)
    assert ejected(endpoints) == []


def test_failure_percentage() -> None:
    """An endpoint above the threshold is ejected, one at it is not, whatever the others do."""
    endpoints = make_endpoints(5)
    rule = FailurePercentageEjection(threshold=80)
    made = detector(OutlierDetection(failure_percentage=rule, max_ejection_percent=100), endpoints)
    count(made, endpoints[0], successes=20, failures=80)
    count(made, endpoints[1], successes=19, failures=81)
    count(made, endpoints[2], failures=100)
    count(made, endpoints[3], failures=49)
    assert made.sweep(10.0)
    assert ejected(endpoints) == [1, 2]


def test_every_interval_is_judged_by_itself() -> None:
    """What was counted before the last sweep is forgotten."""
    endpoints = make_endpoints(5)
    made = detector(OutlierDetection(failure_percentage=FailurePercentageEjection()), endpoints)
    count(made, endpoints[0], failures=30)
    assert not made.sweep(10.0)
    count(made, endpoints[0], failures=30)
    assert not made.sweep(20.0)
    assert ejected(endpoints) == []


@pytest.mark.parametrize(("percentage", "expected"), [(0, 0), (100, 400)])
def test_enforcement(percentage: int, expected: int) -> None:
    """With an enforcement of 0 nobody is ejected, with 100 everybody who is found."""
    endpoints = make_endpoints(800)
    rule = FailurePercentageEjection(enforcement_percentage=percentage, request_volume=1)
    made = detector(OutlierDetection(failure_percentage=rule, max_ejection_percent=50), endpoints)
    for endpoint in endpoints[:400]:
        count(made, endpoint, failures=1)
    made.sweep(10.0)
    assert len(ejected(endpoints)) == expected


# ---- for how long


def eject(made: OutlierDetector, endpoint: Endpoint, now: float) -> None:
    """Let an endpoint fail until it is ejected."""
    while not made.finished(endpoint, INTERNAL, now):
        assert endpoint.consecutive_failures < 10


def test_ejections_grow_and_shrink() -> None:
    """Each ejection is 30 s longer than the last; a sweep in good standing takes one back."""
    endpoints = make_endpoints(2)
    made = detector(DEFAULT_DETECTION, endpoints)
    eject(made, endpoints[0], 0.0)
    assert not made.sweep(29.9)
    assert made.sweep(30.0)
    assert endpoints[0].consecutive_failures == 0
    eject(made, endpoints[0], 31.0)
    assert not made.sweep(90.9)
    assert made.sweep(91.0)
    made.sweep(100.0)
    made.sweep(110.0)
    eject(made, endpoints[0], 111.0)
    assert made.sweep(141.0)


def test_longest_ejection() -> None:
    """No ejection is longer than max_ejection_time, unless base_ejection_time is."""
    endpoints = make_endpoints(2)
    detection = OutlierDetection(consecutive_failures=1, base_ejection_time=50.0, max_ejection_time=20.0)
    made = detector(detection, endpoints)
    for start in (0.0, 1000.0, 2000.0):
        eject(made, endpoints[0], start)
        assert not made.sweep(start + 49.0)
        assert made.sweep(start + 50.0)


# ---- how many


@pytest.mark.parametrize(
    ("number", "percent", "allowed"),
    [(1, 50, 0), (2, 50, 1), (3, 50, 1), (4, 50, 2), (5, 10, 1), (4, 0, 0), (3, 100, 3)],
)
def test_allowed_ejections(number: int, percent: int, allowed: int) -> None:
    """The share is rounded down, but one of two or more may always be ejected, unless the share is 0."""
    endpoints = make_endpoints(number)
    made = detector(OutlierDetection(consecutive_failures=1, max_ejection_percent=percent), endpoints)
    for endpoint in endpoints:
        made.finished(endpoint, INTERNAL, 0.0)
    assert len(ejected(endpoints)) == allowed


def test_room_for_another() -> None:
    """An endpoint that keeps failing is ejected as soon as another has come back."""
    endpoints = make_endpoints(2)
    made = detector(DEFAULT_DETECTION, endpoints)
    eject(made, endpoints[0], 0.0)
    for _ in range(10):
        assert not made.finished(endpoints[1], INTERNAL, 1.0)
    made.sweep(30.0)
    assert made.finished(endpoints[1], INTERNAL, 31.0)


def test_oldest_comes_back_when_endpoints_vanish() -> None:
    """When fewer endpoints are left than the share allows, those ejected longest come back at once."""
    endpoints = make_endpoints(4)
    made = detector(DEFAULT_DETECTION, endpoints)
    eject(made, endpoints[1], 0.0)
    eject(made, endpoints[0], 1.0)
    assert made.update(endpoints[:3])
    assert ejected(endpoints) == [0]
    assert not made.update(endpoints[1:])
    assert ejected(endpoints) == []


def test_endpoint_that_is_gone() -> None:
    """Attempts on an endpoint that is no longer there end without ejecting it."""
    endpoints = make_endpoints(3)
    made = detector(DEFAULT_DETECTION, endpoints)
    made.update(endpoints[1:])
    assert not any(made.finished(endpoints[0], INTERNAL, 0.0) for _ in range(20))


ACTIONS = st.one_of(
    st.tuples(st.just("fail"), st.integers(0, 9)),
    st.tuples(st.just("succeed"), st.integers(0, 9)),
    st.tuples(st.just("sweep"), st.integers(0, 60)),
    st.tuples(st.just("update"), st.integers(0, 10)),
)
RATE = SuccessRateEjection(stdev_factor=500, minimum_hosts=2, request_volume=2)
PERCENTAGE = FailurePercentageEjection(threshold=40, minimum_hosts=1, request_volume=2)


@given(
    st.lists(ACTIONS, max_size=80),
    st.integers(0, 10),
    st.integers(0, 100),
    st.integers(0, 3),
    st.sampled_from([None, RATE]),
    st.sampled_from([None, PERCENTAGE]),
    st.integers(0, 2**32),
)
def test_share_is_never_exceeded(
    actions: list[tuple[str, int]],
    number: int,
    percent: int,
    failures: int,
    rate: SuccessRateEjection | None,
    percentage: FailurePercentageEjection | None,
    seed: int,
) -> None:
    """Whatever happens, no more endpoints are ejected than the share allows, and never the only one."""
    pool = make_endpoints(10)
    present, now = pool[:number], 0.0
    detection = OutlierDetection(
        max_ejection_percent=percent, consecutive_failures=failures, success_rate=rate, failure_percentage=percentage
    )
    made = detector(detection, present, seed)
    for action, value in actions:
        if action == "sweep":
            now += value
            made.sweep(now)
        elif action == "update":
            present = pool[:value]
            made.update(present)
        else:
            made.finished(pool[value], INTERNAL if action == "fail" else OK, now)
        out = len(ejected(pool))
        assert out <= max(len(present) * percent / 100, int(percent > 0 and len(present) > 1))
        assert set(ejected(pool)) <= set(range(len(present)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OutlierDetection(max_ejection_percent=101), "max_ejection_percent=101"),
        (lambda: OutlierDetection(interval=0.0), "interval=0"),
        (lambda: OutlierDetection(base_ejection_time=-1.0), "base_ejection_time=-1"),
        (lambda: OutlierDetection(max_ejection_time=float("nan")), "max_ejection_time=nan"),
        (lambda: SuccessRateEjection(enforcement_percentage=-1), "enforcement_percentage=-1"),
        (lambda: FailurePercentageEjection(threshold=200), "threshold=200"),
    ],
)
def test_wrong_settings(make: object, said: str) -> None:
    """Settings out of bounds are refused when they are made, by name."""
    assert callable(make)
    with pytest.raises(ConfigurationError, match=said):
        make()
