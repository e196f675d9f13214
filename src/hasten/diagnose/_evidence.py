"""What the recorded accounts prove: all accounts of one or more services, indexed for the rules' questions.

`Evidence` groups accounts by service and endpoint. An `EndpointEvidence` holds one column for each distinct
(kind, site), with the seconds of every request that has it: a question goes through some hundred columns, not
through all lines of all accounts.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from hasten.diagnose._finding import Severity
from hasten.ledger import Account, Kind, Line, Site

OWN = frozenset({Kind.COMPUTING, Kind.BLOCKING})
"""Kinds in which the request's own code held the loop."""

SUSPENDED = frozenset({Kind.WAITING, Kind.CACHE, Kind.THREAD, Kind.THREAD_QUEUED})
"""Kinds in which the request was suspended until something else was done."""

DELAYED = frozenset({Kind.HELD, Kind.UNREAD})
"""Kinds in which somebody else held the loop: the site is the holder's line."""

HIGH_SHARE = 0.10
"""Share of an endpoint's p99 or mean from which a finding is high (see `Severity`)."""

MEDIUM_SHARE = 0.02
"""Share from which it is medium."""

NEAR_LINES = 3
"""Lines apart at which two places in one function count as the same: calls are written over several lines."""

_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
_COMPREHENSION = re.compile(r"(\.<locals>\.<(?:listcomp|setcomp|dictcomp|genexpr)>)+$")

Place = tuple[str, str]
"""File and qualified function name."""


class Cost(msgspec.Struct, frozen=True):
    """What some lines of an endpoint's accounts cost.

    Attributes:
      seconds: Mean seconds per request, over all requests of the endpoint.
      share_mean: Share of the endpoint's mean response time, 0 to 1.
      share_p99: Share of the response time of its slowest 1 % of requests, 0 to 1.
      hurt: Requests that have such a line.
      count: Mean stretches (for WAITING and CACHE: calls) per request.
    """

    seconds: float = 0.0
    share_mean: float = 0.0
    share_p99: float = 0.0
    hurt: int = 0
    count: float = 0.0

    def severity(self, victims: Mapping[str, int]) -> Severity:
        """Return how much this matters: by its larger share, high when requests of other endpoints waited."""
        share = max(self.share_mean, self.share_p99)
        if share >= HIGH_SHARE or victims:
            return Severity.HIGH
        return Severity.MEDIUM if share >= MEDIUM_SHARE else Severity.LOW

    def scaled(self, factor: float) -> "Cost":
        """Return `factor` (0 to 1) of this cost; the same requests paid it, unless nothing is left."""
        return Cost(
            seconds=self.seconds * factor,
            share_mean=self.share_mean * factor,
            share_p99=self.share_p99 * factor,
            hurt=self.hurt if factor > 0 else 0,
            count=self.count,
        )


class Column:
    """One (kind, site) of an endpoint over its requests: `requests[i]` spent `seconds[i]` there.

    Attributes:
      line: Kind and site with the seconds and stretches of all requests together.
      requests: Positions in the endpoint's `accounts`, ascending.
      seconds: Seconds of each of these requests.
    """

    __slots__ = ("line", "requests", "seconds")

    def __init__(self, line: Line, requests: Sequence[int], seconds: Sequence[float]) -> None:
        self.line = line
        self.requests = requests
        self.seconds = seconds


class EndpointEvidence:
    """The accounts of one endpoint of one service, in order of arrival; not changed after it is built.

    Attributes:
      accounts: By start time.
      responses: Response time of each account, wall plus unread, in seconds.
      slowest: The slowest 1 % of the accounts, at least one, slowest first.
      columns: One for each distinct (kind, site), largest total first.
      mean, p50, p99: Of the response times, in seconds.
    """

    def __init__(self, service: str, endpoint: str, accounts: Iterable[Account]) -> None:
        self.service = service
        self.endpoint = endpoint
        self.accounts: tuple[Account, ...] = tuple(_in_order(accounts))
        self.responses = tuple(account.wall + account.unread for account in self.accounts)
        by_time = sorted(range(len(self.accounts)), key=lambda position: -self.responses[position])
        tail = by_time[: max(1, math.ceil(len(by_time) * 0.01))]
        self.slowest = tuple(self.accounts[position] for position in tail)
        self.mean = math.fsum(self.responses) / len(self.responses)
        self.p50, self.p99 = quantiles(sorted(self.responses), (0.5, 0.99))
        self.columns = tuple(sorted(_columns(self.accounts), key=lambda column: -column.line.seconds))
        self._tail = frozenset(tail)
        self._tail_seconds = math.fsum(self.responses[position] for position in tail)

    @property
    def name(self) -> str:
        """`service endpoint`, as `Finding.victims` names it."""
        return f"{self.service} {self.endpoint}"

    @property
    def lines(self) -> tuple[Line, ...]:
        """Each distinct (kind, site) with its seconds and stretches over all requests, largest first."""
        return tuple(column.line for column in self.columns)

    def cost(self, match: Callable[[Line], bool]) -> Cost:
        """Return what the lines that `match` accepts cost.

        `match` is asked once for each distinct (kind, site); its line holds the totals of all requests.
        """
        return self.cost_of([column for column in self.columns if match(column.line)])

    def cost_of(self, columns: Sequence[Column]) -> Cost:
        """Return what these columns of this endpoint cost together."""
        if not columns:
            return Cost()
        number = len(self.accounts)
        seconds = math.fsum(column.line.seconds for column in columns) / number
        tail = self._tail
        slow = math.fsum(
            spent
            for column in columns
            for position, spent in zip(column.requests, column.seconds, strict=True)
            if position in tail
        )
        return Cost(
            seconds=seconds,
            share_mean=seconds / self.mean if self.mean > 0 else 0.0,
            share_p99=slow / self._tail_seconds if self._tail_seconds > 0 else 0.0,
            hurt=len(set().union(*(column.requests for column in columns))),
            count=sum(column.line.count for column in columns) / number,
        )

    def cost_where(self, seconds: Mapping[int, float], stretches: int = 0) -> Cost:
        """Return the cost of what a rule worked out request by request: seconds by position in `accounts`."""
        line = Line(Kind.UNEXPLAINED, Site(), math.fsum(seconds.values()), stretches or len(seconds))
        return self.cost_of([Column(line, tuple(seconds), tuple(seconds.values()))]) if seconds else Cost()

    def own_time(self, file: str, function: str, lines: Collection[int] | None = None) -> Cost:
        """Return the loop time (computing and blocking) in a function, or on some of its lines.

        The time of the function is exact. Short steps only know the line on which they ended, so the part of
        `lines` is the share of the watchdog's samples in this function that fell on them; without a sample,
        the steps that ended on them.
        """
        own = [column for column in self._at((file, function)) if column.line.kind in OWN]
        if lines is None:
            return self.cost_of(own)
        seen = self.samples.get((file, function))
        if not seen:
            return self.cost_of([column for column in own if column.line.site.line in lines])
        share = sum(times for line, times in seen.items() if line in lines) / sum(seen.values())
        return self.cost_of(own).scaled(share)

    @cached_property
    def samples(self) -> Mapping[Place, Mapping[int, int]]:
        """How often the watchdog saw each line of each function, in this endpoint's own steps."""
        seen: dict[Place, dict[int, int]] = {}
        for account in self.accounts:
            for site, times in account.samples:
                by_line = seen.setdefault(place_of(site), {})
                by_line[site.line] = by_line.get(site.line, 0) + times
        return seen

    @cached_property
    def calls(self) -> Mapping[Site, tuple[tuple[int, str], ...]]:
        """Awaited library calls in order, as (position in `accounts`, identity), by site without its leaf."""
        found: dict[Site, list[tuple[int, str]]] = {}
        places: dict[Site, Site] = {}
        for position, account in enumerate(self.accounts):
            for call in account.calls:
                place = places.get(call.site)
                if place is None:
                    place = places[call.site] = msgspec.structs.replace(call.site, leaf="")
                found.setdefault(place, []).append((position, call.identity))
        return {site: tuple(calls) for site, calls in found.items()}

    @cached_property
    def _by_place(self) -> Mapping[Place, tuple[Column, ...]]:
        places: dict[Place, list[Column]] = {}
        for column in self.columns:
            if column.line.kind not in DELAYED:
                places.setdefault(place_of(column.line.site), []).append(column)
        return {place: tuple(columns) for place, columns in places.items()}

    def _at(self, place: Place) -> tuple[Column, ...]:
        return self._by_place.get(place, ())

    def places(self) -> frozenset[Place]:
        """Return every function in which this endpoint's requests have own lines, samples or calls."""
        called = {place_of(site) for site in self.calls}
        return frozenset(self._by_place) | frozenset(self.samples) | called


class Evidence:
    """All accounts of one or more services, by endpoint; not changed after it is built.

    Attributes:
      endpoints: Largest total response time first.
    """

    def __init__(self, accounts: Iterable[Account]) -> None:
        groups: dict[tuple[str, str], list[Account]] = {}
        for account in accounts:
            groups.setdefault((account.service, account.endpoint), []).append(account)
        found = [EndpointEvidence(service, name, group) for (service, name), group in sorted(groups.items())]
        self.endpoints = tuple(sorted(found, key=lambda endpoint: -math.fsum(endpoint.responses)))

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the services, sorted."""
        return tuple(sorted({endpoint.service for endpoint in self.endpoints}))

    def of_service(self, service: str) -> tuple[EndpointEvidence, ...]:
        """Return the endpoints of one service: those that share its event loop."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.service == service)

    def endpoint(self, service: str, endpoint: str) -> EndpointEvidence | None:
        """Return one endpoint by its names; None when nothing was recorded for it."""
        return self._by_name.get((service, endpoint))

    def visits(self, file: str, function: str) -> tuple[EndpointEvidence, ...]:
        """Return the endpoints whose own lines, samples or calls are in this function."""
        return self._visits.get((file, function), ())

    def victims(self, match: Callable[[Site], bool], payer: EndpointEvidence) -> dict[str, int]:
        """Return by `service endpoint` how many requests waited while a line that `match` accepts held it up.

        Only endpoints that share the loop of `payer` count, and not `payer` itself (see `delayed`).
        """
        found = {
            endpoint.name: self.delayed(match, endpoint).hurt
            for endpoint in self.of_service(payer.service)
            if endpoint is not payer
        }
        return {name: requests for name, requests in found.items() if requests}

    def delayed(self, match: Callable[[Site], bool], endpoint: EndpointEvidence) -> Cost:
        """Return what an endpoint's requests lost (HELD, UNREAD) to holders that `match` accepts."""
        return endpoint.cost(lambda line: line.kind in DELAYED and match(line.site))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], EndpointEvidence]:
        return {(endpoint.service, endpoint.endpoint): endpoint for endpoint in self.endpoints}

    @cached_property
    def _visits(self) -> Mapping[Place, tuple[EndpointEvidence, ...]]:
        found: dict[Place, list[EndpointEvidence]] = {}
        for endpoint in self.endpoints:
            for place in endpoint.places():
                found.setdefault(place, []).append(endpoint)
        return {place: tuple(endpoints) for place, endpoints in found.items()}


def place_of(site: Site) -> Place:
    """Return the file and function of a site.

    A comprehension counts as the function around it: until Python 3.11 (generator expressions: always) it is
    a function of its own.
    """
    function = site.function
    if function.endswith(_COMPREHENSIONS):
        function = _COMPREHENSION.sub("", function)
    return (site.file, function)


def quantiles(ordered: Sequence[float], shares: Iterable[float]) -> list[float]:
    """Return, from ascending values, for each share (0 to 1) the value it does not exceed; 0.0 when empty."""
    last = len(ordered) - 1
    return [ordered[min(last, max(0, math.ceil(share * len(ordered)) - 1))] if ordered else 0.0 for share in shares]


def _in_order(accounts: Iterable[Account]) -> list[Account]:
    """Sort by start; ties stand in the same order however the accounts were read."""
    ordered = sorted(accounts, key=lambda account: account.started)
    for number in range(1, len(ordered)):
        if ordered[number].started == ordered[number - 1].started:
            return sorted(ordered, key=lambda account: (account.started, msgspec.json.encode(account)))
    return ordered


def _columns(accounts: Sequence[Account]) -> Iterable[Column]:
    found: dict[tuple[Kind, Site], tuple[list[int], list[float], list[int]]] = {}
    for position, account in enumerate(accounts):
        for line in account.lines:
            key = (line.kind, line.site)
            column = found.get(key)
            if column is None:
                column = found[key] = ([], [], [])
            column[0].append(position)
            column[1].append(line.seconds)
            column[2].append(line.count)
    for (kind, site), (positions, seconds, counts) in found.items():
        yield Column(Line(kind, site, math.fsum(seconds), sum(counts)), positions, seconds)
