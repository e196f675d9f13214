"""From accounts and source files to a diagnosis: asks every rule, joins what is one cause, ranks, predicts.

Two rules may see one cause: a blocking call that computes a little is also a long step, and whoever holds the
loop makes others wait unread. What only the accounts show gives way to what the source explains.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from hasten.diagnose._cause import Cause
from hasten.diagnose._diagnosis import Diagnosis
from hasten.diagnose._evidence import NEAR_LINES, Evidence, place_of
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose._fixes import fix_for
from hasten.diagnose._replay import Replay
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.diagnose._summary import summarize
from hasten.diagnose.rules import RULES
from hasten.diagnose.rules.long_step import SERIALISATION
from hasten.ledger import Account

FLOOR = 0.005
"""Share of mean and p99 under which a finding that only accounts show is dropped, unless it made others wait:
mending it would not show. A trap in the source that requests went through stays, as low as it may be."""

EXPLAINED_BY: Mapping[str, tuple[str, ...]] = {
    "HS102": ("HS101", "HS303", "HS306", "HS402"),
    "HS103": ("HS101", "HS303", "HS306", "HS402", "HS102"),
    "HS201": ("HS202",),
}
"""Codes that say more about the same time at the same place, the first first."""

_HOLDERS = frozenset({"HS103", *EXPLAINED_BY["HS103"]})
_ORDER = tuple(Severity)
_Candidates = Mapping[str, Sequence[Candidate]]


def diagnose(accounts: Iterable[Account], modules: Iterable[Module]) -> Diagnosis:
    """Return where the time of the recorded requests went and why.

    Args:
      accounts: Of one or more services, in any order.
      modules: The parsed source files of these services; without them only causes that accounts alone show.
    """
    evidence = Evidence(accounts)
    sources = tuple(modules)
    candidates = {rule.code: _candidates(rule, sources) for rule in RULES}
    found = [finding for rule in RULES for finding in rule.findings(evidence, candidates[rule.code])]
    causes = _one_per_place(_one_per_line(found, evidence), candidates)
    material = [finding for finding in causes if _matters(finding, candidates)]
    ranked = sorted(material, key=lambda finding: _rank(finding, evidence))
    return Diagnosis(
        services=evidence.services,
        endpoints=tuple(summarize(endpoint) for endpoint in evidence.endpoints),
        findings=tuple(_predict(ranked, evidence, candidates)),
    )


def _candidates(rule: Rule, sources: Iterable[Module]) -> list[Candidate]:
    """Return the rule's candidates, each once: a trap in a shared function shows in every caller's file."""
    found = (candidate for source in sources for candidate in rule.candidates(source))
    return list({(each.file, each.line, each.function): each for each in found}.values())


def _one_per_line(findings: Iterable[Finding], evidence: Evidence) -> list[Finding]:
    """Join the findings of one code at one line: the endpoint that loses most, the others as victims.

    Where a hold was sampled, lines near each other are one: it goes over several.
    """
    groups: dict[tuple[str, str, str], list[list[Finding]]] = {}
    for finding in sorted(findings, key=lambda each: each.line):
        clusters = groups.setdefault((finding.code, finding.file, finding.function), [])
        reach = NEAR_LINES if finding.code in ("HS102", "HS103") else 0
        if clusters and finding.line - clusters[-1][-1].line <= reach:
            clusters[-1].append(finding)
        else:
            clusters.append([finding])
    return [_joined(cluster, evidence) for clusters in groups.values() for cluster in clusters]


def _joined(findings: Sequence[Finding], evidence: Evidence) -> Finding:
    worst, *others = sorted(findings, key=lambda finding: (-_own_loss(finding, evidence), finding.endpoint))
    for other in others:
        worst = _folded(worst, other)
    return worst


def _one_per_place(findings: Sequence[Finding], candidates: _Candidates) -> list[Finding]:
    """Fold what only the accounts show into the finding that explains it."""
    kept = [finding for finding in findings if finding.code not in EXPLAINED_BY]
    for code, stronger in EXPLAINED_BY.items():
        for finding in (finding for finding in findings if finding.code == code):
            explaining = [number for number, other in enumerate(kept) if _explains(other, finding, candidates)]
            if explaining:
                best = min(explaining, key=lambda number: stronger.index(kept[number].code))
                kept[best] = _folded(kept[best], finding)
            else:
                kept.append(finding)
    return kept


def _explains(finding: Finding, other: Finding, candidates: _Candidates) -> bool:
    """Tell whether `finding` says more about what `other` found at the same place."""
    if finding.code not in EXPLAINED_BY[other.code]:
        return False
    if (finding.file, finding.function) != (other.file, other.function):
        return False
    if other.code != "HS102":
        return True
    if finding.code == "HS402":
        return other.title == SERIALISATION
    lines = {finding.line}
    for candidate in candidates.get(finding.code, ()):
        if (candidate.file, candidate.function) == (finding.file, finding.function):
            lines.update((candidate.line, *candidate.lines))
    return any(abs(line - other.line) <= NEAR_LINES for line in lines)


def _folded(finding: Finding, other: Finding) -> Finding:
    """Return `finding` with those who paid for `other`; of one endpoint's two counts the larger holds."""
    victims = dict(finding.victims)
    for name, requests in (*other.victims.items(), (f"{other.service} {other.endpoint}", other.hurt)):
        victims[name] = max(victims.get(name, 0), requests)
    own = victims.pop(f"{finding.service} {finding.endpoint}", 0)
    return msgspec.structs.replace(
        finding,
        severity=min(finding.severity, other.severity, key=_ORDER.index),
        hurt=max(finding.hurt, own),
        victims={name: requests for name, requests in sorted(victims.items()) if requests},
    )


def _matters(finding: Finding, candidates: _Candidates) -> bool:
    share = max(finding.share_mean, finding.share_p99)
    return share >= FLOOR or bool(finding.victims) or _candidate(finding, candidates) is not None


def _rank(finding: Finding, evidence: Evidence) -> tuple[int, float, str, str, int]:
    lost = _own_loss(finding, evidence) + _loss_of_others(finding, evidence)
    return (_ORDER.index(finding.severity), -lost, finding.code, finding.file, finding.line)


def _own_loss(finding: Finding, evidence: Evidence) -> float:
    endpoint = evidence.endpoint(finding.service, finding.endpoint)
    return finding.seconds * len(endpoint.accounts) if endpoint else 0.0


def _loss_of_others(finding: Finding, evidence: Evidence) -> float:
    """Return the seconds that other endpoints lost because of a hold of the loop."""
    if finding.code not in _HOLDERS:
        return 0.0
    place = (finding.file, finding.function)
    return math.fsum(
        evidence.delayed(lambda site: place_of(site) == place, endpoint).seconds * len(endpoint.accounts)
        for endpoint in evidence.of_service(finding.service)
        if endpoint.endpoint != finding.endpoint
    )


def _predict(findings: Iterable[Finding], evidence: Evidence, candidates: _Candidates) -> Iterator[Finding]:
    """Yield the findings with what a replay of their service's requests says about the fix."""
    replays: dict[str, Replay] = {}
    for finding in findings:
        endpoint = evidence.endpoint(finding.service, finding.endpoint)
        fix = None
        if endpoint is not None:
            fix = fix_for(Cause(finding, endpoint, evidence, _candidate(finding, candidates)))
        if endpoint is None or fix is None:
            yield finding
            continue
        if finding.service not in replays:
            replays[finding.service] = Replay(evidence.of_service(finding.service))
        yield msgspec.structs.replace(finding, prediction=replays[finding.service].predict(endpoint, fix))


def _candidate(finding: Finding, candidates: _Candidates) -> Candidate | None:
    """Return the candidate that a finding proved; None for what only accounts show."""
    for candidate in candidates.get(finding.code, ()):
        if (candidate.file, candidate.function, candidate.line) == (
            finding.file,
            finding.function,
            finding.line,
        ):
            return candidate
    return None
