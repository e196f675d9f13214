"""Spans and metrics of one process, on their way to a collector."""

import asyncio
import math
import os
import socket
import time
from collections.abc import Iterable
from typing import Any

from hasten._core.signals import (
    CallFinished,
    CallSignal,
    EventHandled,
    EventPublished,
    EventSignal,
    HttpCallFinished,
)
from hasten._core.tracing import Tracer, is_sampled
from hasten.ledger import Account, Ledger
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._monitor import Monitor
from hasten.monitor._recorder import Reading
from hasten.monitor._requests import HttpSpan, Requests
from hasten.monitor.otel._otlp import Otlp
from hasten.monitor.otel._sender import Counts, Sender
from hasten.monitor.otel._spans import Ended, Finished, http_ended

_MOST_EXPECTED = 1024


class Telemetry:
    """Tells a collector of what a monitor watches: its requests, its calls and messages as spans, its metrics.

    It may start again after it has ended, as apps in tests do. What happens meanwhile makes no spans.

    Args:
      monitor: Whose metrics are sent.
      otlp: Where to; a URL is one with everything else as it is by default.
    Attributes:
      tracer: Begins the spans; None where none are sent.
    Raises:
      ConfigurationError: that is no URL of a collector.
    """

    def __init__(self, monitor: Monitor, otlp: Otlp | str) -> None:
        self.otlp = Otlp(otlp) if isinstance(otlp, str) else otlp
        self.tracer = Tracer(self.otlp.ratio) if self.otlp.spans else None
        self._monitor = monitor
        self._counts = Counts()
        self._sender: Sender | None = None
        self._expected: set[float] = set()

    # ---- its life

    def start(self) -> None:
        """Begin to send, in a thread of its own."""
        if self._sender is None:
            self._sender = Sender(self.otlp, self._resource(), self._monitor.snapshot, self._counts)
            self._sender.start()

    async def aclose(self) -> None:
        """Send what is left, for two seconds at most. Cancellation: the thread goes on for as long, and ends."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await asyncio.to_thread(sender.stop)

    def _resource(self) -> dict[str, str]:
        """Return what tells this process from others; the rest is OTEL_RESOURCE_ATTRIBUTES'."""
        who = {"service.name": self._monitor.service} if self._monitor.service else {}
        return {**who, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}", "worker": self._monitor.worker}

    # ---- what is watched

    def watch(self, thing: Any) -> None:
        """Have spans of a part of hasten, a channel, a client, a server, a bus; called for all that a monitor watches.

        A channel is given before its stubs are made, a server and a bus before they start.
        """
        if self.tracer is None:
            return
        if _is_bus(thing):
            system = thing.broker.name.partition(":")[0]
            thing.trace(self.tracer)
            thing.add_hook(lambda signal: self._note_message(signal, system))
        elif hasattr(thing, "trace"):
            thing.trace(self.tracer)
            thing.add_hook(self._note_call)

    def watch_requests(self, requests: Requests) -> None:
        """Have spans of an app's requests."""
        if self.tracer is not None:
            requests.trace(self.tracer, self._note_request)

    def watch_ledger(self, ledger: Ledger) -> None:
        """Have the lines of an account as events of its request's span, or its call's or its message's."""
        if self.tracer is not None:
            ledger.listeners.append(self._note_account)

    def readings(self) -> Iterable[Reading]:
        """Return what has become of what was to be sent, in any thread."""
        for signal in ("spans", "metrics"):
            yield catalogue.OTLP_EXPORTS, (signal, "ok"), self._counts.sent[signal]
            yield catalogue.OTLP_EXPORTS, (signal, "failed"), self._counts.failed[signal]
        for cause, spans in self._counts.dropped.items():
            yield catalogue.OTLP_DROPPED, (cause,), spans

    # ---- what happens, in the loop's thread

    def _put(self, what: Ended, system: str = "") -> None:
        if self._sender is not None:
            self._sender.put(Finished(time.time_ns(), what, system))

    def _note_request(self, span: HttpSpan) -> None:
        self._expect(span.recorded)
        self._put(http_ended(span))

    def _expect(self, recorded: float) -> None:
        if recorded < math.inf:
            if len(self._expected) >= _MOST_EXPECTED:  # accounts that never came: the ledger was turned off
                self._expected.clear()
            self._expected.add(recorded)

    def _note_account(self, account: Account) -> None:
        if account.started in self._expected:
            self._expected.discard(account.started)
            if self._sender is not None:
                self._sender.put(account)

    def _note_call(self, signal: CallSignal | HttpCallFinished) -> None:
        if type(signal) is HttpCallFinished and is_sampled(signal.traceparent):
            self._put(signal)
        elif type(signal) is CallFinished and is_sampled(signal.traceparent):
            self._expect(signal.recorded)
            self._put(signal)

    def _note_message(self, signal: EventSignal, system: str) -> None:
        if isinstance(signal, EventHandled | EventPublished) and is_sampled(signal.traceparent):
            if isinstance(signal, EventHandled):
                self._expect(signal.recorded)
            self._put(signal, system)


def _is_bus(thing: Any) -> bool:
    return hasattr(thing, "broker")
