"""HS201: functions wait for a thread because the pool has none left."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from hasten.diagnose._evidence import EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Site

SHORTEST_QUEUE = 0.010
"""Seconds in the queue from which the pool was short of threads: a free thread takes a function within 1 ms,
or within two of the interpreter's 5 ms turns when other threads compute."""

LEAST_QUEUED = 3
"""Requests that must have queued: one alone may be the operating system's doing."""


LEAST_BUSY = 4
"""Functions that ran in threads at once: the smallest pool, asyncio's on one core, has 5. With fewer running,
a thread was free and the machine had no core for it."""


class ThreadPoolQueue(Rule):
    """Time between handing a function to the thread pool and its start."""

    code = "HS201"
    name = "thread-pool-queue"
    fix = "make it async, or raise anyio.to_thread.current_default_thread_limiter().total_tokens above 40"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Only accounts show a queue."""
        return ()

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield one finding for each function and endpoint that queued for a thread."""
        for service in evidence.services:
            endpoints = evidence.of_service(service)
            busiest = _most_at_once(endpoints)
            for endpoint in endpoints if busiest >= LEAST_BUSY else ():
                for site, waits in _queues(endpoint).items():
                    if len(waits) >= LEAST_QUEUED:
                        yield self._finding(endpoint, site, waits, busiest)

    def _finding(self, endpoint: EndpointEvidence, site: Site, waits: dict[int, float], busiest: int) -> Finding:
        cost = endpoint.cost_where(waits)
        return finding(
            self,
            endpoint,
            cost,
            (site.file, site.line, site.function),
            title="Requests queue for a thread of the pool",
            proof=f"{cost.hurt} of {len(endpoint.accounts)} requests waited {milliseconds(SHORTEST_QUEUE)} "
            f"or more for a thread, {milliseconds(max(waits.values()))} at most; "
            f"up to {busiest} functions ran in threads at once",
        )


def _queues(endpoint: EndpointEvidence) -> dict[Site, dict[int, float]]:
    """Return by function handed over the seconds that each request queued, where it queued for long."""
    found: dict[Site, dict[int, float]] = {}
    for column in endpoint.columns:
        site = column.line.site
        if column.line.kind is not Kind.THREAD_QUEUED or not site.file:
            continue
        place = Site(file=site.file, line=site.line, function=site.function)
        waits = found.setdefault(place, {})
        for position, seconds in zip(column.requests, column.seconds, strict=True):
            if seconds >= SHORTEST_QUEUE:
                waits[position] = waits.get(position, 0.0) + seconds
    return found


def _most_at_once(endpoints: Iterable[EndpointEvidence]) -> int:
    """Return how many functions ran in threads at the same time, at most, on the critical paths."""
    changes: list[tuple[float, int]] = []
    for endpoint in endpoints:
        for account in endpoint.accounts:
            now = account.started
            for index, seconds in account.timeline:
                if account.lines[index].kind is Kind.THREAD:
                    changes += ((now, 1), (now + seconds, -1))
                now += seconds
    changes.sort()
    return max(accumulate(change for _, change in changes), default=0)
