"""Where spans and metrics go, and how many."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from urllib.parse import urlsplit

from hasten._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Otlp:
    """An OpenTelemetry collector, or anything else that takes OTLP over HTTP: Jaeger, Tempo, Prometheus.

    What is not said here is read by OpenTelemetry's SDK from its own variables: OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_COMPRESSION, OTEL_RESOURCE_ATTRIBUTES.

    Args:
      url: Without a path: `http://collector:4318`; spans go to its `/v1/traces`, metrics to `/v1/metrics`.
      ratio: Share of the traces begun here that are recorded; one that a caller has begun is recorded if he says so.
      spans, metrics: What is sent. Without spans traces are passed on as they come, which is right for an app that
        OpenTelemetry's own instrumentation makes spans of.
      every: Seconds between two sendings of all metrics; spans go once a second.
      timeout: Seconds for one sending, its retries included.
      most_spans: That wait to be sent, or for a collector that is slow; what is more is dropped, and counted.
      headers: Of each sending, for a token for example.
    Raises:
      ConfigurationError: the URL is none, or a number is out of its range.
    """

    url: str
    _: KW_ONLY
    ratio: float = 0.1
    spans: bool = True
    metrics: bool = True
    every: float = 15.0
    timeout: float = 5.0
    most_spans: int = 4096
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"otlp {self.url!r}"
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ConfigurationError(where, "is no URL of a collector", "write one like http://collector:4318")
        if parts.path.strip("/") or parts.query:
            raise ConfigurationError(where, "has a path", "leave it out: /v1/traces and /v1/metrics are added")
        if not 0.0 <= self.ratio <= 1.0:
            raise ConfigurationError(where, f"ratio={self.ratio}", "it must be from 0.0 to 1.0")
        if not (self.every > 0.0 and self.timeout > 0.0 and self.most_spans > 0):
            raise ConfigurationError(where, "every, timeout and most_spans must be greater than 0")

    def endpoint(self, signal: str) -> str:
        """Return where a signal goes: `traces`, `metrics`."""
        return f"{self.url.rstrip('/')}/v1/{signal}"
