"""Which stretches of a critical path a finding is about, and how to change them; pure.

A finding says how many seconds a request loses on average. Where its line's time cannot be told from its
function's (short steps only know the line they ended on), these seconds are taken from the likeliest
stretches first: own time near the line, then in its function, then whatever else the code allows.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hasten.diagnose._evidence import NEAR_LINES, OWN, SUSPENDED, EndpointEvidence, Evidence, place_of
from hasten.diagnose._finding import Finding
from hasten.diagnose._replay import Fix, Segment
from hasten.diagnose._rule import Candidate
from hasten.diagnose.rules.long_step import SERIALISERS
from hasten.ledger import Account, Kind, Site

_CONNECTING = re.compile(r"connect|handshake|start_tls|getaddrinfo", re.IGNORECASE)

Match = Callable[[Kind, Site], bool]
"""Tells whether a stretch of this kind at this site is meant."""

Share = Callable[[Kind, Site], float]
"""What part of a stretch of this kind at this site is meant, 0 to 1."""


class Cause(NamedTuple):
    """A finding with what its fix has to know; `candidate` is the place in the source it proves, if any."""

    finding: Finding
    endpoint: EndpointEvidence
    evidence: Evidence
    candidate: Candidate | None = None


def rewritten(share_of: Share, change: Callable[[Segment, float], list[Segment]]) -> Fix:
    """Return the fix that puts `change(segment, seconds of its share)` where a line has a share."""

    def fix(account: Account) -> list[Segment] | None:
        shares = [share_of(line.kind, line.site) for line in account.lines]
        if not any(shares):
            return None
        path: list[Segment] = []
        for index, seconds in account.timeline:
            segment = Segment(account.lines[index].kind, account.lines[index].site, seconds)
            path += change(segment, seconds * shares[index]) if shares[index] else [segment]
        return path

    return fix


def removed(segment: Segment, seconds: float) -> list[Segment]:
    return []


def shortened(segment: Segment, seconds: float) -> list[Segment]:
    return [segment._replace(seconds=segment.seconds - seconds)]


def shares(cause: Cause, seconds: float, tiers: Sequence[Match]) -> Share:
    """Return the share of each stretch that is the finding's, so that it adds up to `seconds` a request.

    The first tier is used up before the second is touched, and so on.
    """
    factors: list[float] = []
    left = seconds
    for number, tier in enumerate(tiers):
        earlier = tiers[:number]
        there = cause.endpoint.cost(
            lambda line, tier=tier, earlier=earlier: (
                tier(line.kind, line.site)  # type: ignore[misc]
                and not any(match(line.kind, line.site) for match in earlier)
            )
        ).seconds
        factors.append(min(1.0, left / there) if there > 0 and left > 0 else 0.0)
        left -= there

    def share(kind: Kind, site: Site) -> float:
        if kind is Kind.PREEMPTED:  # computing that had to wait for a core goes where the computing goes
            kind = Kind.COMPUTING
        for tier, factor in zip(tiers, factors, strict=True):
            if tier(kind, site):
                return factor
        return 0.0

    return share


def only(match: Match) -> Share:
    return lambda kind, site: 1.0 if match(kind, site) else 0.0


def loop_tiers(cause: Cause) -> tuple[Match, Match]:
    """Return the own time near the finding's lines, and that in its function."""
    finding, candidate = cause.finding, cause.candidate
    place = (finding.file, finding.function)
    lines = (finding.line, *(candidate.lines if candidate else ()))
    first, last = min(lines) - NEAR_LINES, max(lines) + NEAR_LINES
    return (
        lambda kind, site: kind in OWN and place_of(site) == place and first <= site.line <= last,
        lambda kind, site: kind in OWN and place_of(site) == place,
    )


def framework_time(kind: Kind, site: Site) -> bool:
    """Tell whether the web framework's own code ran, without user code on its stack."""
    return kind in OWN and not site.file and site.library.startswith(SERIALISERS)


def outside(kind: Kind, _: Site) -> bool:
    """Tell whether a request was suspended until something else was done."""
    return kind in SUSPENDED


def wait_match(cause: Cause) -> Match:
    """Match the waits of a call: on its lines, or in the functions that run because of it."""
    finding, candidate = cause.finding, cause.candidate
    place = (finding.file, finding.function)
    lines = frozenset((finding.line, *(candidate.lines if candidate else ())))
    runs = frozenset(run for each in candidate.runs for run in each) - {place} if candidate else frozenset()

    def match(kind: Kind, site: Site) -> bool:
        if not outside(kind, site):
            return False
        where = place_of(site)
        return where in runs if runs else where == place and site.line in lines

    return match


def connecting_match(cause: Cause) -> Match:
    place = (cause.finding.file, cause.finding.function)
    return lambda kind, site: kind is Kind.WAITING and place_of(site) == place and bool(_CONNECTING.search(site.leaf))


def thread_match(cause: Cause, wanted: Kind) -> Match:
    place = (cause.finding.file, cause.finding.function)
    return lambda kind, site: kind is wanted and place_of(site) == place
