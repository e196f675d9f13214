"""What this process did in traces that somebody has asked for: kept for a while, for `hasten trace`.

A trace is asked for by its id (`hasten._core.tracing.asked_traceparent`), so every service that it comes through keeps
its part, whatever it is called by; the admin port tells it.
"""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hasten._core.signals import (
    CallFinished,
    CallSignal,
    EventHandled,
    EventPublished,
    EventSignal,
    HttpCallFinished,
)
from hasten._core.tracing import AskedTracer, is_asked, span_id_of, trace_id_of
from hasten.ledger import Account
from hasten.monitor._recorder import Reading
from hasten.monitor._requests import HttpSpan, Requests

if TYPE_CHECKING:
    from hasten.ledger import Ledger

MOST_TRACES = 64
MOST_WORKS = 256
"""Pieces of work of one trace; later ones are not kept."""
_MOST_AWAITED = 256
_LONGEST_NAME = 256
_BOOT = Path("/proc/sys/kernel/random/boot_id")

WorkKind = Literal["request", "call", "served", "published", "handled"]
"""A request of an app; a call that was sent, by gRPC or HTTP, and one by gRPC that was answered; a message that was
published, and one that was handled."""


class Work(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of work in a trace.

    Attributes:
      span, parent: Its id, and that of the work that it is within: 16 hexadecimal digits each.
      name: Method and route template, an HTTP call's method, gRPC method, or topic.
      peer: Who was called; empty where it is not known.
      outcome: HTTP's status, or the error that a call ended with; gRPC's by its name; `ok` and `failed` of messages.
      started: CLOCK_MONOTONIC seconds of this process's machine.
      seconds: That it took.
      account: Where the time of a request, a call that was answered or a message that was handled went; None where the
        ledger has not recorded it, and until it has.
    """

    span: str
    parent: str
    kind: WorkKind
    name: str
    outcome: str
    started: float
    seconds: float
    peer: str = ""
    account: Account | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one process did in a trace.

    Attributes:
      service, worker: Who.
      boot: What tells the run of its machine from all others, whose clocks are other ones; empty where it is not known.
      works: In the order in which they ended.
    """

    service: str
    worker: str
    boot: str
    works: tuple[Work, ...] = ()


def boot_of_this_machine() -> str:
    """Return what tells this run of this machine from all others; empty where nothing does.

    Source: proc_sys_kernel(5), random/boot_id.
    """
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class TraceKeeper:
    """Keeps what a process did in traces that are asked for; a `Follower` of its monitor.

    The loop's thread writes, any thread reads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tracer = AskedTracer()
        self._traces: dict[str, list[Work]] = {}
        self._awaited: dict[float, tuple[str, str]] = {}  # trace and span by when the ledger began to record it

    def of(self, trace_id: str) -> tuple[Work, ...]:
        """Return what is kept of a trace, in the order in which it ended, in any thread."""
        return tuple(self._traces.get(trace_id, ()))

    # ---- what is watched

    def watch(self, thing: Any) -> None:
        """Keep what a channel, a client, a server or a bus does; a monitor calls it for all that it watches."""
        if hasattr(thing, "broker"):
            thing.trace(self._tracer)
            thing.add_hook(self._note_message)
        elif hasattr(thing, "trace"):
            thing.trace(self._tracer)
            thing.add_hook(self._note_call)

    def watch_requests(self, requests: Requests) -> None:
        """Keep an app's requests."""
        requests.keep = self._note_request

    def watch_ledger(self, ledger: "Ledger") -> None:
        """Keep the accounts of what is kept with it."""
        ledger.listeners.append(self._note_account)

    def readings(self) -> Iterable[Reading]:
        """It has no metrics of its own."""
        return ()

    # ---- what happens, in the loop's thread

    def _keep(self, trace_id: str, work: Work) -> None:
        works = self._traces.get(trace_id)
        if works is None:
            while len(self._traces) >= MOST_TRACES:
                del self._traces[next(iter(self._traces))]
            works = self._traces[trace_id] = []
        if len(works) < MOST_WORKS:
            works.append(work)

    def _note_request(self, span: HttpSpan) -> None:
        trace = span.incoming.traceparent
        self._await_account(span.recorded, trace)
        method = span.scope.get("method", "")
        self._keep(
            trace_id_of(trace),
            Work(
                span=span_id_of(trace),
                parent=span.incoming.parent,
                kind="request",
                name=f"{method} {span.route or span.scope.get('path', '')[:_LONGEST_NAME]}",
                outcome=str(span.status),
                started=self._clock() - span.seconds,
                seconds=span.seconds,
            ),
        )

    def _await_account(self, recorded: float, trace: str) -> None:
        if recorded < math.inf:
            if len(self._awaited) >= _MOST_AWAITED:  # accounts that never came: the ledger was turned off
                self._awaited.clear()
            self._awaited[recorded] = trace_id_of(trace), span_id_of(trace)

    def _note_account(self, account: Account) -> None:
        trace_id, span = self._awaited.pop(account.started, ("", ""))
        works = self._traces.get(trace_id, ())
        for index, work in enumerate(works):
            if work.span == span:
                self._traces[trace_id][index] = msgspec.structs.replace(work, account=account)

    def _note_call(self, signal: CallSignal | HttpCallFinished) -> None:
        if type(signal) is HttpCallFinished and is_asked(signal.traceparent):
            outcome = signal.error or str(signal.status)
            self._note(signal.traceparent, signal.parent, "call", signal.method, outcome, signal.seconds, signal.host)
        elif type(signal) is CallFinished and is_asked(signal.traceparent):
            kind: WorkKind = "call" if signal.side == "client" else "served"
            self._await_account(signal.recorded, signal.traceparent)
            self._note(signal.traceparent, signal.parent, kind, signal.method, signal.code, signal.seconds, signal.peer)

    def _note_message(self, signal: EventSignal) -> None:
        if isinstance(signal, EventHandled | EventPublished) and is_asked(signal.traceparent):
            kind: WorkKind = "published"
            if isinstance(signal, EventHandled):
                kind = "handled"
                self._await_account(signal.recorded, signal.traceparent)
            outcome = "ok" if signal.ok else "failed"
            self._note(signal.traceparent, signal.parent, kind, signal.topic, outcome, signal.seconds)

    def _note(
        self, trace: str, parent: str, kind: WorkKind, name: str, outcome: str, seconds: float, peer: str = ""
    ) -> None:
        self._keep(
            trace_id_of(trace),
            Work(
                span=span_id_of(trace),
                parent=parent,
                kind=kind,
                name=name[:_LONGEST_NAME],
                outcome=outcome,
                started=self._clock() - seconds,
                seconds=seconds,
                peer=peer,
            ),
        )
