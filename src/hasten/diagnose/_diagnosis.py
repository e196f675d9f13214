"""The result of `hasten doctor`: per endpoint where the time goes, then the findings, worst first."""

import msgspec

from hasten.diagnose._finding import Finding
from hasten.ledger import Kind, Site


class LineSummary(msgspec.Struct, frozen=True):
    """One line of the accounts over all requests of an endpoint; seconds per request, 0 where a request has none.

    Attributes:
      mean: Mean seconds per request.
      p50: Median seconds per request.
      p99: 99th percentile of seconds per request.
      share: Share of the endpoint's mean response time, 0 to 1.
      count: Mean stretches (calls, for waiting) per request.
    """

    kind: Kind
    site: Site
    mean: float
    p50: float
    p99: float
    share: float
    count: float


class KindSummary(msgspec.Struct, frozen=True):
    """Time of one kind: mean seconds over all requests, and over the slowest 1 % of them."""

    kind: Kind
    mean: float
    tail: float


class EndpointSummary(msgspec.Struct, frozen=True):
    """Where the time of one endpoint goes.

    Attributes:
      requests: Recorded requests.
      failed: Of these, answered with a 5xx status or none.
      mean, p50, p90, p99, largest: Response time in seconds, unread time included.
      kinds: By kind, in the order of `Kind`; means sum to `mean`.
      lines: The 20 largest by mean.
      coverage_median, coverage_p5: Attributed share of wall time, of requests over 1 ms (1.0 when there are none).
    """

    service: str
    endpoint: str
    requests: int
    failed: int
    mean: float
    p50: float
    p90: float
    p99: float
    largest: float
    kinds: tuple[KindSummary, ...]
    lines: tuple[LineSummary, ...]
    coverage_median: float
    coverage_p5: float


class Diagnosis(msgspec.Struct, frozen=True):
    """What `hasten doctor` found.

    Attributes:
      services: Names of the services that were recorded.
      endpoints: Largest total time first.
      findings: Worst first.
    """

    services: tuple[str, ...]
    endpoints: tuple[EndpointSummary, ...]
    findings: tuple[Finding, ...]
