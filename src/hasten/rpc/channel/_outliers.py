"""Endpoints that fail more than the others are taken out of the choice for a while.

Sources: gRFC A50 (success rate, failure percentage, sweeps); Envoy's outlier detection (consecutive failures, at which
an endpoint is ejected at once instead of at the next sweep).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._balancing import Endpoint, Policy

FAILURES = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
)
"""Codes that count against an endpoint: those Envoy counts as 5xx, without UNIMPLEMENTED, which says that the caller
is newer than the servers."""
UNCOUNTED = (grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED)
"""Codes that say nothing of an endpoint's health. An overloaded one has too many calls, not a fault: to eject it would
send its share to the others, and overload them; p2c sends it less. All other codes are answers: a NOT_FOUND is the
caller's affair, and counts as a success, as in Envoy and unlike in A50."""


def _check_percentages(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 100:
            raise ConfigurationError(f"{type(settings).__name__}({name}={value})", "must be from 0 to 100")


def _check_from_zero(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ConfigurationError(f"{type(settings).__name__}({name}={value})", "must not be below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessRateEjection:
    """Ejects endpoints whose success rate lies far below the mean of all (gRFC A50).

    Attributes:
      stdev_factor: Thousandths of the standard deviation that a rate may lie below the mean.
      enforcement_percentage: Chance that an endpoint found so is ejected indeed.
      minimum_hosts: Endpoints that must have `request_volume`, else none is judged.
      request_volume: Attempts since the last sweep that an endpoint must have to be judged.
    """

    stdev_factor: int = 1900
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 100

    def __post_init__(self) -> None:
        _check_percentages(self, "enforcement_percentage")
        _check_from_zero(self, "stdev_factor", "minimum_hosts", "request_volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePercentageEjection:
    """Ejects endpoints that fail more than a share of their attempts, whatever the others do (gRFC A50).

    Attributes:
      threshold: Percent of failures above which an endpoint is ejected.
      enforcement_percentage, request_volume: As in `SuccessRateEjection`.
      minimum_hosts: Endpoints there must be at all.
    """

    threshold: int = 85
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 50

    def __post_init__(self) -> None:
        _check_percentages(self, "threshold", "enforcement_percentage")
        _check_from_zero(self, "minimum_hosts", "request_volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """When endpoints are ejected and for how long; the defaults of gRFC A50, which judge none. Durations in seconds.

    Attributes:
      interval: From sweep to sweep.
      base_ejection_time: Of the first ejection; each further one is longer by it, until the endpoint behaves.
      max_ejection_time: Bound of that, unless `base_ejection_time` is longer still.
      max_ejection_percent: Share of all endpoints that may be ejected at once, rounded down, but one of two or more
        may always be. 0 ejects none and the only endpoint is never ejected, both unlike A50: without it every call
        would fail.
      consecutive_failures: Failures in a row that eject at once; 0 does not look at them.
    """

    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_percent: int = 10
    success_rate: SuccessRateEjection | None = None
    failure_percentage: FailurePercentageEjection | None = None
    consecutive_failures: int = 0

    def __post_init__(self) -> None:
        _check_percentages(self, "max_ejection_percent")
        _check_from_zero(self, "interval", "base_ejection_time", "max_ejection_time", "consecutive_failures")
        if not self.interval:
            raise ConfigurationError("OutlierDetection(interval=0)", "must be above 0")


DEFAULT_DETECTION = OutlierDetection(consecutive_failures=5, max_ejection_percent=50)
"""Used with p2c and round_robin when the service config says nothing.

Five in a row is Envoy's default; at a failure rate of one in ten it comes by chance once in 100,000 calls. The two
statistical rules need five endpoints and 50 to 100 calls in an interval; most services have fewer, and a wrong verdict
costs capacity, so they are off until asked for. Half of the endpoints, instead of A50's tenth, because services have 2
to 10 of them, and a tenth would never allow a second ejection; and not more than half, because the others must carry
the load: when most endpoints fail the fault lies behind them, and ejecting helps nobody.
"""


def default_detection(policy: Policy) -> OutlierDetection | None:
    """Return the detection for a policy without one of its own; pick_first has nowhere else to go."""
    return None if policy == "pick_first" else DEFAULT_DETECTION


class OutlierDetector:
    """Counts how attempts end and sets `Endpoint.ejected`; whoever owns it tells the balancer.

    The share that may be ejected is never exceeded, also when endpoints vanish. One event loop owns it.
    """

    def __init__(self, detection: OutlierDetection, random: Callable[[], float]) -> None:
        """Start without endpoints; `random` returns floats from 0 to below 1."""
        self._detection = detection
        self._random = random
        self._endpoints: tuple[Endpoint, ...] = ()
        self._members: frozenset[Endpoint] = frozenset()

    def update(self, endpoints: Sequence[Endpoint]) -> bool:
        """Take the channel's endpoints; return whether one had to be taken back, because fewer may be ejected now."""
        for gone in self._members.difference(endpoints):
            gone.ejected = False
        self._endpoints = tuple(endpoints)
        self._members = frozenset(endpoints)
        ejected = sorted((one for one in endpoints if one.ejected), key=lambda one: one.ejected_at)
        surplus = ejected[: max(0, len(ejected) - self._allowed())]
        for endpoint in surplus:
            _take_back(endpoint)
        return bool(surplus)

    def finished(self, endpoint: Endpoint, code: grpc.StatusCode, now: float) -> bool:
        """Count an attempt; return whether it was the one that ejected its endpoint. 0.1 µs for an OK."""
        if code is grpc.StatusCode.OK or (code not in FAILURES and code not in UNCOUNTED):
            endpoint.successes += 1
            endpoint.consecutive_failures = 0
            return False
        if code in UNCOUNTED:
            return False
        endpoint.failures += 1
        endpoint.consecutive_failures += 1
        limit = self._detection.consecutive_failures
        if not limit or endpoint.consecutive_failures < limit or endpoint not in self._members:
            return False
        return self._eject(endpoint, now)

    def sweep(self, now: float) -> bool:
        """Judge what was counted since the last sweep, take back those whose time is over; return whether any changed.

        Call it every `interval` seconds.
        """
        before = [endpoint.ejected for endpoint in self._endpoints]
        self._judge_success_rates(now)
        self._judge_failure_percentages(now)
        for endpoint in self._endpoints:
            endpoint.successes = endpoint.failures = 0
            if not endpoint.ejected:
                endpoint.ejections = max(0, endpoint.ejections - 1)
            elif now >= endpoint.ejected_at + self._ejection_time(endpoint):
                _take_back(endpoint)
        return before != [endpoint.ejected for endpoint in self._endpoints]

    def _judge_success_rates(self, now: float) -> None:
        rule = self._detection.success_rate
        if rule is None:
            return
        judged = [endpoint for endpoint in self._endpoints if _volume(endpoint) >= max(1, rule.request_volume)]
        if not judged or len(judged) < rule.minimum_hosts:
            return
        rates = [endpoint.successes / _volume(endpoint) for endpoint in judged]
        mean = math.fsum(rates) / len(rates)
        deviation = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates) / len(rates))
        least = mean - deviation * rule.stdev_factor / 1000
        for endpoint, rate in zip(judged, rates, strict=True):
            if rate < least and self._enforced(rule.enforcement_percentage):
                self._eject(endpoint, now)

    def _judge_failure_percentages(self, now: float) -> None:
        rule = self._detection.failure_percentage
        if rule is None or len(self._endpoints) < rule.minimum_hosts:
            return
        for endpoint in self._endpoints:
            volume = _volume(endpoint)
            if volume < max(1, rule.request_volume) or 100 * endpoint.failures <= rule.threshold * volume:
                continue
            if self._enforced(rule.enforcement_percentage):
                self._eject(endpoint, now)

    def _enforced(self, percentage: int) -> bool:
        return self._random() * 100 < percentage

    def _eject(self, endpoint: Endpoint, now: float) -> bool:
        if endpoint.ejected or sum(one.ejected for one in self._endpoints) >= self._allowed():
            return False
        endpoint.ejected = True
        endpoint.ejected_at = now
        endpoint.ejections += 1
        return True

    def _allowed(self) -> int:
        count, percent = len(self._endpoints), self._detection.max_ejection_percent
        return max(1, count * percent // 100) if percent and count > 1 else 0

    def _ejection_time(self, endpoint: Endpoint) -> float:
        detection = self._detection
        longest = max(detection.base_ejection_time, detection.max_ejection_time)
        return min(detection.base_ejection_time * endpoint.ejections, longest)


def _volume(endpoint: Endpoint) -> int:
    return endpoint.successes + endpoint.failures


def _take_back(endpoint: Endpoint) -> None:
    endpoint.ejected = False
    endpoint.consecutive_failures = 0
