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
from hasten.resilience import _peak_ewma
from hasten.rpc.channel._target import Address

Policy = Literal["pick_first", "round_robin", "p2c"]

DECAY_SECONDS = 1.5
"""Time constant of the average, in seconds: half of a peak is forgotten after 1.

A replica that was 10 times slower is asked again 3.5 s (ln 10 time constants) after its last answer; at 150 calls a
second one of 500 goes there. It is to be back within 5 s (`hasten drill slow-replica`): that took up to 5 at a constant
of 3, and 6.5 to 9 at Finagle's default of 10.
"""

OK = grpc.StatusCode.OK
_REJECTIONS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
_CUT_SHORT = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Endpoint(_peak_ewma.Load):
    """What balancing and outlier detection know of one address; a subchannel owns one or is one.

    Attributes:
      ready: A connection stands and takes calls; the channel's to set.
      ejected: Set by outlier detection; such an endpoint is picked only when no other is ready.
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
        "failures",
        "ready",
        "successes",
    )

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address
        self.ready = False
        self.ejected = False
        self.successes = 0
        self.failures = 0
        self.consecutive_failures = 0
        self.ejections = 0
        self.ejected_at = -math.inf


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
    """Of two endpoints chosen at random takes the cheaper one, as `hasten.resilience` has it.

    RESOURCE_EXHAUSTED and UNAVAILABLE are rejections, which count as slow; CANCELLED and DEADLINE_EXCEEDED can raise
    an endpoint's average, never lower it. A pick takes 0.5 µs.
    """

    connects_one = False

    def __init__(self, clock: Callable[[], float], random: Callable[[], float], decay: float = DECAY_SECONDS) -> None:
        self._loads = _peak_ewma.PeakEwma(clock, random, decay)
        self._endpoints: tuple[Endpoint, ...] = ()
        self._usable: tuple[Endpoint, ...] = ()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Choose among the usable endpoints from now on."""
        self._endpoints = tuple(endpoints)
        self._usable = usable(endpoints)

    def wanted(self) -> Sequence[Endpoint]:
        return self._endpoints

    def pick(self) -> Endpoint | None:
        return self._loads.pick(self._usable)

    def pick_other(self, used: Collection[Endpoint]) -> Endpoint | None:
        """Choose among the endpoints outside `used`."""
        return self._loads.pick_other(self._usable, used)

    def started(self, endpoint: Endpoint) -> None:
        endpoint.outstanding += 1

    def finished(self, endpoint: Endpoint, seconds: float, code: grpc.StatusCode) -> None:
        """Record an attempt's latency, or what stands for it; 0.3 µs."""
        endpoint.outstanding -= 1
        if code is OK:
            self._loads.answered(endpoint, seconds)
        elif code in _REJECTIONS:
            self._loads.rejected(endpoint, seconds)
        elif code in _CUT_SHORT:
            self._loads.cut_short(endpoint, seconds)
        else:
            self._loads.failed(endpoint, seconds)
