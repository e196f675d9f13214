"""Arrivals, parameters and messages: what is sent, and when, follows from the plan and its seed."""

import math
import random
from collections import Counter
from itertools import pairwise
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.load import Plan, Range, RequestKind, Values, Zipf, arrival_times
from hasten.load._message import MessageTemplate
from hasten.load._parameters import sampler
from hasten.load._schedule import MakeTemplate, Schedule
from hasten.load._target import parse_target


def plan_of(*kinds: RequestKind, **settings: object) -> Plan:
    """Return a plan of `kinds` at 100 requests/s for 1 s."""
    plan = Plan(target="http://127.0.0.1:8000/base/", requests=kinds, rate=100, duration=1.0, warmup=0.0)
    return plan.checked().with_settings(**settings)


def maker(plan: Plan, *, request_ids: bool = False) -> MakeTemplate:
    """Return what lays out a kind's HTTP requests."""
    target = parse_target(plan.target, "target")
    return lambda _index, kind, source: MessageTemplate(kind, target, source, request_ids=request_ids)


def messages(plan: Plan, *, request_ids: bool = False) -> list[bytes]:
    """Return all requests that `plan` sends."""
    schedule = Schedule(plan, 0.0, maker(plan, request_ids=request_ids))
    found = []
    while (exchange := schedule.next()) is not None:
        found.append(exchange.message)
    return found


def test_constant_arrivals_have_equal_gaps() -> None:
    """Constant arrivals are exactly 1/rate apart, without drift."""
    times = list(arrival_times(1000, 100.0, arrivals="constant"))
    assert len(times) == 100_000
    assert times[99_999] == 99.999


def test_poisson_gaps_are_exponential() -> None:
    """Poisson arrivals have the rate asked for, and gaps whose deviation equals their mean."""
    times = list(arrival_times(1000, 100.0, seed=7))
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(1e-3, rel=0.02)
    assert deviation == pytest.approx(mean, rel=0.03)
    assert all(0 <= time < 100.0 for time in times)
    assert times == sorted(times)


def test_seed_fixes_the_arrivals() -> None:
    """The same seed gives the same times, another seed others."""
    assert list(arrival_times(50, 2.0, seed=1)) == list(arrival_times(50, 2.0, seed=1))
    assert list(arrival_times(50, 2.0, seed=1)) != list(arrival_times(50, 2.0, seed=2))


@given(low=st.integers(-1000, 1000), size=st.integers(0, 50), seed=st.integers())
def test_range_stays_in_bounds(low: int, size: int, seed: int) -> None:
    """A range yields integers of the range only, both ends included."""
    draw = sampler(Range(low, low + size), random.Random(seed))
    assert all(low <= int(draw()[0]) <= low + size for _ in range(20))


@given(size=st.integers(1, 10**9), exponent=st.floats(0.05, 8.0), seed=st.integers())
def test_zipf_stays_in_bounds(size: int, exponent: float, seed: int) -> None:
    """A Zipf parameter yields integers of its range only, whatever the exponent."""
    draw = sampler(Zipf(5, 4 + size, exponent), random.Random(seed))
    assert all(5 <= int(draw()[0]) <= 4 + size for _ in range(20))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.1, 2.0])
def test_zipf_frequencies(exponent: float) -> None:
    """The k-th integer is drawn in proportion to k ** -exponent."""
    draw = sampler(Zipf(1, 100, exponent), random.Random(3))
    drawn = Counter(int(draw()[0]) for _ in range(100_000))
    total = sum(rank**-exponent for rank in range(1, 101))
    for rank in (1, 2, 3, 10, 100):
        expected = 100_000 * rank**-exponent / total
        assert drawn[rank] == pytest.approx(expected, abs=5 * math.sqrt(expected))


def test_values_are_quoted_in_paths_only() -> None:
    """A listed value stands percent-encoded in the path and as it is in the body, the same one in both."""
    kind = RequestKind(
        name="k",
        method="POST",
        path="/search?q={q}",
        body='{"q": "{q}", "keep": {this}}',
        parameters={"q": Values(("a b/ü&", "c"))},
    )
    for message in messages(plan_of(kind)):
        head, _, body = message.partition(b"\r\n\r\n")
        value = unquote(head.split(b" ")[1].decode().partition("q=")[2])
        assert value in ("a b/ü&", "c")
        assert body.decode() == f'{{"q": "{value}", "keep": {{this}}}}'
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


def test_message_is_a_plain_request() -> None:
    """The request names path, host and headers, and nothing twice."""
    kind = RequestKind(name="k", path="/p", headers=(("accept", "application/json"), ("x-a", "{b}")))
    assert messages(plan_of(kind))[0] == (
        b"GET /base/p HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: hasten\r\n"
        b"accept: application/json\r\nx-a: {b}\r\n\r\n"
    )


def test_post_without_a_body_says_so() -> None:
    """A POST without a body has length 0 (RFC 9110 section 8.6)."""
    assert b"\r\nContent-Length: 0\r\n" in messages(plan_of(RequestKind(name="k", method="POST")))[0]


def test_request_ids_count_the_requests() -> None:
    """With request_ids each request carries its number."""
    kind = RequestKind(name="k", method="POST", body="x")
    for number, message in enumerate(messages(plan_of(kind), request_ids=True)):
        assert f"\r\nX-Request-ID: {number}\r\n\r\nx".encode() in message


def test_weights_share_the_requests() -> None:
    """Kinds are sent in proportion to their weights."""
    kinds = (RequestKind(name="a", path="/a", weight=3), RequestKind(name="b", path="/b", weight=1))
    sent = Counter(message.split(b" ")[1] for message in messages(plan_of(*kinds, rate=20_000)))
    assert sent[b"/base/a"] / sent.total() == pytest.approx(0.75, abs=0.02)


def test_seed_fixes_the_requests() -> None:
    """The same seed sends the same requests at the same times, another seed others."""
    kinds = [RequestKind(name=path, path=path, parameters={"id": Range(1, 10**9)}) for path in ("/a{id}", "/b{id}")]
    plan = plan_of(*kinds)
    assert messages(plan) == messages(plan)
    assert messages(plan) != messages(plan.with_settings(seed=2))


def test_warm_up_is_not_counted() -> None:
    """Requests due before the end of the warm-up are marked as not counted, later ones as counted."""
    plan = plan_of(RequestKind(name="k"), warmup=0.5, arrivals="constant")
    schedule = Schedule(plan, 10.0, maker(plan))
    while (exchange := schedule.next()) is not None:
        assert exchange.counted == (exchange.due >= 10.5)
