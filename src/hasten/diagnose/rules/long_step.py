"""HS102: own code computes so long in one step that every other request of the process waits."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from hasten.diagnose._evidence import EndpointEvidence, Evidence, Place, place_of
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Account, Kind, Site

LONGEST_STEP = 0.020
"""Seconds in one step from which it is long: the watchdog's threshold, and more than most requests take."""

_STEP = frozenset({Kind.COMPUTING, Kind.COLLECTING})
SERIALISERS = ("fastapi.", "pydantic", "starlette.", "json.", "orjson.", "msgspec.")

_LESS_RESPONSE = "return a smaller response, or a Response with bytes that are already encoded"

SERIALISATION = "Building the response computes for long on the event loop"
"""Title where the time went into the framework's own serialisation, after the named function returned."""


class _Spent(NamedTuple):
    """Long steps in one function: seconds by request, by line, and the longest of them."""

    by_request: dict[int, float]
    by_line: dict[int, float]
    longest: float
    after: bool


class LongStep(Rule):
    """Computing of 20 ms or more in one step; calls that sleep are the blocking-call rule's."""

    code = "HS102"
    name = "long-step"
    fix = "compute less or ahead of time, keep the result, or run it in a process pool: run_in_executor"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Only accounts tell how long a step takes."""
        return ()

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield one finding for each function and endpoint with long steps."""
        for endpoint in evidence.endpoints:
            for place, spent in _long_steps(endpoint).items():
                yield self._finding(evidence, endpoint, place, spent)

    def _finding(self, evidence: Evidence, endpoint: EndpointEvidence, place: Place, spent: _Spent) -> Finding:
        file, function = place
        line = max(spent.by_line, key=lambda number: (spent.by_line[number], -number))
        cost = endpoint.cost_where(spent.by_request)

        def holder(site: Site) -> bool:
            if spent.after:  # serialisation has no user code on its stack, so neither has the holder's site
                return not site.file and site.library.startswith(SERIALISERS)
            return place_of(site) == place

        found = finding(
            self,
            endpoint,
            cost,
            (file, line, function),
            title=SERIALISATION if spent.after else "A long computation holds the event loop",
            proof=f"{cost.hurt} of {len(endpoint.accounts)} requests computed {milliseconds(LONGEST_STEP)} "
            f"or more in one step, {milliseconds(spent.longest)} at most, with the thread on the CPU",
            victims=evidence.victims(holder, endpoint),
        )
        return msgspec.structs.replace(found, fix=_LESS_RESPONSE) if spent.after else found


def _long_steps(endpoint: EndpointEvidence) -> dict[Place, _Spent]:
    found: dict[Place, _Spent] = {}
    for position, account in enumerate(endpoint.accounts):
        if sum(line.seconds for line in account.lines if line.kind is Kind.COMPUTING) < LONGEST_STEP:
            continue
        for step, before in _steps(account):
            _add(found, position, step, before)
    return found


def _add(found: dict[Place, _Spent], position: int, step: list[tuple[Site, float]], before: Site) -> None:
    total = sum(seconds for _, seconds in step)
    place, parts, after = _largest_part(step, before)
    if total < LONGEST_STEP or not place[0]:
        return
    old = found.get(place, _Spent({}, {}, 0.0, after))
    spent = sum(parts.values())
    old.by_request[position] = old.by_request.get(position, 0.0) + spent
    for line, seconds in parts.items():
        old.by_line[line] = old.by_line.get(line, 0.0) + seconds
    found[place] = _Spent(old.by_request, old.by_line, max(old.longest, spent), old.after and after)


def _steps(account: Account) -> Iterator[tuple[list[tuple[Site, float]], Site]]:
    """Yield each step that computes, as (site, seconds) parts, and the user's site that came before it."""
    step: list[tuple[Site, float]] = []
    before = last = Site()
    for index, seconds in account.timeline:
        line = account.lines[index]
        if line.kind in _STEP:
            step.append((line.site, seconds))
        elif step and line.kind is not Kind.PREEMPTED:
            yield step, before
            step, before = [], last
        if line.site.file and line.kind is not Kind.HELD:
            last = line.site
        if not step:
            before = last
    if step:
        yield step, before


def _largest_part(step: list[tuple[Site, float]], before: Site) -> tuple[Place, dict[int, float], bool]:
    """Return the function that took most of a step, with its seconds by line.

    Serialisation by the framework has no user code on its stack: it counts to the user's line that ran last
    before it, told by the third value. Other work without user code on its stack has no place: an empty one
    is returned.
    """
    sums: dict[tuple[str, str, bool], dict[int, float]] = {}
    last = before
    for site, seconds in step:
        last = site if site.file else last
        at = last if not site.file and site.library.startswith(SERIALISERS) else site
        lines = sums.setdefault((*place_of(at), not site.file), {})
        lines[at.line] = lines.get(at.line, 0.0) + seconds
    file, function, after = max(sums, key=lambda key: (sum(sums[key].values()), key))
    return (file, function), sums[file, function, after], after
