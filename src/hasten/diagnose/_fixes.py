"""What mending a finding does to a request's critical path, for the replay: pure, one function for each fix."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hasten.diagnose._cause import (
    Cause,
    connecting_match,
    framework_time,
    loop_tiers,
    only,
    outside,
    removed,
    rewritten,
    shares,
    shortened,
    thread_match,
    wait_match,
)
from hasten.diagnose._evidence import OWN, Place, place_of
from hasten.diagnose._replay import ON_LOOP, Fix, Segment, segments
from hasten.diagnose._rule import Candidate
from hasten.diagnose.rules.long_step import SERIALISATION
from hasten.diagnose.rules.repeated_call import repetition_at
from hasten.ledger import Account, Kind, Site

HAND_OVER = 0.0002
"""Seconds to hand a function to a thread and its result back (measured: 0.1 to 0.3 ms on an idle pool)."""

LEAN_CLIENT = 1 / 8
"""CPU of a lean client relative to httpx (measured: 8 to 9 times less)."""

LONGEST_YOUNG_COLLECTION = 0.001
"""Seconds; longer pauses are full collections, which frozen start-up objects no longer pay for."""

SHORT_FUNCTION = 0.001
"""Seconds in a thread up to which a function is better run on the loop itself."""


def fix_for(cause: Cause) -> Fix | None:
    """Return what mending `cause` does to a request; None where a replay cannot say."""
    build = _FIXES.get(cause.finding.code)
    return build(cause) if build else None


def _off_loop(cause: Cause) -> Fix:
    """The time goes on in a thread or process: a wait of the same length and a hand-over."""

    def moved(segment: Segment, seconds: float) -> list[Segment]:
        if seconds < HAND_OVER:
            return [segment]
        left = segment._replace(seconds=segment.seconds - seconds)
        return [left, Segment(Kind.THREAD, segment.site, seconds + HAND_OVER)]

    tiers = (framework_time,) if cause.finding.title == SERIALISATION else loop_tiers(cause)
    return rewritten(shares(cause, cause.finding.seconds, tiers), moved)


def _without_pauses(cause: Cause) -> Fix:
    def kept(segment: Segment, _: float) -> list[Segment]:
        return [segment] if segment.seconds < LONGEST_YOUNG_COLLECTION else []

    return rewritten(only(lambda kind, _: kind is Kind.COLLECTING), kept)


def _without_queue(cause: Cause) -> Fix:
    """Every function finds a thread at once."""
    return rewritten(only(thread_match(cause, Kind.THREAD_QUEUED)), removed)


def _on_loop(cause: Cause) -> Fix:
    """A short function runs on the loop: no queue, no hop.

    Threads compete for the interpreter's lock, so the least time seen is the nearest to the function's own.
    """
    runs = thread_match(cause, Kind.THREAD)
    times = [
        seconds
        for column in cause.endpoint.columns
        if runs(column.line.kind, column.line.site)
        for seconds in column.seconds
    ]
    own = min(times, default=0.0)
    if own > SHORT_FUNCTION:
        return _without_queue(cause)

    def inline(segment: Segment, _: float) -> list[Segment]:
        queue = segment.kind is Kind.THREAD_QUEUED
        return [] if queue else [Segment(Kind.COMPUTING, segment.site, min(own, segment.seconds))]

    queues = thread_match(cause, Kind.THREAD_QUEUED)
    return rewritten(only(lambda kind, site: runs(kind, site) or queues(kind, site)), inline)


def _batched(cause: Cause) -> Fix | None:
    """All calls at the site become one, which waits as long as one of them does on average.

    Assumes that the batch costs the callee no more than a single call; its answer's own time is the last
    call's.
    """
    waits = wait_match(cause)
    if not cause.endpoint.cost(lambda line: waits(line.kind, line.site)).hurt:
        return None  # blocking calls: the account does not tell one from the next

    def fix(account: Account) -> list[Segment] | None:
        calls = sum(line.count for line in account.lines if waits(line.kind, line.site))
        if calls < 2:
            return None
        path = segments(account)
        at = [number for number, segment in enumerate(path) if waits(segment.kind, segment.site)]
        return _one_call(path, at, calls) if at else None

    return fix


def _one_call(path: list[Segment], at: Sequence[int], calls: int) -> list[Segment]:
    """Return `path` with the waits at positions `at` as one; loop time that follows all but the last goes."""
    total = math.fsum(path[number].seconds for number in at)
    batch = path[at[0]]._replace(seconds=total / calls)
    result = path[: at[0]]
    after_call = False
    chosen = frozenset(at)
    for number in range(at[0], at[-1]):
        segment = path[number]
        if number in chosen:
            after_call = True
        elif segment.kind not in ON_LOOP:
            after_call = False
            result.append(segment)
        elif not after_call:
            result.append(segment)
    return [*result, batch, *path[at[-1] + 1 :]]


def _concurrent(cause: Cause) -> Fix:
    """Only the longest of the independent waits counts; all own time stays.

    Without the lines of the awaits the finding's seconds are taken from all waits in proportion.
    """
    awaits = Counter(_awaits(cause.candidate)) if cause.candidate else Counter()
    if awaits.total() < 2:
        return rewritten(shares(cause, cause.finding.seconds, [outside]), shortened)

    def fix(account: Account) -> list[Segment] | None:
        path = segments(account)
        of = [next((each for each in awaits if each.matches(kind, site)), None) for kind, site, _ in path]
        waits: dict[_Await, float] = {}
        for each, segment in zip(of, path, strict=True):
            if each is not None:
                # Awaits that lead to the same function cannot be told apart: each counts as an equal part.
                waits[each] = waits.get(each, 0.0) + segment.seconds / awaits[each]
        if sum(awaits[each] for each in waits) < 2:
            return None
        longest = max(waits, key=lambda each: waits[each])
        return [
            segment if each is None else segment._replace(seconds=segment.seconds / awaits[each])
            for each, segment in zip(of, path, strict=True)
            if each is None or each == longest
        ]

    return fix


class _Await(NamedTuple):
    """One await of a function: on a line of it, or in the functions it leads to."""

    place: Place
    line: int
    runs: frozenset[Place]

    def matches(self, kind: Kind, site: Site) -> bool:
        if not outside(kind, site):
            return False
        where = place_of(site)
        return where in self.runs if self.runs else where == self.place and site.line == self.line


def _awaits(candidate: Candidate) -> Iterator[_Await]:
    place = (candidate.file, candidate.function)
    for number, line in enumerate(candidate.lines):
        runs = frozenset(candidate.runs[number]) if number < len(candidate.runs) else frozenset[Place]()
        yield _Await(place, 0 if runs else line, runs)


def _cached(cause: Cause) -> Fix | None:
    """Calls that a cache would have answered no longer wait: each request's own share of hits."""
    waits = wait_match(cause)
    answered: dict[int, float] = {}
    endpoints = cause.evidence.of_service(cause.finding.service)
    for site in {site for endpoint in endpoints for site in endpoint.calls if waits(Kind.WAITING, site)}:
        for endpoint, hits in repetition_at(site, endpoints).answered.items():
            answered.update((id(endpoint.accounts[position]), share) for position, share in hits.items())

    def fix(account: Account) -> list[Segment] | None:
        share = answered.get(id(account))
        if not share:
            return None
        lines = account.lines
        left = [1.0 - share if waits(line.kind, line.site) else 1.0 for line in lines]
        return [
            Segment(lines[index].kind, lines[index].site, seconds * left[index]) for index, seconds in account.timeline
        ]

    return fix if answered else None


def _one_client(cause: Cause) -> Fix:
    """The client is there already: no time to make it, none to connect it."""
    near, function = loop_tiers(cause)
    tiers = [near, wait_match(cause), connecting_match(cause), function]
    return rewritten(shares(cause, cause.finding.seconds, tiers), shortened)


def _lean_client(cause: Cause) -> Fix:
    seconds = cause.finding.seconds * (1.0 - LEAN_CLIENT)
    return rewritten(shares(cause, seconds, loop_tiers(cause)), shortened)


def _validated_once(cause: Cause) -> Fix:
    """Half of what the framework does to a response: the other half encodes it."""
    tiers = [framework_time, *loop_tiers(cause)]
    return rewritten(shares(cause, cause.finding.seconds * 0.5, tiers), shortened)


def _pure_asgi(cause: Cause) -> Fix | None:
    """The middleware's own code stays; what BaseHTTPMiddleware does around it goes."""

    def wraps(kind: Kind, site: Site) -> bool:
        return kind in OWN and "BaseHTTPMiddleware" in site.library

    if not cause.endpoint.cost(lambda line: wraps(line.kind, line.site)).hurt:
        return None
    return rewritten(only(wraps), removed)


_FIXES: Mapping[str, Callable[[Cause], Fix | None]] = {
    "HS101": _off_loop,
    "HS102": _off_loop,
    "HS104": _without_pauses,
    "HS201": _without_queue,
    "HS202": _on_loop,
    "HS301": _batched,
    "HS302": _concurrent,
    "HS303": _one_client,
    "HS304": _cached,
    "HS306": _lean_client,
    "HS401": _pure_asgi,
    "HS402": _validated_once,
}
"""By code. Not here: an unread wait goes with its holder (HS103), what is left of a lock depends on how it is
mended (HS203), a timeout changes nothing while the callee answers (HS305)."""
