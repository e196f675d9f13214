"""Messages, by the signals of `hasten.events`: 1.6 µs for each that is delivered and handled."""

from hasten._core.signals import (
    EventBacklog,
    EventBuried,
    EventDelivered,
    EventHandled,
    EventPublished,
    EventRetried,
    EventSignal,
    OutboxLag,
)
from hasten._core.tracing import is_sampled, trace_id_of
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._recorder import Recorder


class Messages:
    """What a monitor knows of published and handled messages, and of outboxes."""

    def __init__(self, recorder: Recorder) -> None:
        self._sent = recorder.counters(catalogue.MESSAGES_SENT)
        self._publishing = recorder.histograms(catalogue.PUBLISH_DURATION)
        self._consumed = recorder.counters(catalogue.MESSAGES_CONSUMED)
        self._handling = recorder.histograms(catalogue.PROCESS_DURATION)
        self._waits = recorder.histograms(catalogue.EVENT_WAIT)
        self._retries = recorder.counters(catalogue.EVENT_RETRIES)
        self._buried = recorder.counters(catalogue.DEAD_LETTERS)
        self._lag = recorder.gauges(catalogue.CONSUMER_LAG)
        self._dead = recorder.gauges(catalogue.DEAD_LETTER_BACKLOG)
        self._outboxes = recorder.gauges(catalogue.OUTBOX_WAITING)
        self._oldest = recorder.gauges(catalogue.OUTBOX_OLDEST)
        self._refused = recorder.gauges(catalogue.OUTBOX_REFUSED)

    def note(self, signal: EventSignal) -> None:
        """Count what has happened, the most frequent first."""
        kind = type(signal)
        if kind is EventHandled:
            self._handled(signal)  # type: ignore[arg-type]
        elif kind is EventDelivered:
            self._consumed.child(signal.topic, signal.group).value += 1  # type: ignore[union-attr]
        elif kind is EventPublished:
            self._published(signal)  # type: ignore[arg-type]
        elif isinstance(signal, EventRetried):
            self._retries.child(signal.topic, signal.group, signal.cause).value += 1
        elif isinstance(signal, EventBuried):
            self._buried.child(signal.topic, signal.group, signal.cause).value += 1
        elif isinstance(signal, EventBacklog):
            self._lag.child(signal.topic, signal.group).value = signal.waiting
            self._dead.child(signal.topic, signal.group).value = signal.dead

    def _handled(self, signal: EventHandled) -> None:
        topic, group = signal.topic, signal.group
        handling = self._handling.child(topic, group, "" if signal.ok else "failed")
        if is_sampled(signal.traceparent):
            handling.observe_traced(signal.seconds, trace_id_of(signal.traceparent))
        else:
            handling.observe(signal.seconds)
        self._waits.child(topic, group).observe(max(0.0, signal.waited))

    def _published(self, signal: EventPublished) -> None:
        self._sent.child(signal.topic, "" if signal.ok else "unconfirmed").value += 1
        self._publishing.child(signal.topic, "publish").observe(signal.seconds)

    def note_outbox(self, lag: OutboxLag) -> None:
        """Note how far an outbox is behind."""
        self._outboxes.child(lag.table).value = lag.count
        self._oldest.child(lag.table).value = lag.oldest
        self._refused.child(lag.table).value = lag.refused
