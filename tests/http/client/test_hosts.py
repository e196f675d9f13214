"""Hosts that are ill, slow or gone are left alone, and found again when they are well."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from hasten.http.client import Client, ConnectFailed, HttpError, Limits, host_breaker
from hasten.http.client._host import DECAY_SECONDS, Host, Hosts
from hasten.resilience import AdaptiveBreaker, Breaker, DeadlineExceeded, Refused
from hasten.resilience._peak_ewma import PeakEwma
from hasten.testing import Faults
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling_service, pool_of, response, through_a_proxy, until
from tests.load.servers import refused_url, serving
from tests.resilience.clocks import Clock

Behaviour = Callable[[float], tuple[float, int | Exception]]
"""What a host does at a moment: the seconds that it takes, and its status or how it fails."""


def well(now: float) -> tuple[float, int | Exception]:
    return 0.010, 200


class Town:
    """Hosts in simulated time, which are called by a Poisson process."""

    def __init__(self, behaviours: Sequence[Behaviour], breaker: Any = Breaker) -> None:
        self.clock = Clock(100.0)
        self.source = random.Random(3)
        self.behaviours = list(behaviours)
        self.called: list[tuple[float, int]] = []
        self.refused = 0
        chance = self.source.random
        hosts = []
        for number in range(len(behaviours)):
            pool: Any = SimpleNamespace(name=f"host-{number}")
            made = breaker(failures=5, timeouts=5, silent=50, clock=self.clock, chance=chance) if breaker else None
            hosts.append(Host(pool, made, lambda names: b""))
        self.hosts = Hosts(hosts, PeakEwma(self.clock, chance, DECAY_SECONDS), self.clock)
        self._ending: list[tuple[float, int, Any]] = []

    def run(self, seconds: float, rate: float = 200.0) -> Counter[int]:
        """Call for so long; return how often each host was called."""
        until, before = self.clock.now + seconds, len(self.called)
        arrival = self.clock.now + self.source.expovariate(rate)
        while arrival < until:
            self._end_until(arrival)
            self.clock.now = arrival
            self._call()
            arrival += self.source.expovariate(rate)
        self._end_until(until)
        self.clock.now = until
        return Counter(number for _, number in self.called[before:])

    def _call(self) -> None:
        now = self.clock.now
        try:
            host = self.hosts.begin((), now)
        except Refused:
            self.refused += 1
            return
        number = self.hosts.every.index(host)
        self.called.append((now, number))
        seconds, outcome = self.behaviours[number](now)
        exchange = SimpleNamespace(host=host, began=now, answered_at=0.0, error=None, head=None)
        if isinstance(outcome, int):
            exchange.head = SimpleNamespace(status=outcome)
        else:
            exchange.error = outcome
        self._ending.append((now + seconds, len(self.called), exchange))

    def _end_until(self, moment: float) -> None:
        for ends, _, exchange in sorted(one for one in self._ending if one[0] <= moment):
            self.clock.now = ends
            self.hosts.ended(exchange)
        self._ending = [one for one in self._ending if one[0] > moment]


ILL: dict[str, Behaviour] = {
    "refuses connections": lambda now: (0.0005, ConnectFailed("host", "refused")),
    "is a black hole": lambda now: (1.0, ConnectFailed("host", "no connection within 1 s")),
    "answers 503 at once": lambda now: (0.0002, 503),
    "answers 429 at once": lambda now: (0.0002, 429),
    "answers 500 at once": lambda now: (0.0002, 500),
    "is 50 times slower": lambda now: (0.5, 200),
    "does not answer": lambda now: (1.0, DeadlineExceeded()),
    "breaks connections": lambda now: (0.005, HttpError("host", "lost")),
}


@pytest.mark.parametrize("illness", ILL)
def test_an_ill_host(illness: str) -> None:
    """One ill host of three has at most 5 % of the calls from two seconds on, and its share 5 s after it is well."""
    town = Town([well, well, well])
    town.run(20)
    town.behaviours[1] = ILL[illness]
    town.run(2)
    ill = town.run(20)
    assert ill[1] <= 0.05 * ill.total()
    assert town.refused == 0
    town.behaviours[1] = well
    town.run(5)
    again = town.run(10)
    assert again[1] >= 0.2 * again.total()


def test_all_are_well() -> None:
    """Hosts that are as good as each other are called as often as each other."""
    calls = Town([well, well, well, well]).run(60)
    assert min(calls.values()) > 0.2 * calls.total()


def test_a_fast_rejection_draws_nothing() -> None:
    """A host that refuses half of its calls at once has fewer than its share, without any breaker."""
    source = random.Random(5)
    town = Town([well, well, lambda now: (0.0002, 503 if source.random() < 0.5 else 200)], breaker=None)
    town.run(2)
    calls = town.run(30)
    assert calls[2] < 0.1 * calls.total()


def test_all_are_ill() -> None:
    """If no host is well, next to no call is sent, and one is as soon as one is well."""
    town = Town([ILL["refuses connections"]] * 2)
    town.run(2)
    assert town.run(20).total() < 60
    assert town.refused > 3000
    town.behaviours[0] = well
    town.run(3)
    before = town.refused
    assert town.run(5)[0] > 900
    assert town.refused == before


def test_callers_without_time() -> None:
    """Callers who give a host less time than it usually takes do not open its breaker."""
    town = Town([well])
    town.run(2)
    town.behaviours[0] = lambda now: (0.001, DeadlineExceeded())
    assert town.run(2).total() > 300
    assert town.refused == 0
    town.behaviours[0] = lambda now: (0.100, DeadlineExceeded())
    town.run(2)
    assert town.refused > 300


def test_adaptive_breaker(loop_factory: LoopFactory) -> None:
    """A host may have an adaptive breaker in its place: half of the answers being failures, it is asked as before."""

    async def scenario() -> None:
        service = Service(lambda request, number: response(status=200 if number % 2 else 503))
        async with calling_service(service, breaker=AdaptiveBreaker, retry=None) as client:
            for _ in range(40):
                await client.get("/")
            assert len(service.requests) == 40
            service.answer = lambda request, number: response(status=503)
            refused = 0
            for _ in range(300):
                try:
                    await client.get("/")
                except Refused:
                    refused += 1
            assert refused > 100

    run(loop_factory, scenario())


def test_black_hole() -> None:
    """A host that takes no connection costs a burst of calls at most ten tries to connect, and later calls none."""

    async def scenario() -> None:
        async with Client("http://127.0.0.1:1", limits=Limits(connect_timeout=0.05), retry=None) as client:
            pool = client._started().hosts.every[0].pool
            connect, tries = pool._connect, 0

            async def swallowed() -> None:
                nonlocal tries
                tries += 1
                await connect()

            pool._connect = swallowed  # type: ignore[method-assign]
            loop: Any = asyncio.get_running_loop()
            loop.create_connection = never
            outcomes = await asyncio.gather(*(client.get("/") for _ in range(200)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {ConnectFailed}
            assert "no connection within 0.05 s" in str(outcomes[0])
            assert tries <= 10
            for _ in range(100):
                with pytest.raises(Refused, match=r"breaker of 127.0.0.1:1: does not answer; again in"):
                    await client.get("/")
            assert tries <= 10
            await until(lambda: pool.counts[2:] == (0, 0))

    run(asyncio.new_event_loop, scenario())


async def never(*arguments: object, **options: object) -> None:
    await asyncio.Event().wait()


def test_adaptive_breaker_loses_no_call(loop_factory: LoopFactory) -> None:
    """However the moments of its window fall, no call of a host that is well is overdue for ever."""

    async def scenario() -> None:
        breaker = AdaptiveBreaker(window=0.0003)  # a moment is 10 µs, and each call begins in another
        async with calling_service(Service(), breaker=lambda: breaker) as client:
            for _ in range(100):
                await client.get("/")
            statistics = breaker.statistics()
            assert statistics.asked == statistics.accepted

    run(loop_factory, scenario())


def test_down_and_up(loop_factory: LoopFactory) -> None:
    """A host that is down is refused at once, and asked again when its breaker's probe is answered."""

    async def scenario() -> None:
        clock = Clock()
        service = Service()

        def breaker() -> Breaker:
            return Breaker(failures=3, clock=clock, chance=lambda: 0.0)

        async with through_a_proxy(service, breaker=breaker, retry=None) as (client, proxy):
            await client.get("/1")
            await proxy.inject(Faults(refused=True))
            proxy.reset()
            kinds: list[type[BaseException]] = []
            while not kinds or kinds[-1] is not Refused:
                with pytest.raises((HttpError, Refused)) as caught:
                    await client.post("/2")
                kinds.append(caught.type)
            assert len(kinds) <= 4
            await proxy.inject()
            with pytest.raises(Refused):
                await client.get("/3")
            host = pool_of(client)
            assert host.counts[3] == 0
            clock.now += 3.0
            hosts = client._started().hosts
            hosts.every[0].ask_at = 0.0
            assert (await client.get("/4")).status == 200
            assert (await client.get("/5")).status == 200
        assert service.targets() == ["/1", "/4", "/5"]

    run(loop_factory, scenario())


def test_a_retry_has_another_host(loop_factory: LoopFactory) -> None:
    """What one host cannot do is asked of another, at once."""

    async def scenario() -> None:
        ill, fine = Service(response(status=503)), Service()
        async with serving(ill.handle) as one, serving(fine.handle) as other, Client([one, other]) as client:
            for _ in range(30):
                assert (await client.get("/")).status == 200
        assert len(fine.requests) == 30

    run(loop_factory, scenario())


def test_host_fields(loop_factory: LoopFactory) -> None:
    """Each host is called by its own name."""

    async def scenario() -> None:
        one, other = Service(), Service()
        async with serving(one.handle) as first, serving(other.handle) as second:
            async with Client([first, second + "/v2"]) as client:
                await asyncio.gather(*(client.get("/x") for _ in range(20)))
            assert {one.fields()["host"], other.fields()["host"]} == {url.partition("//")[2] for url in (first, second)}
            assert (set(one.targets()), set(other.targets())) == ({"/x"}, {"/v2/x"})

    run(loop_factory, scenario())


def test_default_breaker() -> None:
    """The breaker that hosts have by default opens after five failures in a row."""
    breaker = host_breaker()
    for _ in range(4):
        breaker.failed()
    assert breaker.closed
    breaker.failed()
    assert not breaker.closed


def test_nobody_there(loop_factory: LoopFactory) -> None:
    """Where no host is up the error says so, whichever was asked last."""

    async def scenario() -> None:
        async with Client([refused_url(), refused_url()]) as client:
            with pytest.raises(ConnectFailed):
                await client.get("/")

    run(loop_factory, scenario())
