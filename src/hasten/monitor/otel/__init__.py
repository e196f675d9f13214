"""Spans and metrics for an OpenTelemetry collector, by OTLP over HTTP: `hasten.install(app, otlp="http://collector:4318")`.

_otlp        where to, and how much
_spans       what has happened, as spans
_ledger      where a request's time went, as events of its span
_metrics     a snapshot, as OpenTelemetry's metrics
_join        requests and their accounts, which come later
_sender      the thread that makes both and sends them; `_patient`, so that the loop does not feel it
_telemetry   all of it, for one process
_follow      beside OpenTelemetry's own instrumentation

Needs the extra `otel`. docs/how-to/trace-and-log.md tells how it is used.
"""

from hasten._core.errors import MissingDependency

try:
    from hasten.monitor.otel._follow import FollowSpan
    from hasten.monitor.otel._telemetry import Telemetry
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "opentelemetry":
        raise
    raise MissingDependency("opentelemetry-sdk", "otel") from error
from hasten.monitor.otel._otlp import Otlp

__all__ = ("FollowSpan", "Otlp", "Telemetry")
