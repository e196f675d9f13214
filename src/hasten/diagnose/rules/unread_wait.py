"""HS103: requests wait, unread in the kernel or ready to go on, while one line holds the event loop.

A line that is another finding's own takes these requests as its victims; what stays is held by code that no
account owns: a background task, a callback, a start-up job.
"""

from collections.abc import Iterable, Sequence

from hasten.diagnose._evidence import DELAYED, Cost, EndpointEvidence, Evidence, Place, place_of
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Site

SHORTEST_WAIT = 0.008
"""Mean seconds of a wait from which it counts: the kernel's clock for unread bytes has steps of 4 ms."""


class UnreadWait(Rule):
    """Time that requests lost to another's hold of the loop, at the holder's line."""

    code = "HS103"
    name = "unread-wait"
    fix = "give way (await asyncio.sleep(0)) inside long work, or move it off the event loop"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Only accounts show who waited."""
        return ()

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield one finding for each function that held the loop, at the endpoint that lost most to it."""
        for service in evidence.services:
            endpoints = evidence.of_service(service)
            for place, by_line in sorted(_holders(endpoints).items()):
                line = max(by_line, key=lambda number: (by_line[number], -number))
                yield self._finding(evidence, endpoints, place, line)

    def _finding(self, evidence: Evidence, endpoints: Sequence[EndpointEvidence], place: Place, line: int) -> Finding:
        def holder(site: Site) -> bool:
            return place_of(site) == place

        lost = {endpoint: evidence.delayed(holder, endpoint) for endpoint in endpoints}
        worst = max(endpoints, key=lambda endpoint: lost[endpoint].seconds * len(endpoint.accounts))
        cost = lost[worst]
        return finding(
            self,
            worst,
            cost,
            (place[0], line, place[1]),
            title="Requests wait while this line holds the event loop",
            proof=_proof(cost, worst, _unread(worst, place)),
            victims=evidence.victims(holder, worst),
        )


def _unread(endpoint: EndpointEvidence, place: Place) -> Cost:
    """Return what requests of `endpoint` lost unread in the kernel while `place` held the loop."""
    return endpoint.cost(lambda line: line.kind is Kind.UNREAD and place_of(line.site) == place)


def _holders(endpoints: Sequence[EndpointEvidence]) -> dict[Place, dict[int, float]]:
    """Return the functions that held the loop, with the seconds that requests lost to each of their lines."""
    found: dict[Place, dict[int, float]] = {}
    stretches: dict[Place, int] = {}
    for endpoint in endpoints:
        for line in endpoint.lines:
            if line.kind in DELAYED and line.site.file:
                place = place_of(line.site)
                lines = found.setdefault(place, {})
                lines[line.site.line] = lines.get(line.site.line, 0.0) + line.seconds
                stretches[place] = stretches.get(place, 0) + line.count
    return {place: lines for place, lines in found.items() if sum(lines.values()) >= SHORTEST_WAIT * stretches[place]}


def _proof(cost: Cost, endpoint: EndpointEvidence, unread: Cost) -> str:
    mean = cost.seconds * len(endpoint.accounts) / cost.hurt if cost.hurt else 0.0
    kernel = f"; {unread.hurt} of them lay unread in the kernel" if unread.hurt else ""
    return (
        f"{cost.hurt} of {len(endpoint.accounts)} requests waited {milliseconds(mean)} each for the event "
        f"loop while the watchdog saw it here{kernel}"
    )
