"""The words and places that every report uses for the same thing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from hasten._core.durations import format_duration
from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary, LineSummary
from hasten.diagnose._finding import Finding, Prediction
from hasten.diagnose.report._report import Report
from hasten.ledger import Kind, Site

KIND_WORDS = {
    Kind.COMPUTING: "computing",
    Kind.BLOCKING: "blocking",
    Kind.WAITING: "waiting",
    Kind.CACHE: "waiting for the cache",
    Kind.HELD: "loop held by others",
    Kind.QUEUED: "waiting for its turn",
    Kind.THREAD_QUEUED: "waiting for a thread",
    Kind.THREAD: "running in a thread",
    Kind.COLLECTING: "garbage collection",
    Kind.PREEMPTED: "waiting for a CPU",
    Kind.UNREAD: "unread in the kernel",
    Kind.UNEXPLAINED: "not explained",
}
"""Each kind of time in words that need no manual."""

_SAME = 0.98  # a median that falls by less than 2 % is shown as staying


def place(file: str, line: int, base: Path) -> str:
    """Return `file:line`, relative to `base` if below it; an installed package's from its own folder on."""
    if not file:
        return ""
    return f"{path_of(file, base)}:{line}" if line else path_of(file, base)


def path_of(file: str, base: Path) -> str:
    """Return the path alone, as `place` shows it."""
    if Path(file).is_relative_to(base):
        return str(Path(file).relative_to(base))
    _, packages, rest = file.rpartition("/site-packages/")
    return rest if packages else file


def phrase(kind: Kind, site: Site, base: Path) -> str:
    """Return what one line of an account says: `waiting for httpx.AsyncClient.get`."""
    callee = site.library or site.leaf
    if kind in (Kind.WAITING, Kind.CACHE) and callee:
        return f"waiting for {callee}"
    if kind is Kind.HELD:
        return f"loop held by {place(site.file, site.line, base) or callee or 'code outside any request'}"
    if kind in (Kind.BLOCKING, Kind.COMPUTING) and callee:
        return f"{KIND_WORDS[kind]} in {callee}"
    return KIND_WORDS[kind]


def told_apart(lines: Sequence[LineSummary], base: Path) -> Iterator[tuple[LineSummary, str]]:
    """Yield each line with its phrase; those that would read alike say their innermost function, too."""
    phrases = [phrase(line.kind, line.site, base) for line in lines]
    shown = Counter((said, line.site.file, line.site.line) for said, line in zip(phrases, lines, strict=True))
    for said, line in zip(phrases, lines, strict=True):
        alike = shown[said, line.site.file, line.site.line] > 1
        yield line, f"{said} ({line.site.leaf})" if alike and line.site.leaf else said


def site_place(kind: Kind, site: Site, base: Path) -> str:
    """Return where that line stands: `file:line function`, or the function if the phrase names the line."""
    where = "" if kind is Kind.HELD else place(site.file, site.line, base)
    return " ".join(part for part in (where, site.function) if part)


def percent(share: float) -> str:
    """Return a share as `62 %`; one that rounds to nothing as `<1 %`."""
    rounded = round(share * 100)
    return f"{rounded} %" if rounded or share <= 0 else "<1 %"


def precise_percent(share: float) -> str:
    """Return a share as `99.3 %`."""
    return f"{share * 100:.1f} %"


def count(number: int, noun: str) -> str:
    """Return `1 request`, `1,200 requests`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def heading(endpoint: EndpointSummary, diagnosis: Diagnosis) -> str:
    """Return the endpoint's name, with its service when several were recorded."""
    return named(endpoint.service, endpoint.endpoint, diagnosis)


def named(service: str, endpoint: str, diagnosis: Diagnosis) -> str:
    """Return `endpoint`, after its service when several were recorded."""
    return f"{service} {endpoint}" if service and len(diagnosis.services) > 1 else endpoint


def cost(finding: Finding, diagnosis: Diagnosis) -> str:
    """Return what a finding costs the endpoint that pays most; empty for one without a price."""
    if not finding.endpoint or not (finding.share_p99 or finding.share_mean):
        return ""
    shares = f"{percent(finding.share_p99)} of the p99 and {percent(finding.share_mean)} of the mean"
    where = named(finding.service, finding.endpoint, diagnosis)
    return f"{shares} of {where} ({format_duration(finding.seconds)} a request)"


def harm(finding: Finding, diagnosis: Diagnosis) -> str:
    """Return who pays: the endpoint's own requests and, by endpoint, those of others; empty for nobody."""
    own = f"{count(finding.hurt, 'request')} of that endpoint" if finding.hurt else ""
    total = sum(finding.victims.values())
    if not total:
        return own
    worst = sorted(finding.victims.items(), key=lambda item: (-item[1], item[0]))
    names = [f"{hurt:,} of {victim(name, diagnosis)}" for name, hurt in worst[:4]]
    rest = len(worst) - len(names)
    listed = ", ".join(names) + (f" and {count(rest, 'more endpoint')}" if rest else "")
    others = f"{total:,} of other endpoints ({listed})" if len(worst) > 1 else listed
    return f"{own}; {others}" if own else others


def amount(number: float) -> str:
    """Return how often something happens per request: `1`, `9`, `1.5`, `120`."""
    return f"{number:,.0f}" if number >= 10 or abs(number - round(number)) < 0.05 else f"{number:.1f}"


def victim(name: str, diagnosis: Diagnosis) -> str:
    """Return a victim's `service endpoint` without the service when only one was recorded."""
    if len(diagnosis.services) == 1:
        return name.removeprefix(diagnosis.services[0] + " ")
    return name


def p99_range(prediction: Prediction) -> str:
    """Return the range of the predicted p99 as `40.0-61.0 ms`; one figure where both ends read the same."""
    low, high = format_duration(prediction.p99_after_low), format_duration(prediction.p99_after_high)
    number, unit = low.split(" ")
    if low == high:
        return low
    return f"{number}-{high}" if high.endswith(f" {unit}") else f"{low} to {high}"


def trust(report: Report) -> list[str]:
    """Return the sentences that say how far the figures can be trusted."""
    sentences = []
    if report.diagnosis.endpoints:
        median, lowest = coverage(report.diagnosis.endpoints)
        explained = f"{precise_percent(median)} of a request's time, {precise_percent(lowest)} at the 5th percentile"
        sentences.append(f"accounts explain {explained}")
    if report.gap is not None:
        gap = report.gap
        sentences.append(
            f"the client sees {format_duration(max(gap.p50, 0.0))} more than the accounts explain at p50, "
            f"{format_duration(max(gap.p99, 0.0))} at p99 ({count(gap.matched, 'request')} matched)"
        )
    if report.load is not None:
        sentences.append(f"the load generator was late by {format_duration(report.load.lateness_p99)} at p99")
    return sentences + failures(report) + list(report.notes)


def coverage(endpoints: tuple[EndpointSummary, ...]) -> tuple[float, float]:
    """Return the explained share: the medians weighted by requests, and the lowest 5th percentile."""
    requests = sum(endpoint.requests for endpoint in endpoints) or 1
    median = sum(endpoint.coverage_median * endpoint.requests for endpoint in endpoints) / requests
    return median, min(endpoint.coverage_p5 for endpoint in endpoints)


def failures(report: Report) -> list[str]:
    """Return one sentence each when requests failed: a service that fails fast looks healthy."""
    failed = sum(endpoint.failed for endpoint in report.diagnosis.endpoints)
    sentences = [f"{count(failed, 'recorded request')} failed (5xx or no answer)"] if failed else []
    errors = report.load.errors if report.load is not None else {}
    if errors:
        worst = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(f"{name}: {number:,}" for name, number in worst)
        sentences.append(f"the client counted {count(sum(errors.values()), 'error')} ({listed})")
    return sentences


def next_step(report: Report, base: Path) -> str:
    """Return the hint that ends the report."""
    findings = report.diagnosis.findings
    if not findings:
        return "nothing found worth a fix at this load; raise the plan's rate and run hasten doctor again"
    worst = findings[0]
    return f"fix {worst.code} at {place(worst.file, worst.line, base)}, then run hasten doctor again"


def outcome(prediction: Prediction) -> str:
    """Return what the fix is predicted to do, as one line."""
    before, after = format_duration(prediction.p50_before), format_duration(prediction.p50_after)
    estimate = f"(estimate; p99 {p99_range(prediction)})"
    if prediction.p50_after > _SAME * prediction.p50_before:
        return f"p50 stays near {before} {estimate}; the requests it keeps waiting gain"
    return f"p50 {before} -> {after} after the fix {estimate}"
