"""A finding: one cause of lost time, where it stands in the code, what it costs and how it was proven."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How much a finding matters to the users of the service."""

    HIGH = "high"
    """At least 10 % of an endpoint's p99 or mean, or a stall that hurts other endpoints."""
    MEDIUM = "medium"
    """At least 2 % of an endpoint's p99 or mean."""
    LOW = "low"
    """A trap that costs little today."""


class Prediction(msgspec.Struct, frozen=True):
    """What a replay of the recorded accounts says about an endpoint after the fix. An estimate.

    Attributes:
      p50_before: Recorded median seconds.
      p50_after: Median seconds after the fix: the recorded one times the ratio of the replays with and without it, so
        that what the replay leaves out weighs on both alike; at most the recorded one.
      p99_after_low: Lower end of the range for the 99th percentile, seconds.
      p99_after_high: Upper end.
    """

    p50_before: float
    p50_after: float
    p99_after_low: float
    p99_after_high: float


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cause of lost time.

    Attributes:
      code: Stable code (`HS101`); docs/reference/findings.md explains each.
      title: What is wrong, at most 80 characters, without the place.
      file: Path of the source file, as the code names it.
      line: Line from 1.
      function: Qualified name of the function that holds the line.
      service: Service in which it was found; empty for a static finding.
      endpoint: Endpoint that pays most (`GET /products/{id}`); empty for a static finding.
      share_p99: Share of that endpoint's slowest 1 % of requests' time, 0 to 1.
      share_mean: Share of that endpoint's mean time, 0 to 1.
      seconds: Mean seconds per request of that endpoint.
      hurt: Requests of that endpoint that paid.
      victims: Requests of other endpoints (`service endpoint`) that waited because of it.
      proof: How it was proven, one sentence with figures.
      fix: What to do, one line.
      prediction: Replay's estimate for the endpoint; None where nothing can be replayed.
    """

    code: str
    title: str
    severity: Severity
    file: str
    line: int
    function: str
    service: str = ""
    endpoint: str = ""
    share_p99: float = 0.0
    share_mean: float = 0.0
    seconds: float = 0.0
    hurt: int = 0
    victims: dict[str, int] = {}
    proof: str = ""
    fix: str = ""
    prediction: Prediction | None = None
