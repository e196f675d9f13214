"""Who gets the next call; shares are simulated on a clock of the test's own."""

import heapq
import math
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._balancing import Balancer, Endpoint, Policy, make_balancer
from hasten.rpc.channel._target import Address

OK = grpc.StatusCode.OK
CANCELLED = grpc.StatusCode.CANCELLED
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
POLICIES: tuple[Policy, ...] = ("pick_first", "round_robin", "p2c")


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_endpoints(number: int, *, ready: bool = True) -> list[Endpoint]:
    """Return so many endpoints with addresses of their own."""
    endpoints = [Endpoint(Address(socket.AF_INET, ("127.0.0.1", port))) for port in range(1, number + 1)]
    for endpoint in endpoints:
        endpoint.ready = ready
    return endpoints


def updated(policy: Policy, endpoints: Sequence[Endpoint], seed: int = 1, clock: Clock | None = None) -> Balancer:
    """Return a balancer over these endpoints."""
    balancer = make_balancer(policy, clock=clock or Clock(), random=Random(seed))
    balancer.update(endpoints)
    return balancer


@dataclass
class Server:
    """How one endpoint of a simulation answers."""

    seconds: float
    code: grpc.StatusCode = OK


def simulate(
    balancer: Balancer, servers: dict[Endpoint, Server], clock: Clock, *, rate: float, calls: int
) -> list[int]:
    """Send calls in an open model until all are answered; return how many each server got, in their order."""
    random, order, picked = Random(7), count(), Counter[Endpoint]()
    ends: list[tuple[float, int, Endpoint, float]] = []

    def answer_until(time: float) -> None:
        while ends and ends[0][0] <= time:
            clock.now, _, done, begun = heapq.heappop(ends)
            balancer.finished(done, clock.now - begun, servers[done].code)

    for _ in range(calls):
        arrival = clock.now + random.expovariate(rate)
        answer_until(arrival)
        clock.now = arrival
        endpoint = balancer.pick()
        assert endpoint is not None
        picked[endpoint] += 1
        balancer.started(endpoint)
        heapq.heappush(ends, (arrival + servers[endpoint].seconds, next(order), endpoint, arrival))
    answer_until(math.inf)
    return [picked[endpoint] for endpoint in servers]


# ---- what holds for all of them


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_ready(policy: Policy) -> None:
    """Without a ready endpoint there is nothing to pick, and all should be connected, in the resolver's order."""
    endpoints = make_endpoints(3, ready=False)
    balancer = updated(policy, [])
    assert (balancer.pick(), balancer.pick_other([]), list(balancer.wanted())) == (None, None, [])
    balancer.update(endpoints)
    assert (balancer.pick(), balancer.pick_other([]), list(balancer.wanted())) == (None, None, endpoints)


@pytest.mark.parametrize("policy", POLICIES)
def test_only_ready_endpoints_are_picked(policy: Policy) -> None:
    """After an update no endpoint is picked that is not ready."""
    endpoints = make_endpoints(4)
    balancer = updated(policy, endpoints)
    endpoints[0].ready = endpoints[2].ready = False
    balancer.update(endpoints)
    assert {balancer.pick() for _ in range(50)} <= {endpoints[1], endpoints[3]}


@pytest.mark.parametrize("policy", POLICIES)
def test_ejected_endpoints_are_the_last_resort(policy: Policy) -> None:
    """An ejected endpoint is not picked while another is ready, and is picked when there is no other."""
    endpoints = make_endpoints(2)
    endpoints[0].ejected = True
    balancer = updated(policy, endpoints)
    assert {balancer.pick() for _ in range(20)} == {endpoints[1]}
    endpoints[1].ready = False
    balancer.update(endpoints)
    assert balancer.pick() is endpoints[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_outstanding_attempts_are_counted(policy: Policy) -> None:
    """Attempts begun and not finished are counted per endpoint, also when it is gone by then."""
    endpoints = make_endpoints(2)
    balancer = updated(policy, endpoints)
    balancer.started(endpoints[0])
    balancer.started(endpoints[0])
    balancer.update(endpoints[1:])
    balancer.finished(endpoints[0], 0.1, OK)
    assert [endpoint.outstanding for endpoint in endpoints] == [1, 0]


def test_only_pick_first_needs_one_connection() -> None:
    """pick_first tries endpoints in turn, the others connect all of them."""
    assert [make_balancer(policy).connects_one for policy in POLICIES] == [True, False, False]


def test_unknown_policy() -> None:
    """A policy that does not exist is refused with those that do."""
    with pytest.raises(ConfigurationError, match="unknown; pick_first, round_robin or p2c"):
        make_balancer("best")  # type: ignore[arg-type]


# ---- pick_first


def test_pick_first_stays() -> None:
    """The first endpoint that connects gets all calls, also when one before it connects later."""
    endpoints = make_endpoints(3, ready=False)
    balancer = updated("pick_first", endpoints)
    endpoints[1].ready = True
    balancer.update(endpoints)
    endpoints[0].ready = True
    balancer.update(endpoints)
    balancer.update([endpoints[2], endpoints[1], endpoints[0]])
    assert balancer.pick() is endpoints[1]
    assert balancer.pick_other([endpoints[1]]) is endpoints[1]
    assert list(balancer.wanted()) == [endpoints[1]]


def test_pick_first_moves_on() -> None:
    """When its endpoint is lost, or no longer there, the first ready one takes its place; without one all are tried."""
    endpoints = make_endpoints(3)
    balancer = updated("pick_first", endpoints)
    endpoints[0].ready = False
    balancer.update(endpoints)
    assert balancer.pick() is endpoints[1]
    balancer.update([endpoints[0], endpoints[2]])
    assert balancer.pick() is endpoints[2]
    endpoints[2].ready = False
    balancer.update(endpoints[:1] + endpoints[2:])
    assert balancer.pick() is None
    assert list(balancer.wanted()) == [endpoints[0], endpoints[2]]


def test_pick_first_shuffles() -> None:
    """With shuffle the order to try is random, and the same from update to update until the set changes."""
    endpoints = make_endpoints(6, ready=False)
    orders = set()
    for seed in range(20):
        balancer = make_balancer("pick_first", random=Random(seed), shuffle=True)
        balancer.update(endpoints)
        order = tuple(balancer.wanted())
        balancer.update(endpoints[::-1])
        assert tuple(balancer.wanted()) == order
        assert set(order) == set(endpoints)
        orders.add(order[0])
    assert len(orders) > 1


# ---- round_robin


@given(st.integers(1, 12), st.integers(0, 100), st.integers(0, 2**32))
def test_round_robin_is_fair(number: int, picks: int, seed: int) -> None:
    """However many calls there are, no endpoint gets more than one more than another, updates in between or not."""
    endpoints = make_endpoints(number)
    balancer = updated("round_robin", endpoints, seed)
    picked = Counter(dict.fromkeys(endpoints, 0))
    for index in range(picks):
        if index % 5 == 0:
            balancer.update(endpoints)
        endpoint = balancer.pick()
        assert endpoint is not None
        picked[endpoint] += 1
    assert max(picked.values()) - min(picked.values()) <= 1


def test_round_robin_starts_anywhere() -> None:
    """Clients that learn of the same endpoints begin with different ones."""
    endpoints = make_endpoints(5)
    assert len({updated("round_robin", endpoints, seed).pick() for seed in range(50)}) == 5


@pytest.mark.parametrize("policy", ["round_robin", "p2c"])
def test_hedges_go_elsewhere(policy: Policy) -> None:
    """A hedge or retry goes to an endpoint that was not used yet; when all were, to any."""
    endpoints = make_endpoints(3)
    balancer = updated(policy, endpoints)
    assert {balancer.pick_other(endpoints[:2]) for _ in range(10)} == {endpoints[2]}
    assert {balancer.pick_other(endpoints[1:2]) for _ in range(30)} == {endpoints[0], endpoints[2]}
    assert balancer.pick_other(endpoints) in endpoints


# ---- p2c on peak EWMA


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_p2c_prefers_the_faster(seed: int, number: int) -> None:
    """An endpoint ten times slower than the others gets less than a fiftieth of the calls at any load they can bear."""
    clock, endpoints = Clock(), make_endpoints(number)
    balancer = updated("p2c", endpoints, seed, clock)
    servers = dict.fromkeys(endpoints, Server(0.005)) | {endpoints[-1]: Server(0.050)}
    shares = simulate(balancer, servers, clock, rate=100, calls=1500)
    assert shares[-1] < 1500 / 50


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_p2c_shares_among_equals(seed: int, number: int) -> None:
    """Endpoints that are equally fast get equal shares, give or take a third."""
    clock, endpoints = Clock(), make_endpoints(number)
    balancer = updated("p2c", endpoints, seed, clock)
    servers = {endpoint: Server(0.010) for endpoint in endpoints}
    shares = simulate(balancer, servers, clock, rate=400, calls=600 * number)
    assert all(400 < share < 800 for share in shares)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(2, 6),
    st.sampled_from([RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE]),
    st.sampled_from([0.002, 0.020, 2.0]),
    st.sampled_from([10, 60]),
)
def test_p2c_avoids_what_rejects(seed: int, number: int, code: grpc.StatusCode, seconds: float, in_flight: int) -> None:
    """Once others have answered, one that rejects at once gets less than a twentieth of the calls, at any load."""
    clock, endpoints = Clock(), make_endpoints(number)
    balancer = updated("p2c", endpoints, seed, clock)
    servers = dict.fromkeys(endpoints, Server(seconds)) | {endpoints[0]: Server(0.0001, code)}
    simulate(balancer, servers, clock, rate=in_flight / seconds, calls=10 * in_flight)
    shares = simulate(balancer, servers, clock, rate=in_flight / seconds, calls=1500)
    assert shares[0] < 1500 / 20


def test_p2c_would_otherwise_prefer_what_rejects() -> None:
    """The same endpoint with answers in place of rejections gets nearly all calls: the speed is not what it avoids."""
    clock, endpoints = Clock(), make_endpoints(2)
    balancer = updated("p2c", endpoints, 1, clock)
    shares = simulate(
        balancer, {endpoints[0]: Server(0.0001), endpoints[1]: Server(0.020)}, clock, rate=100, calls=1500
    )
    assert shares[0] > 1400


def test_p2c_overload_everywhere() -> None:
    """When every endpoint rejects they share the calls evenly: none is worse than another."""
    clock, endpoints = Clock(), make_endpoints(3)
    balancer = updated("p2c", endpoints, 1, clock)
    servers = {endpoint: Server(0.001, RESOURCE_EXHAUSTED) for endpoint in endpoints}
    shares = simulate(balancer, servers, clock, rate=500, calls=3000)
    assert all(600 < share < 1500 for share in shares)


def test_p2c_follows_a_change() -> None:
    """An endpoint that becomes slow is left at once, and found again after it has recovered."""
    clock, endpoints = Clock(), make_endpoints(2)
    balancer = updated("p2c", endpoints, 1, clock)
    servers = {endpoint: Server(0.010) for endpoint in endpoints}
    servers[endpoints[0]].seconds = 0.5
    assert simulate(balancer, servers, clock, rate=100, calls=1000)[0] < 50
    servers[endpoints[0]].seconds = 0.010
    simulate(balancer, servers, clock, rate=100, calls=6000)
    assert simulate(balancer, servers, clock, rate=100, calls=1000)[0] > 250


def test_p2c_probes_an_unknown_endpoint_once() -> None:
    """A new endpoint gets one call at once, and no second one before that is answered."""
    clock, endpoints = Clock(), make_endpoints(2)
    balancer = updated("p2c", endpoints, 1, clock)
    balancer.started(endpoints[0])
    balancer.finished(endpoints[0], 0.001, OK)
    assert balancer.pick() is endpoints[1]
    balancer.started(endpoints[1])
    for _ in range(100):
        assert balancer.pick() is endpoints[0]
        balancer.started(endpoints[0])
    balancer.finished(endpoints[1], 0.001, OK)
    assert balancer.pick() is endpoints[1]


def test_forgotten_endpoint_is_unknown_again() -> None:
    """After a new connection an endpoint is probed anew, whatever it was before."""
    clock, endpoints = Clock(), make_endpoints(2)
    balancer = updated("p2c", endpoints, 1, clock)
    for endpoint, seconds in zip(endpoints, (0.001, 5.0), strict=True):
        balancer.started(endpoint)
        balancer.finished(endpoint, seconds, OK)
    assert balancer.pick() is endpoints[0]
    endpoints[1].forget()
    assert balancer.pick() is endpoints[1]


def average_after(*outcomes: tuple[float, float, grpc.StatusCode]) -> float:
    """Return an endpoint's average after attempts, each given as (time, seconds, code)."""
    clock, (endpoint,) = Clock(), make_endpoints(1)
    balancer = updated("p2c", [endpoint], 1, clock)
    for time, seconds, code in outcomes:
        clock.now = 1000.0 + time
        balancer.started(endpoint)
        balancer.finished(endpoint, seconds, code)
    return endpoint.ewma


def test_average_jumps_up_and_sinks_slowly() -> None:
    """A peak counts at once and in full; 1.5 s later a 1/e of it is left."""
    assert average_after((0, 0.01, OK), (0, 0.5, OK)) == 0.5
    assert average_after((0, 0.5, OK), (0, 0.01, OK)) == 0.5
    assert average_after((0, 0.5, OK), (1.5, 0.01, OK)) == pytest.approx(0.5 * 0.36788 + 0.01 * 0.63212, rel=1e-4)


@pytest.mark.parametrize("code", [CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_cut_short(code: grpc.StatusCode) -> None:
    """A call that was cut short can raise the average, because it would have taken longer, but never lowers it."""
    assert average_after((0, 0.5, OK), (1, 0.01, code)) == 0.5
    assert average_after((0, 0.5, OK), (1, 2.0, code)) == 2.0
    assert average_after((0, 2.0, code)) == 2.0


def test_rejection_counts_as_slow() -> None:
    """A rejection counts as 1 s, as 16 times the highest recent cost, or as what it took: the most of these."""
    assert average_after((0, 0.0001, RESOURCE_EXHAUSTED)) == 1.0
    assert average_after((0, 3.0, OK), (0, 0.0001, RESOURCE_EXHAUSTED)) == 48.0
    assert average_after((0, 9.0, RESOURCE_EXHAUSTED)) == 9.0
    assert average_after((0, 0.0001, RESOURCE_EXHAUSTED), (0, 0.0001, RESOURCE_EXHAUSTED)) == 1.0


def test_other_failures_count_with_their_own_time() -> None:
    """An answer the caller may not like is an answer."""
    assert average_after((0, 0.002, grpc.StatusCode.NOT_FOUND)) == 0.002
