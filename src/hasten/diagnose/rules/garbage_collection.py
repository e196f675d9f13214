"""HS104: the garbage collector stops the process within requests."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from hasten.diagnose._evidence import Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Line, Site

LEAST_SHARE = 0.05
"""Share of an endpoint's mean or p99 from which pauses are worth mending: less is the price of objects."""

LEAST_PAUSED = 3
"""Requests that must have paused, of all or, for the p99, of the slowest 1 %: one alone may be chance."""


class GarbageCollection(Rule):
    """Pauses of the collector, one finding a service: they belong to the process, not to a line."""

    code = "HS104"
    name = "garbage-collection"
    fix = "call gc.collect() and gc.freeze() after start-up, raise gc.set_threshold, allocate less"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Only accounts show pauses."""
        return ()

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield a finding for each service with an endpoint of whose mean or p99 pauses are 5 % or more."""
        for service in evidence.services:
            costs = {endpoint: endpoint.cost(_is_pause) for endpoint in evidence.of_service(service)}
            paying = [endpoint for endpoint, cost in costs.items() if _matters(endpoint, cost)]
            if paying:
                worst = max(paying, key=lambda endpoint: costs[endpoint].seconds * len(endpoint.accounts))
                yield self._finding(worst, costs)

    def _finding(self, worst: EndpointEvidence, costs: dict[EndpointEvidence, Cost]) -> Finding:
        cost, site = costs[worst], _place(worst)
        others = {other.name: costs[other].hurt for other in costs if other is not worst and costs[other].hurt}
        found = finding(
            self,
            worst,
            cost,
            (site.file, site.line, site.function),
            title="Garbage collection pauses requests",
            proof=f"the collector ran within {cost.hurt} of {len(worst.accounts)} requests, "
            f"{milliseconds(_longest(worst))} in one of them; most of it fell on this line",
        )
        return msgspec.structs.replace(found, victims=others)  # they collected themselves: no stall


def _is_pause(line: Line) -> bool:
    return line.kind is Kind.COLLECTING


def _matters(endpoint: EndpointEvidence, cost: Cost) -> bool:
    if cost.hurt < LEAST_PAUSED or not _place(endpoint).file:
        return False
    slow = sum(any(_is_pause(line) for line in account.lines) for account in endpoint.slowest)
    return cost.share_mean >= LEAST_SHARE or (cost.share_p99 >= LEAST_SHARE and slow >= LEAST_PAUSED)


def _place(endpoint: EndpointEvidence) -> Site:
    """Return the user's line on which most collecting fell, else most computing; empty without any."""
    for kind in (Kind.COLLECTING, Kind.COMPUTING):
        sums: dict[tuple[str, int, str], float] = {}
        for line in endpoint.lines:
            if line.kind is kind and line.site.file:
                key = (line.site.file, line.site.line, line.site.function)
                sums[key] = math.fsum((sums.get(key, 0.0), line.seconds))
        if sums:
            file, number, function = max(sums, key=lambda key: (sums[key], key))
            return Site(file=file, line=number, function=function)
    return Site()


def _longest(endpoint: EndpointEvidence) -> float:
    return max(
        math.fsum(line.seconds for line in account.lines if line.kind is Kind.COLLECTING)
        for account in endpoint.accounts
    )
