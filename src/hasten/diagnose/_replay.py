"""Replays the recorded requests of one service on a simulated event loop, as they were or after a fix.

The model: one loop that serves steps in the order in which they become ready. A request arrives when its
bytes did (start less unread time) and alternates loop time (computing, blocking, preempted, collecting) with
waits as they were recorded. What others cost it (held, queued, unread) is not replayed: it arises again. So a
step that a fix takes away also frees the requests behind it.

Left out, on both sides of a comparison: loop time that belongs to no request, what waits would become under
another load, more than one process. Against real fixes the median came within 18 %, the p99 only roughly:
hence a range.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from typing import NamedTuple

from hasten.diagnose._evidence import OWN, EndpointEvidence, quantiles
from hasten.diagnose._finding import Prediction
from hasten.ledger import Account, Kind, Site

ON_LOOP = OWN | {Kind.PREEMPTED, Kind.COLLECTING}
"""Kinds in which a request keeps the loop busy itself."""

ARISING = frozenset({Kind.HELD, Kind.QUEUED, Kind.UNREAD})
"""Kinds that the simulation brings forth again."""

MOST_SEGMENTS = 60_000
"""Stretches replayed for one service, at most: 0.2 s of CPU a fix. Of more, the middle of the recording is
taken, whole and in order, since requests queue behind their neighbours."""

_TWO_SIDED_95 = 1.96


class Segment(NamedTuple):
    """A stretch of a request's critical path."""

    kind: Kind
    site: Site
    seconds: float


_Arrival = tuple[float, int, int, Account]

Fix = Callable[[Account], list[Segment] | None]
"""What a request's critical path is after a fix; None when the fix does not touch this request."""


class Replay:
    """The recorded requests of one service; prepared once, replayed once for each fix."""

    def __init__(self, endpoints: Iterable[EndpointEvidence]) -> None:
        self._endpoints = tuple(endpoints)
        arriving = [
            (account.started - account.unread, number, position, account)
            for number, endpoint in enumerate(self._endpoints)
            for position, account in enumerate(endpoint.accounts)
        ]
        arriving.sort(key=lambda entry: entry[:3])
        arriving = _window(arriving)
        self._accounts = [account for _, _, _, account in arriving]
        self._request = [(number, position) for _, number, position, _ in arriving]
        self._arrivals = [arrival for arrival, _, _, _ in arriving]
        self._steps = [steps(segments(account)) for account in self._accounts]
        self._before = simulate(self._arrivals, self._steps)

    def responses(self, endpoint: EndpointEvidence, fix: Fix | None = None) -> list[float]:
        """Return the seconds each replayed request of an endpoint takes, in the order of its accounts."""
        return self._of(endpoint, self._before if fix is None else self._after(fix))

    def predict(self, endpoint: EndpointEvidence, fix: Fix) -> Prediction | None:
        """Return what `fix` would do to the response times of `endpoint`; None where none of it is replayed.

        The p99 range spans its 95 % interval by order statistics, as replayed and as stretched by what the
        unchanged replay missed of the recorded p99.
        """
        before = sorted(self.responses(endpoint))
        if not before:
            return None
        after = sorted(self.responses(endpoint, fix))
        identity_p50, identity_p99 = quantiles(before, (0.5, 0.99))
        missed = endpoint.p99 / identity_p99 if identity_p99 > 0 else 1.0
        gained = quantiles(after, (0.5,))[0] / identity_p50 if identity_p50 > 0 else 1.0
        low, high = quantile_interval(after, 0.99)
        return Prediction(
            p50_before=endpoint.p50,
            p50_after=endpoint.p50 * min(1.0, gained),
            p99_after_low=min(low, low * missed),
            p99_after_high=max(high, high * missed),
        )

    def _after(self, fix: Fix) -> list[float]:
        changed = [fix(account) for account in self._accounts]
        plans = [
            recorded if segment is None else steps(segment)
            for segment, recorded in zip(changed, self._steps, strict=True)
        ]
        return simulate(self._arrivals, plans)

    def _of(self, endpoint: EndpointEvidence, responses: Sequence[float]) -> list[float]:
        wanted = self._endpoints.index(endpoint)
        found = [
            (position, response)
            for (number, position), response in zip(self._request, responses, strict=True)
            if number == wanted
        ]
        return [response for _, response in sorted(found)]


def _window(arriving: list[_Arrival]) -> list[_Arrival]:
    """Return the requests in the middle whose stretches are MOST_SEGMENTS or a few less."""
    lengths = list(accumulate(len(account.timeline) for *_, account in arriving))
    surplus = lengths[-1] - MOST_SEGMENTS if lengths else 0
    if surplus <= 0:
        return arriving
    first = bisect_left(lengths, surplus / 2)
    return arriving[first + 1 : bisect_right(lengths, lengths[first] + MOST_SEGMENTS)]


def segments(account: Account) -> list[Segment]:
    """Return the critical path of `account` in order."""
    lines = account.lines
    return [
        Segment(lines[index].kind, lines[index].site, seconds) for index, seconds in account.timeline if seconds > 0
    ]


def steps(path: Iterable[Segment]) -> list[float]:
    """Return loop time, wait, loop time, ..., loop time, in seconds; neighbours of one sort are added up.

    Between two stretches of loop time with a hold or a turn of others between them stands a wait of 0:
    there the request queues again.
    """
    plan = [0.0]
    gave_way = False
    for kind, _, seconds in path:
        if kind in ARISING:
            gave_way = True
            continue
        on_loop = kind in ON_LOOP
        last_on_loop = len(plan) % 2 == 1
        if on_loop and last_on_loop and gave_way:
            plan += (0.0, seconds)
        elif on_loop == last_on_loop:
            plan[-1] += seconds
        else:
            plan.append(seconds)
        gave_way = False
    if len(plan) % 2 == 0:
        plan.append(0.0)
    return plan


def simulate(arrivals: Sequence[float], plans: Sequence[Sequence[float]]) -> list[float]:
    """Return the response time of each request on one loop that serves steps first come, first served.

    Args:
      arrivals: Seconds, ascending.
      plans: For each request its loop times and waits in turn, as `steps` makes them.
    """
    number = len(arrivals)
    responses = [0.0] * number
    position = [1] * number
    suspended: list[tuple[float, int, int]] = []  # ready at, order, request: only requests in flight, so it is small
    arrived = order = 0
    free = -math.inf
    while arrived < number or suspended:
        if suspended and (arrived == number or suspended[0][0] <= arrivals[arrived]):
            ready, _, request = heappop(suspended)
        else:
            ready, request = arrivals[arrived], arrived
            arrived += 1
        plan = plans[request]
        following = position[request]
        free = (ready if ready > free else free) + plan[following - 1]
        if following < len(plan):
            order += 1
            position[request] = following + 2
            heappush(suspended, (free + plan[following], order, request))
        else:
            responses[request] = free - arrivals[request]
    return responses


def quantile_interval(ordered: Sequence[float], share: float) -> tuple[float, float]:
    """Return the 95 % interval of a quantile of ascending values, by order statistics."""
    if not ordered:
        return 0.0, 0.0
    number = len(ordered)
    reach = _TWO_SIDED_95 * math.sqrt(number * share * (1 - share))
    low = min(number - 1, max(0, math.floor(number * share - reach)))
    high = min(number - 1, math.ceil(number * share + reach))
    return ordered[low], ordered[high]
