"""Summarises the accounts of an endpoint: percentiles, kinds of time, the largest lines."""

import math

from hasten.diagnose._diagnosis import EndpointSummary, KindSummary, LineSummary
from hasten.diagnose._evidence import Column, EndpointEvidence, quantiles
from hasten.ledger import Kind

LARGEST_LINES = 20
"""Lines shown for an endpoint; the rest is in its kinds."""

COVERAGE_FROM = 0.001
"""Seconds of wall time from which coverage is judged: below, single clock readings weigh too much."""


def summarize(endpoint: EndpointEvidence) -> EndpointSummary:
    """Return where the time of one endpoint goes."""
    responses = sorted(endpoint.responses)
    p50, p90, p99 = quantiles(responses, (0.5, 0.9, 0.99))
    coverage = sorted(account.coverage for account in endpoint.accounts if account.wall >= COVERAGE_FROM)
    median, low = quantiles(coverage, (0.5, 0.05)) if coverage else (1.0, 1.0)
    return EndpointSummary(
        service=endpoint.service,
        endpoint=endpoint.endpoint,
        requests=len(endpoint.accounts),
        failed=sum(1 for account in endpoint.accounts if account.status == 0 or account.status >= 500),
        mean=endpoint.mean,
        p50=p50,
        p90=p90,
        p99=p99,
        largest=responses[-1],
        kinds=_kinds(endpoint),
        lines=tuple(_line(endpoint, column) for column in endpoint.columns[:LARGEST_LINES]),
        coverage_median=median,
        coverage_p5=low,
    )


def _kinds(endpoint: EndpointEvidence) -> tuple[KindSummary, ...]:
    """Return the kinds of time that occur, in the order of `Kind`."""
    totals: dict[Kind, float] = {}
    for line in endpoint.lines:
        totals[line.kind] = totals.get(line.kind, 0.0) + line.seconds
    slow: dict[Kind, list[float]] = {}
    for account in endpoint.slowest:
        for line in account.lines:
            slow.setdefault(line.kind, []).append(line.seconds)
    requests, tail = len(endpoint.accounts), len(endpoint.slowest)
    return tuple(
        KindSummary(kind, totals[kind] / requests, math.fsum(slow.get(kind, ())) / tail)
        for kind in Kind
        if totals.get(kind)
    )


def _line(endpoint: EndpointEvidence, column: Column) -> LineSummary:
    requests = len(endpoint.accounts)
    mean = column.line.seconds / requests
    absent = requests - len(column.seconds)
    p50, p99 = quantiles([*([0.0] * absent), *sorted(column.seconds)], (0.5, 0.99))
    return LineSummary(
        kind=column.line.kind,
        site=column.line.site,
        mean=mean,
        p50=p50,
        p99=p99,
        share=mean / endpoint.mean if endpoint.mean > 0 else 0.0,
        count=column.line.count / requests,
    )
