"""The thread that sends: it makes spans and metrics of what the loop has left it, and waits for the collector.

Not OpenTelemetry's own batch processor and periodic reader: those want finished spans from the loop's thread (20 µs
each; here a queue's `append`), are two threads, wait for half a minute at the end, and do not say what they dropped.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource

from hasten.ledger import Account
from hasten.monitor._snapshot import Snapshot
from hasten.monitor.otel._join import Join
from hasten.monitor.otel._metrics import metrics_data
from hasten.monitor.otel._otlp import Otlp
from hasten.monitor.otel._patient import Patient
from hasten.monitor.otel._spans import Finished, readable

SPANS_EVERY = 1.0
"""Seconds between two sendings of spans."""
LAST_WORDS = 2.0
"""Seconds that what is left has at the end."""
_AT_ONCE = 256
"""Spans of one sending."""
_logger = logging.getLogger("hasten.monitor")


class Counts:
    """What has become of everything; written by one thread each, read by any.

    Attributes:
      sent, failed: Sendings by what was sent, `spans` or `metrics`.
      dropped: Spans by cause: `queue`, there was no room; `export`, the collector has not taken them; `end`, they were
        left when the process ended.
      taken: Whether the collector has taken the last sending.
    """

    def __init__(self) -> None:
        self.sent = {"spans": 0, "metrics": 0}
        self.failed = {"spans": 0, "metrics": 0}
        self.dropped = {"queue": 0, "export": 0, "end": 0}
        self.taken = True


class Sender:
    """Sends spans and metrics to a collector, from a thread of its own.

    Args:
      otlp: Where to.
      resource: Attributes that say who sends.
      snapshot: Returns the metrics, in any thread.
    """

    def __init__(
        self, otlp: Otlp, resource: Mapping[str, str], snapshot: Callable[[], Snapshot], counts: Counts
    ) -> None:
        self._otlp = otlp
        self._attributes = dict(resource)
        self._snapshot = snapshot
        self._counts = counts
        self._queue: deque[Finished | Account] = deque()
        self._join = Join()
        self._wake = threading.Event()
        self._ends = False
        self._is_over = False  # so is the time for the end: nothing is sent any more
        self._spans: OTLPSpanExporter | None = None
        self._metrics: OTLPMetricExporter | None = None
        self._resource: Resource | None = None
        self._thread = threading.Thread(target=self._run, name="hasten-otlp", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, what: Finished | Account) -> None:
        """Leave something to be sent, in the loop's thread; dropped where there is no room."""
        if len(self._queue) >= self._otlp.most_spans:
            if isinstance(what, Finished):
                self._counts.dropped["queue"] += 1
            return
        self._queue.append(what)
        if len(self._queue) == _AT_ONCE:
            self._wake.set()

    def stop(self, timeout: float = LAST_WORDS) -> None:
        """Send what is left, for so many seconds, and end; from a thread that may wait.

        A collector that does not answer holds up the thread for `Otlp.timeout`, and nobody else.
        """
        self._ends = True
        self._wake.set()
        self._thread.join(timeout)
        self._is_over = True
        self._close()
        self._thread.join(timeout / 4)  # a pause between two tries has ended; an answer may still be waited for

    # ---- the thread

    def _run(self) -> None:
        try:
            self._prepare()
            self._serve()
        except Exception:
            _logger.exception("nothing is sent to %s any more", self._otlp.url)
            self._is_over = True

    def _prepare(self) -> None:
        """Make what sends: here, since it reads files, and asks the SDK's detectors of resources."""
        attach(Context({_SUPPRESS_INSTRUMENTATION_KEY: True}))  # what we send makes no spans of its own
        otlp = self._otlp
        headers = dict(otlp.headers)
        self._resource = Resource.create(self._attributes)
        self._spans = OTLPSpanExporter(otlp.endpoint("traces"), headers=headers, timeout=otlp.timeout)
        self._metrics = OTLPMetricExporter(otlp.endpoint("metrics"), headers=headers, timeout=otlp.timeout)

    def _close(self) -> None:
        for exporter in (self._spans, self._metrics):
            if exporter is not None:
                exporter.shutdown()

    def _serve(self) -> None:
        due = time.monotonic() + self._otlp.every
        while not self._ends:
            self._wake.wait(SPANS_EVERY)
            self._wake.clear()
            self._send_spans()
            if time.monotonic() >= due:
                due = time.monotonic() + self._otlp.every
                self._send_metrics()
        self._join.end()
        self._send_spans()
        self._send_metrics()

    def _send_spans(self) -> None:
        self._join.turn()
        left = len(self._queue)  # what comes meanwhile is for the next time
        while left > 0:
            taken = [self._queue.popleft() for _ in range(min(left, _AT_ONCE))]
            left -= len(taken)
            self._export_spans(self._join.through(taken))
        self._export_spans(self._join.late())

    def _export_spans(self, spans: Iterable[Finished]) -> None:
        assert self._resource is not None
        batch, resource = list(spans), self._resource
        if batch and not self._sent("spans", Patient(batch, lambda each: readable(each, resource))):
            self._counts.dropped["end" if self._is_over else "export"] += len(batch)

    def _send_metrics(self) -> None:
        assert self._resource is not None
        if self._otlp.metrics:
            self._sent("metrics", metrics_data(self._snapshot(), self._resource))

    def _sent(self, signal: str, what: Any) -> bool:
        """Whether the collector has taken something; it is counted, and told when that changes."""
        if self._is_over:
            return False
        exporter: Any = self._spans if signal == "spans" else self._metrics
        sent: bool = exporter.export(what).name == "SUCCESS"
        (self._counts.sent if sent else self._counts.failed)[signal] += 1
        if sent is not self._counts.taken:
            self._counts.taken = sent
            _logger.warning("%s %s", self._otlp.url, "takes spans and metrics again" if sent else f"takes no {signal}")
        return sent
