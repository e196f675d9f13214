"""Of two servers the better one gets the call: by what it took of late, and by what it has to do."""

import math
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from hasten.resilience._peak_ewma import REJECTION_SECONDS, Load, PeakEwma
from tests.resilience.clocks import Clock


class Servers:
    """Servers, and what balances them."""

    def __init__(self, latencies: Sequence[float], decay: float = 1.0) -> None:
        self.clock = Clock()
        self.balancer = PeakEwma(self.clock, Random(7).random, decay)
        self.loads = [Load() for _ in latencies]
        for load, latency in zip(self.loads, latencies, strict=True):
            self.balancer.answered(load, latency)

    def call_for(self, seconds: float, *, every: float) -> None:
        """Choose one again and again, while nothing is heard of any."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += every
            self.balancer.pick(self.loads)

    def picks(self, count: int = 1000) -> Counter[int]:
        picked: Counter[int] = Counter()
        for _ in range(count):
            load = self.balancer.pick(self.loads)
            assert load is not None
            picked[self.loads.index(load)] += 1
        return picked


def test_the_quicker_one() -> None:
    """The slowest of three is never the better of two; the quickest always is."""
    picked = Servers([0.01, 0.02, 0.03]).picks(3000)
    assert picked[2] == 0
    assert picked[0] == pytest.approx(2000, abs=150)


def test_open_calls() -> None:
    """A quick server with much to do is left for a slower one with less."""
    servers = Servers([0.01, 0.02])
    servers.loads[0].outstanding = 3
    assert servers.picks() == {1: 1000}


def test_rejection() -> None:
    """A rejection counts as slow, however quick it was, and is forgotten in time by who calls often."""
    servers = Servers([0.01, 0.01])
    servers.balancer.rejected(servers.loads[0], 0.0001)
    assert servers.loads[0].ewma == REJECTION_SECONDS
    assert servers.picks() == {1: 1000}
    servers.call_for(10.0, every=0.01)
    servers.balancer.answered(servers.loads[1], 0.01)
    assert servers.picks() == {0: 1000}


def test_who_calls_seldom() -> None:
    """What was seen is remembered for eight calls to each server, which is how soon more is seen; for 60 s at most."""
    for every, remembered in ((1.0, 16.0), (60.0, 60.0)):
        servers = Servers([0.01, 0.02])
        servers.call_for(100 * every, every=every)
        servers.balancer.answered(servers.loads[1], 0.02)
        servers.balancer.answered(servers.loads[0], 0.02 * math.e)
        servers.clock.now += 0.99 * remembered
        servers.balancer.answered(servers.loads[1], 0.02)
        assert servers.balancer.pick(servers.loads) is servers.loads[1]
        servers.clock.now += 0.01 * remembered
        servers.balancer.answered(servers.loads[1], 0.02)
        assert servers.balancer.pick(servers.loads) is servers.loads[0]


def test_cut_short() -> None:
    """A call that was given up raises the average, and never lowers it."""
    servers = Servers([0.01])
    (load,) = servers.loads
    servers.balancer.cut_short(load, 0.001)
    assert load.ewma == 0.01
    servers.balancer.cut_short(load, 0.5)
    assert load.ewma == 0.5


def test_unknown() -> None:
    """A server that was never asked is asked once, and not again until it has answered."""
    servers = Servers([0.01, 0.01])
    servers.loads.append(Load())
    assert servers.balancer.pick_other(servers.loads, servers.loads[:2]) is servers.loads[2]
    servers.loads[2].outstanding = 1
    assert servers.picks()[2] == 0
    servers.loads[2].outstanding = 0
    servers.balancer.failed(servers.loads[2], 0.01)
    assert servers.picks()[2] > 200


def test_others() -> None:
    """For a retry those that were not used are preferred; with none at all nothing is picked."""
    servers = Servers([0.01, 0.01, 0.01])
    assert servers.balancer.pick_other(servers.loads, servers.loads[1:]) is servers.loads[0]
    assert servers.balancer.pick_other(servers.loads, servers.loads) in servers.loads
    assert servers.balancer.pick([]) is None


def test_forgotten() -> None:
    """A server that comes back is as one that was never asked."""
    servers = Servers([0.01, 9.0])
    servers.loads[1].forget()
    assert servers.picks() == {1: 1000}
