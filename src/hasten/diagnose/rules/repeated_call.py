"""HS304: the same call is made again and again, though its last answer is seconds old."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from hasten.diagnose._evidence import EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Site

WINDOW = 30.0
"""Seconds for which an answer could be kept: a lifetime that most read-mostly data bears."""

LEAST_SHARE = 0.5
"""Share of calls that a cache would answer from which one pays: below, most requests still wait."""

LEAST_CALLS = 20
"""Calls from which the share says something."""

LEAST_SAVING = 0.005
"""Share of an endpoint's mean or p99 that the cache must save."""

_NO_DATA = frozenset({"asyncio", "anyio", "sniffio", "starlette", "fastapi", "uvicorn", "granian", "hasten"})
_NO_READS = frozenset(
    {
        *("post", "put", "patch", "delete", "add", "set", "setex", "incr", "decr", "push", "lpush", "rpush"),
        *(
            "insert",
            "update",
            "remove",
            "begin",
            "commit",
            "rollback",
            "publish",
            "produce",
            "send",
            "sendall",
        ),
        *("connect", "acquire", "release", "close", "aclose", "wait", "sleep", "drain", "flush"),
        *("json", "text", "read", "aread", "subscribe", "consume", "__aexit__"),
    }
)
_WRITE = re.compile(
    r"""\bmethod=['"](?:post|put|patch|delete)\b|=['"]\s*(?:insert|update|delete|merge|replace|call|begin|commit)\b""",
    re.IGNORECASE,
)


class Repetition(NamedTuple):
    """What a cache with a lifetime of WINDOW would have answered at one site of one service.

    Attributes:
      calls: Calls at the site.
      hits: Of these, answered by the cache.
      answered: By endpoint and position in its accounts, the share of that request's calls it answers.
    """

    calls: int
    hits: int
    answered: dict[EndpointEvidence, dict[int, float]]


class RepeatedCall(Rule):
    """Calls with equal arguments at one site, across requests and within one, within 30 s of each other."""

    code = "HS304"
    name = "repeated-call"
    fix = "keep the answer for as long as it may be old: cache it by its arguments with a TTL and single-flight"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Only accounts show arguments."""
        return ()

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield one finding for each site and endpoint where a cache would save a material share."""
        for service in evidence.services:
            for site, repetition in repetitions(evidence.of_service(service)):
                for endpoint in repetition.answered:
                    found = self._finding(endpoint, site, repetition)
                    if max(found.share_mean, found.share_p99) >= LEAST_SAVING:
                        yield found

    def _finding(self, endpoint: EndpointEvidence, site: Site, repetition: Repetition) -> Finding:
        cost = endpoint.cost_where(saved(endpoint, site, repetition.answered[endpoint]))
        share = repetition.hits / repetition.calls
        return finding(
            self,
            endpoint,
            cost,
            (site.file, site.line, site.function),
            title="The same call is made again though its answer could be kept",
            proof=f"{repetition.hits} of {repetition.calls} calls of {site.library} ({share:.0%}) repeated "
            f"one with the same arguments, made less than {WINDOW:.0f} s before",
        )


def repetitions(endpoints: Sequence[EndpointEvidence]) -> Iterator[tuple[Site, Repetition]]:
    """Yield the sites of one service at which a cache would answer at least half of the calls."""
    for site in sorted({site for endpoint in endpoints for site in endpoint.calls if _reads(site)}, key=_order):
        repetition = repetition_at(site, endpoints)
        if repetition.calls >= LEAST_CALLS and repetition.hits >= LEAST_SHARE * repetition.calls:
            yield site, repetition


def saved(endpoint: EndpointEvidence, site: Site, answered: dict[int, float]) -> dict[int, float]:
    """Return by position in `accounts` the seconds of waiting at `site` that the cache would have saved."""
    found: dict[int, float] = {}
    for column in endpoint.columns:
        if column.line.kind is Kind.WAITING and msgspec.structs.replace(column.line.site, leaf="") == site:
            for position, seconds in zip(column.requests, column.seconds, strict=True):
                if answered.get(position):
                    found[position] = found.get(position, 0.0) + seconds * answered[position]
    return found


def repetition_at(site: Site, endpoints: Sequence[EndpointEvidence]) -> Repetition:
    """Replay the calls at `site`, by start of their requests, on a cache that keeps answers for WINDOW."""
    callers = [endpoint for endpoint in endpoints if site in endpoint.calls]
    calls = sorted(
        (endpoint.accounts[position].started, number, position, identity)
        for number, endpoint in enumerate(callers)
        for position, identity in endpoint.calls[site]
        if identity and not _WRITE.search(identity)
    )
    loaded: dict[str, float] = {}
    tallies: list[dict[int, tuple[int, int]]] = [{} for _ in callers]
    for started, number, position, identity in calls:
        hit = started - loaded.get(identity, float("-inf")) < WINDOW
        if not hit:
            loaded[identity] = started
        hits, of = tallies[number].get(position, (0, 0))
        tallies[number][position] = (hits + hit, of + 1)
    answered = {
        endpoint: {position: hits / of for position, (hits, of) in tally.items() if hits}
        for endpoint, tally in zip(callers, tallies, strict=True)
    }
    hits = sum(hits for tally in tallies for hits, _ in tally.values())
    return Repetition(len(calls), hits, answered)


def _reads(site: Site) -> bool:
    """Tell whether `site` asks a library for data: not to write, to connect, to read what already came."""
    package, _, rest = site.library.partition(".")
    name = rest.rpartition(".")[2]
    return bool(site.file and package) and package not in _NO_DATA and name not in _NO_READS


def _order(site: Site) -> tuple[str, int, str, str]:
    return (site.file, site.line, site.function, site.library)
