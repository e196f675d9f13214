"""Adds up what a capture has recorded and seen: seconds by endpoint, kind and stack.

Seconds come from the records, stacks from looks. The own code of steps that ended at one await is a pool of exact
seconds, which the looks at those steps divide among their stacks: so neither how often a step was looked at nor how
late changes what an endpoint has used, and what was never seen stays at the function that awaited.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

import msgspec

from hasten.ledger._account import Kind
from hasten.ledger._attribution import BLOCKING, COLLECTING, COMPUTING, KIND_OF, KINDS, PREEMPTED, THREAD
from hasten.ledger._records import STRIDE, TaskRecord
from hasten.ledger._sampler import Look, Outside
from hasten.ledger._sites import OWN, START, YIELDED
from hasten.ledger._stacks import StackFrame, StackTable, StackTask

MOST_ENDPOINTS = 200
_MOST_UNMATCHED = 50
_OTHER = "other"
_OWN_KINDS = frozenset({COMPUTING, BLOCKING, PREEMPTED})
_LOOPS: tuple[StackFrame, ...] = (("(the loop and the server)", "", 0),)
Part = tuple[str, int, tuple[StackFrame, ...], float, int]
"""Endpoint, kind, frames, seconds, count."""
Looks = dict[tuple[int, bool], int]
"""Ticks by stack, and whether the thread was blocked."""


class CapturedStack(msgspec.Struct, frozen=True, gc=False):
    """Seconds of one kind that requests of an endpoint spent in a stack, and how many looks or stretches these are.

    Attributes:
      endpoint: Empty for what was seen outside of requests.
    """

    endpoint: str
    kind: Kind
    frames: tuple[StackFrame, ...]
    seconds: float
    count: int


class _Endpoint:
    __slots__ = ("answered", "counts", "looks", "seconds", "threads")

    def __init__(self) -> None:
        self.answered = 0
        self.seconds: dict[int, float] = {}
        self.counts: dict[int, int] = {}
        self.looks: dict[int, Looks] = {}  # by the site at which the steps ended
        self.threads: dict[int, Looks] = {}  # by the function that was handed over


class Tally:
    """What a capture has found so far.

    Args:
      interval: Seconds that a tick stands for.
    """

    def __init__(self, table: StackTable, interval: float) -> None:
        self._table = table
        self._interval = interval
        self._endpoints: dict[str, _Endpoint] = {}
        self._named: set[str] = set()
        self._unmatched = 0
        self._outside: dict[tuple[str, int, bool], int] = {}

    def name(self, endpoint: str, *, matched: bool) -> str:
        """Return by which name an endpoint is added up: of more than 200 those that come last are one.

        Args:
          matched: A route has matched; else it is a path that somebody asked for, and the last of 50 are one.
        """
        if endpoint in self._named:
            return endpoint
        if len(self._named) >= MOST_ENDPOINTS or (not matched and self._unmatched >= _MOST_UNMATCHED):
            return _OTHER
        self._named.add(endpoint)
        self._unmatched += not matched
        return endpoint

    def _endpoint(self, name: str) -> _Endpoint:
        found = self._endpoints.get(name)
        if found is None:
            found = self._endpoints[name] = _Endpoint()
        return found

    def add(self, endpoint: str, lines: Iterable[tuple[int, float, int]], *, answered: bool = True) -> None:
        """Add a request's lines: key (see `_attribution`), seconds and count."""
        one = self._endpoint(endpoint)
        one.answered += answered
        for key, seconds, count in lines:
            one.seconds[key] = one.seconds.get(key, 0.0) + seconds
            one.counts[key] = one.counts.get(key, 0) + count

    def add_looks(
        self, endpoint: str, tasks: Iterable[TaskRecord], end: float, own_site: Callable[[TaskRecord, int], int]
    ) -> None:
        """Add what was seen of a request's steps until `end`; `own_site` returns at which site a step has ended."""
        one = self._endpoint(endpoint)
        for task in tasks:
            if isinstance(task, StackTask) and task.looks:
                resumed = task.steps[1::STRIDE]
                for look in task.looks:
                    index = bisect_right(resumed, look.when) - 1
                    if index >= 0 and look.when <= min(end, task.steps[index * STRIDE + 2]):
                        _count(one.looks.setdefault(own_site(task, index), {}), look)

    def add_thread_looks(self, endpoint: str, site: int, looks: Iterable[Look]) -> None:
        """Add what was seen of a function that a request had handed to a thread."""
        seen = self._endpoint(endpoint).threads.setdefault(site, {})
        for look in looks:
            _count(seen, look)

    def add_outside(self, endpoint: str, seen: Outside) -> None:
        """Add what was seen outside of records; `endpoint` is of the request that it is for, if that is known."""
        if seen.blocked and not self._table.users(seen.stack):
            return  # a loop that waits in a way that the table does not know
        key = endpoint, seen.stack, seen.blocked
        self._outside[key] = self._outside.get(key, 0) + seen.ticks

    def answered(self) -> dict[str, int]:
        """Return how many requests of each endpoint were added whole."""
        return {name: one.answered for name, one in self._endpoints.items() if one.answered}

    def outside(self) -> float:
        """Return the seconds seen outside of records."""
        return self._interval * sum(self._outside.values())

    def stacks(self, cpu: float = 0.0) -> list[CapturedStack]:
        """Return all stacks, those of the same frames as one, the most seconds first.

        Args:
          cpu: Seconds that the loop's thread has used in all, 0.0 where that is not known: more is not computed, and
            what no stack has of it is the loop's and the server's.
        """
        sums: dict[tuple[str, int, tuple[StackFrame, ...]], list[float]] = {}
        parts = list(self._parts())
        for endpoint, kind, frames, seconds, count in (*parts, *self._parts_outside(cpu, parts)):
            total = sums.setdefault((endpoint, kind, frames), [0.0, 0.0])
            total[0] += seconds
            total[1] += count
        found = [
            CapturedStack(endpoint, KIND_OF[kind], frames, seconds, max(1, round(count)))
            for (endpoint, kind, frames), (seconds, count) in sums.items()
            if seconds > 0.0
        ]
        found.sort(key=lambda stack: -stack.seconds)
        return found

    def _parts(self) -> Iterator[Part]:
        for name, one in list(self._endpoints.items()):
            for kind, site, seconds, count in _shares(one, self._interval):
                yield name, kind, self._frames(kind, site), seconds, count

    def _parts_outside(self, cpu: float, parts: Iterable[Part]) -> Iterator[Part]:
        """Yield what was seen outside of records, and what is left of the thread's CPU time."""
        room = cpu - sum(seconds for _, kind, _, seconds, _ in parts if kind in (COMPUTING, COLLECTING))
        outside = list(self._outside.items())
        computing = self._interval * sum(ticks for (_, _, blocked), ticks in outside if not blocked)
        share = max(0.0, min(1.0, room / computing)) if cpu and computing else 1.0
        for (endpoint, stack, blocked), ticks in outside:
            seconds = ticks * self._interval * (1.0 if blocked else share)
            yield endpoint, BLOCKING if blocked else COMPUTING, self._table.frames(stack), seconds, ticks
        if cpu:
            yield "", COMPUTING, _LOOPS, room - computing * share, 1

    def _frames(self, kind: int, site: int) -> tuple[StackFrame, ...]:
        frames = self._table.frames(site) if site not in (START, YIELDED, OWN) else ()
        if frames:
            return frames
        if kind == COLLECTING:
            return (("(garbage collection)", "", 0),)
        return (("(its turn on the loop)" if site in (START, YIELDED) else "(not seen)", "", 0),)


def _count(looks: Looks, look: Look) -> None:
    key = look.stack, look.blocked
    looks[key] = looks.get(key, 0) + look.ticks


def _shares(one: _Endpoint, interval: float) -> Iterator[tuple[int, int, float, int]]:
    """Yield kind, site, seconds and count: pools of own code and of threads are divided by what was seen."""
    own: set[int] = set()
    for key, seconds in one.seconds.items():
        kind, site = key % KINDS, key // KINDS
        if kind in _OWN_KINDS:
            own.add(site)
        elif kind == THREAD:
            yield from _divided(kind, site, seconds, one.counts[key], one.threads.get(site, {}))
        else:
            yield kind, site, seconds, one.counts[key]
    for site in own:
        yield from _own(one, site, interval)


def _own(one: _Endpoint, site: int, interval: float) -> Iterator[tuple[int, int, float, int]]:
    """Yield the shares of the own code of the steps that ended at `site`."""
    seconds, counts = one.seconds, one.counts
    key = site * KINDS
    looks = one.looks.get(site, {})
    blocked = {seen: ticks for seen, ticks in looks.items() if seen[1]}
    at_work = {seen: ticks for seen, ticks in looks.items() if not seen[1]} or looks
    off = seconds.get(key + BLOCKING, 0.0)
    blocking = _asleep(off, interval, sum(blocked.values())) if looks else off
    preempted = seconds.get(key + PREEMPTED, 0.0) + off - blocking
    for kind, spent, seen in (
        (COMPUTING, seconds.get(key + COMPUTING, 0.0), at_work),
        (BLOCKING, blocking, blocked),
        (PREEMPTED, preempted, at_work),
    ):
        yield from _divided(kind, site, spent, counts.get(key + kind, 1), seen)


def _asleep(off: float, interval: float, ticks: int) -> float:
    """Return how much of the time off the CPU, that the kernel did not take, a step slept, by how often it was seen to.

    In the rest it waited for the interpreter's lock, which other threads had, the sampler's for one: of that the clocks
    do not know. They are believed while the ticks, whose number is Poisson's, are within two deviations of them.
    """
    seen = ticks * interval
    return off if off <= seen + 2.0 * math.sqrt(ticks) * interval else seen


def _divided(kind: int, site: int, seconds: float, count: int, looks: Looks) -> Iterator[tuple[int, int, float, int]]:
    """Divide seconds among the stacks that were seen, by ticks; they are all the site's where nothing was."""
    if seconds <= 0.0:
        return
    whole = sum(looks.values())
    if not whole:
        yield kind, site, seconds, count
    for (stack, _), ticks in looks.items():
        yield kind, (site if stack == OWN else stack), seconds * ticks / whole, ticks
