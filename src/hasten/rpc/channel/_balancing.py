"""Which of the ready endpoints gets the next call: pick_first, round_robin, and p2c on peak EWMA.

The channel owns the endpoints. It calls `update` with all of them, in the resolver's order, whenever the set changes
or one becomes ready, is lost, ejected or taken back; between two updates a pick looks only at those that were ready.
Around each attempt it calls `started` and `finished`.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import cycle
from random import Random
from typing import Literal, Protocol

import grpc

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._target import Address

Policy = Literal["pick_first", "round_robin", "p2c"]

DECAY_SECONDS = 10.0
"""Time constant of the average: half of a peak is forgotten after 7 s (Finagle's default)."""
REJECTION_SECONDS = 1.0
"""Least latency that a rejection is recorded with; see `PeakEwma`."""
REJECTION_FACTOR = 4.0
"""A rejection is recorded with at least this multiple of the highest recent cost at which any endpoint answered; under
load an endpoint that only rejects is then asked again every 14 s (`DECAY_SECONDS` x ln 4)."""
UNKNOWN_COST = 1e9
"""Cost of an endpoint whose first answer is still awaited: above every real one (Finagle's Penalty)."""

OK = grpc.StatusCode.OK
_REJECTIONS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
_CUT_SHORT = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Endpoint:
    """What balancing and outlier detection know of one address; a subchannel owns one or is one.

    Attributes:
      ready: A connection stands and takes calls; the channel's to set.
      ejected: Set by outlier detection; such an endpoint is picked only when no other is ready.
      outstanding: Attempts begun and not finished.
      ewma: Peak-sensitive average of latencies in seconds, as of `observed_at`; 0.0 without an answer yet.
      successes, failures: Attempts finished since the last sweep, as outlier detection counts.
      consecutive_failures: Since the last success.
      ejections: By how many base times the next ejection is longer than none; sinks while it behaves (gRFC A50).
      ejected_at: When it was ejected last.
    """

    __slots__ = (
        "address",
        "consecutive_failures",
        "ejected",
        "ejected_at",
        "ejections",
        "ewma",
        "failures",
        "observed_at",
        "outstanding",
        "ready",
        "successes",
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.ready = False
        self.ejected = False
        self.outstanding = 0
        self.ewma = 0.0
        self.observed_at = -math.inf
        self.successes = 0
        self.failures = 0
        self.consecutive_failures = 0
        self.ejections = 0
        self.ejected_at = -math.inf

    def forget(self) -> None:
        """Drop the latencies: what connects anew may be another process. Open attempts stay counted."""
        self.ewma = 0.0
        self.observed_at = -math.inf


class Balancer(Protocol):
    """A way to choose. Not thread-safe: one event loop owns it."""

    connects_one: bool
    """One connection is enough: try `wanted` in turn until one stands. Otherwise connect all of them."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Take the channel's endpoints, ready or not, in the resolver's order."""

    def wanted(self) -> Sequence[Endpoint]:
        """Return the endpoints that should be connected, the first to try first."""

    def pick(self) -> Endpoint | None:
        """Return the endpoint for the next attempt; None when none is ready."""

    def pick_other(self, used: Collection[Endpoint]) -> Endpoint | None:
        """Pick for a hedge or a retry: one outside `used` if any is ready (gRFC A6), else as `pick`."""

    def started(self, endpoint: Endpoint) -> None:
        """Note that an attempt was sent to `endpoint`."""

    def finished(self, endpoint: Endpoint, seconds: float, code: grpc.StatusCode) -> None:
        """Note how an attempt ended: called once for each `started`, also when the endpoint is gone by then.

        Args:
          seconds: From `started` to the answer; of a streamed answer to its first message, not to its end.
        """


def make_balancer(
    policy: Policy,
    *,
    clock: Callable[[], float] = time.monotonic,
    random: Random | None = None,
    shuffle: bool = False,
) -> Balancer:
    """Return a new balancer without endpoints.

    Args:
      clock: Seconds, never going back.
      random: Source of chance; a new one of its own by default.
      shuffle: pick_first tries the endpoints in random order (gRFC A62).
    Raises:
      ConfigurationError: there is no such policy.
    """
    source = random if random is not None else Random()
    if policy == "pick_first":
        return PickFirst(source.shuffle if shuffle else None)
    if policy == "round_robin":
        return RoundRobin(source.random)
    if policy == "p2c":
        return PeakEwma(clock, source.random)
    raise ConfigurationError(f"balancing={policy!r}", "unknown", "pick_first, round_robin or p2c")


def usable(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Return the endpoints to pick from: ready and not ejected; when there is none, the ready ones.

    An ejected endpoint may still answer, no endpoint never does (Envoy's panic threshold says the same).
    """
    ready = tuple(endpoint for endpoint in endpoints if endpoint.ready)
    return tuple(endpoint for endpoint in ready if not endpoint.ejected) or ready


class PickFirst(Balancer):
    """Stays with the first endpoint that connects; moves on when that is lost. A pick takes 0.02 µs."""

    connects_one = True

    def __init__(self, shuffle: Callable[[list[Endpoint]], None] | None = None) -> None:
        self._shuffle = shuffle
        self._order: tuple[Endpoint, ...] = ()
        self._members: frozenset[Endpoint] = frozenset()
        self._current: Endpoint | None = None

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Keep the current endpoint while it is ready, else take the first that is."""
        members = frozenset(endpoints)
        if self._shuffle is None:
            self._order = tuple(endpoints)
        elif members != self._members:
            shuffled = list(endpoints)
            self._shuffle(shuffled)
            self._order = tuple(shuffled)
        self._members = members
        ready = usable(self._order)
        if self._current not in ready:
            self._current = ready[0] if ready else None

    def wanted(self) -> Sequence[Endpoint]:
        """Return the current endpoint alone, or without one all, in the order to try."""
        return self._order if self._current is None else (self._current,)

    def pick(self) -> Endpoint | None:
        return self._current

    def pick_other(self, used: Collection[Endpoint]) -> Endpoint | None:
        """Return the current endpoint: there is no connection to another."""
        return self._current

    def started(self, endpoint: Endpoint) -> None:
        endpoint.outstanding += 1

    def finished(self, endpoint: Endpoint, seconds: float, code: grpc.StatusCode) -> None:
        endpoint.outstanding -= 1


class RoundRobin(Balancer):
    """Takes turns: between two updates no endpoint is more than one call ahead. A pick takes 0.03 µs.

    An update that changes the usable endpoints starts at a random one, so that many clients that learn of a new
    endpoint do not all call the same one first (grpc-core does so too).
    """

    connects_one = False

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._endpoints: tuple[Endpoint, ...] = ()
        self._usable: tuple[Endpoint, ...] = ()
        self._turns: Iterator[Endpoint] = cycle(())

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Take turns among the usable endpoints; the round goes on when they are the same as before."""
        self._endpoints = tuple(endpoints)
        found = usable(endpoints)
        if found != self._usable:
            self._usable = found
            start = int(self._random() * len(found))
            self._turns = cycle(found[start:] + found[:start])

    def wanted(self) -> Sequence[Endpoint]:
        return self._endpoints

    def pick(self) -> Endpoint | None:
        return next(self._turns, None)

    def pick_other(self, used: Collection[Endpoint]) -> Endpoint | None:
        """Return the next in turn that is not in `used`; those passed over lose their turn."""
        for _ in self._usable:
            endpoint = next(self._turns)
            if endpoint not in used:
                return endpoint
        return self.pick()

    def started(self, endpoint: Endpoint) -> None:
        endpoint.outstanding += 1

    def finished(self, endpoint: Endpoint, seconds: float, code: grpc.StatusCode) -> None:
        endpoint.outstanding -= 1


class PeakEwma(Balancer):
    """Of two endpoints chosen at random takes the cheaper one; cost is average latency x (outstanding + 1).

    The average jumps to every latency above it and sinks to those below with the time constant `DECAY_SECONDS`, with
    no calls towards zero: a slow endpoint is left at once and asked again cautiously. An endpoint without history
    costs nothing until it has one call, and more than all others until that is answered.

    What a latency is:
    - A rejection (RESOURCE_EXHAUSTED, UNAVAILABLE) is often the fastest answer of all, and would draw all traffic to
      the one endpoint that cannot serve it. It is recorded as slow: at least `REJECTION_SECONDS`, and at least
      `REJECTION_FACTOR` times the highest recent cost (latency x outstanding) at which any endpoint answered: whoever
      rejects at once never has calls outstanding, and must still cost more than those that carry the load.
    - A call that was cancelled or timed out says only that its answer would have taken longer: it can raise the
      average, never lower it. Otherwise the loser of each hedge would look as fast as the winner.

    A pick takes 0.45 µs.

    Sources: Finagle's PeakEwma (Linkerd's balancer); Mitzenmacher, The Power of Two Choices, 2001; hasten's
    design.md section 3, 8.
    """

    connects_one = False

    def __init__(self, clock: Callable[[], float], random: Callable[[], float], decay: float = DECAY_SECONDS) -> None:
        self._clock = clock
        self._random = random
        self._rate = -1.0 / decay
        self._endpoints: tuple[Endpoint, ...] = ()
        self._usable: tuple[Endpoint, ...] = ()
        self._dearest = 0.0
        self._dearest_at = -math.inf

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Choose among the usable endpoints from now on."""
        self._endpoints = tuple(endpoints)
        self._usable = usable(endpoints)

    def wanted(self) -> Sequence[Endpoint]:
        return self._endpoints

    def pick(self) -> Endpoint | None:
        return self._cheaper_of_two(self._usable)

    def pick_other(self, used: Collection[Endpoint]) -> Endpoint | None:
        """Choose among the endpoints outside `used`."""
        fresh = [endpoint for endpoint in self._usable if endpoint not in used]
        return self._cheaper_of_two(fresh or self._usable)

    def started(self, endpoint: Endpoint) -> None:
        endpoint.outstanding += 1

    def finished(self, endpoint: Endpoint, seconds: float, code: grpc.StatusCode) -> None:
        """Record an attempt's latency, or what stands for it; 0.25 µs."""
        endpoint.outstanding -= 1
        now = self._clock()
        if code is not OK:
            if code in _REJECTIONS:
                dearest = self._dearest * math.exp((now - self._dearest_at) * self._rate)
                seconds = max(seconds, REJECTION_SECONDS, REJECTION_FACTOR * dearest)
            elif code in _CUT_SHORT:
                if seconds > endpoint.ewma * math.exp((now - endpoint.observed_at) * self._rate):
                    endpoint.ewma, endpoint.observed_at = seconds, now
                return
        else:
            cost = seconds * (endpoint.outstanding + 1)
            if cost > self._dearest * math.exp((now - self._dearest_at) * self._rate):
                self._dearest, self._dearest_at = cost, now
        self._observe(endpoint, seconds, now)

    def _observe(self, endpoint: Endpoint, seconds: float, now: float) -> None:
        weight = math.exp((now - endpoint.observed_at) * self._rate)
        average = endpoint.ewma * weight
        endpoint.ewma = seconds if seconds > average else average + seconds * (1.0 - weight)
        endpoint.observed_at = now

    def _cheaper_of_two(self, choices: Sequence[Endpoint]) -> Endpoint | None:
        count = len(choices)
        if count < 2:
            return choices[0] if count else None
        first, second = divmod(int(self._random() * (count * (count - 1))), count - 1)
        if second >= first:
            second += 1  # one random number, every ordered pair of different endpoints equally likely
        one, other = choices[first], choices[second]
        now = self._clock()
        return one if self._cost(one, now) <= self._cost(other, now) else other

    def _cost(self, endpoint: Endpoint, now: float) -> float:
        outstanding = endpoint.outstanding
        if endpoint.ewma == 0.0:
            return UNKNOWN_COST + outstanding if outstanding else 0.0
        return endpoint.ewma * math.exp((now - endpoint.observed_at) * self._rate) * (outstanding + 1)
