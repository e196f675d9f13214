"""A receiver of OTLP over HTTP, which decodes what it gets with OpenTelemetry's own messages."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

LONGEST = 30.0
"""Seconds that a test waits for what is to come."""


class Collector:
    """What was sent.

    Attributes:
      url: Where it listens.
      spans: All of them, in the order in which they came.
      metrics: Of the last sending, by their names.
      resources: Attributes of all that has sent spans or metrics.
      headers: Of the last request.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.metrics: dict[str, Metric] = {}
        self.resources: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self._status = 200
        self._changed = threading.Condition()
        self._answers = threading.Event()
        self._answers.set()

    def refuse(self, status: int) -> None:
        """Answer with a status from now on, and keep nothing."""
        self._status = status

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take requests and answer none while the block runs."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    def until(self, condition: Callable[["Collector"], bool]) -> None:
        """Wait until something is true of what has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), LONGEST), [span.name for span in self.spans]

    def span(self, name: str, kind: "Span.SpanKind.ValueType | None" = None) -> Span:
        """Return the one span of a name, and of a kind."""
        (found,) = [each for each in self.spans if each.name == name and kind in {None, each.kind}]
        return found

    def answer(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """Take a request, and return the status of its answer."""
        self._answers.wait()
        if self._status == 200:
            with self._changed:
                self.headers = headers
                self._keep(path, gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
                self._changed.notify_all()
        return self._status

    def _keep(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(attributes(spans.resource.attributes))
                self.spans += [span for scope in spans.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(attributes(metrics.resource.attributes))
                self.metrics = {metric.name: metric for scope in metrics.scope_metrics for metric in scope.metrics}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(collector.answer(self.path, body, {k.lower(): v for k, v in self.headers.items()}))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(pairs: "Any") -> dict[str, Any]:
    """Return attributes as plain values."""
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None
