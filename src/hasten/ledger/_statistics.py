"""Requests added up per endpoint in bounded memory."""

import heapq
import itertools
from collections.abc import Iterable, Sequence

import msgspec

from hasten._core.histogram import Histogram
from hasten.ledger._account import Account, Kind, Site
from hasten.ledger._attribution import KIND_OF, KINDS
from hasten.ledger._sites import SiteTable

MOST_ENDPOINTS = 200
"""Further endpoints (paths that match no route, for example) are counted together as OTHER."""
MOST_LINES = 50
"""Lines that a snapshot names for each endpoint; the rest is added up as other."""
_MOST_UNMATCHED = 50
_MOST_HELD = 4 * MOST_LINES
_EXEMPLARS = 5
_LINE_PRECISION = 4  # a line's quantiles err by 3 % at most: there are up to 200 of them for each endpoint
OTHER = "other"


class LineStatistics(msgspec.Struct, frozen=True):
    """One line over the recorded requests that had it: seconds in all, requests, p50 and p99 of their seconds."""

    kind: Kind
    site: Site
    seconds: float
    requests: int
    p50: float
    p99: float


class EndpointStatistics(msgspec.Struct, frozen=True):
    """What was recorded of one endpoint.

    Attributes:
      requests: Recorded requests.
      seconds: Their wall and unread time added up.
      p50, p99: Of that time, seconds.
      lines: The 50 largest.
      other: Seconds of all other lines.
      exemplars: Accounts of the slowest requests, slowest first.
    """

    endpoint: str
    requests: int
    seconds: float
    p50: float
    p99: float
    lines: tuple[LineStatistics, ...]
    other: float
    exemplars: tuple[Account, ...]


class Totals(msgspec.Struct, frozen=True):
    """What was recorded of one endpoint until now, in numbers that only grow.

    Attributes:
      requests: Recorded requests.
      seconds: Of their wall and unread time, by kind.
    """

    requests: int
    seconds: dict[Kind, float]


class _Line:
    __slots__ = ("seconds", "times")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.times = Histogram(_LINE_PRECISION)


class _Endpoint:
    __slots__ = ("kinds", "lines", "matched", "other", "seconds", "slowest", "times")

    def __init__(self, *, matched: bool) -> None:
        self.matched = matched
        self.seconds = 0.0
        self.times = Histogram()
        self.lines: dict[int, _Line] = {}
        self.kinds = [0.0] * KINDS
        self.other = 0.0
        self.slowest: list[tuple[float, int, Account]] = []


class Statistics:
    """Adds requests up by endpoint; one writer."""

    def __init__(self, sites: SiteTable) -> None:
        self._sites = sites
        self._endpoints: dict[str, _Endpoint] = {}
        self._numbers = itertools.count()

    def add(self, name: str, wall: float, lines: Iterable[tuple[int, float]], *, matched: bool = True) -> bool:
        """Count one request; return whether it is one of the slowest, whose account `keep` is to have.

        Args:
          name: Its endpoint.
          wall: Its wall and unread time, seconds.
          lines: Keys (see `_attribution`) and their seconds.
          matched: A route has matched; else the name is a path that somebody asked for.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            endpoint = self._new(name, matched=matched)
        endpoint.seconds += wall
        endpoint.times.record(wall)
        held, kinds = endpoint.lines, endpoint.kinds
        for key, seconds in lines:
            kinds[key % KINDS] += seconds
            line = held.get(key)
            if line is None:
                line = held[key] = _Line()
            line.seconds += seconds
            line.times.record(seconds)
        if len(held) > _MOST_HELD:
            _shed(endpoint)
        slowest = endpoint.slowest
        return len(slowest) < _EXEMPLARS or wall > slowest[0][0]

    def _new(self, name: str, *, matched: bool) -> _Endpoint:
        """Return what a new endpoint is added up in; paths that no route matches leave room for those that one does."""
        unmatched = sum(not endpoint.matched for endpoint in self._endpoints.values())
        if len(self._endpoints) >= MOST_ENDPOINTS or (not matched and unmatched >= _MOST_UNMATCHED):
            name, matched = OTHER, True
        return self._endpoints.setdefault(name, _Endpoint(matched=matched))

    def keep(self, name: str, wall: float, account: Account) -> None:
        """Keep the account of a request that `add` has just counted among the slowest of its endpoint."""
        slowest = (self._endpoints.get(name) or self._endpoints[OTHER]).slowest
        heapq.heappush(slowest, (wall, next(self._numbers), account))
        if len(slowest) > _EXEMPLARS:
            heapq.heappop(slowest)

    def totals(self) -> dict[str, Totals]:
        """Return the totals of each endpoint, in any thread; a hundredth of the work of `snapshot`.

        Those that no route matched are one, without a name.
        """
        counts: dict[str, int] = {}
        seconds: dict[str, dict[Kind, float]] = {}
        for name, endpoint in list(self._endpoints.items()):
            known = name if endpoint.matched else ""
            counts[known] = counts.get(known, 0) + endpoint.times.count
            kinds = seconds.setdefault(known, {})
            for at, spent in enumerate(endpoint.kinds):
                if spent:
                    kinds[KIND_OF[at]] = kinds.get(KIND_OF[at], 0.0) + spent
        return {name: Totals(count, seconds[name]) for name, count in counts.items()}

    def snapshot(self) -> tuple[EndpointStatistics, ...]:
        """Return a frozen copy, the endpoints with the largest time first."""
        sites = self._sites.sites
        endpoints = [_frozen(name, endpoint, sites) for name, endpoint in list(self._endpoints.items())]
        return tuple(sorted(endpoints, key=lambda endpoint: -endpoint.seconds))


def _shed(endpoint: _Endpoint) -> None:
    """Keep the larger half of the lines."""
    ranked = sorted(endpoint.lines.items(), key=lambda item: -item[1].seconds)
    endpoint.other += sum(line.seconds for _, line in ranked[_MOST_HELD // 2 :])
    endpoint.lines = dict(ranked[: _MOST_HELD // 2])


def _frozen(name: str, endpoint: _Endpoint, sites: Sequence[Site]) -> EndpointStatistics:
    ranked = sorted(endpoint.lines.items(), key=lambda item: -item[1].seconds)
    p50, p99 = endpoint.times.quantiles((0.5, 0.99))
    return EndpointStatistics(
        endpoint=name,
        requests=endpoint.times.count,
        seconds=endpoint.seconds,
        p50=p50,
        p99=p99,
        lines=tuple(
            LineStatistics(
                KIND_OF[key % KINDS],
                sites[key // KINDS],
                line.seconds,
                line.times.count,
                *line.times.quantiles((0.5, 0.99)),
            )
            for key, line in ranked[:MOST_LINES]
        ),
        other=endpoint.other + sum(line.seconds for _, line in ranked[MOST_LINES:]),
        exemplars=tuple(account for _, _, account in sorted(endpoint.slowest, reverse=True)),
    )
