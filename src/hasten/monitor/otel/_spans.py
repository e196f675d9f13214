"""Spans from what has happened: a request, a call, a message. Made in the sender's thread, never in the loop's.

Names and attributes are OpenTelemetry's semantic conventions (1.45). Queries of URLs are left out: they hold what is
nobody's business.

Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/, .../rpc/rpc-spans/, .../messaging/messaging-spans/
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from hasten._core.routes import METHODS
from hasten._core.signals import CallFinished, EventHandled, EventPublished, HttpCallFinished
from hasten._core.tracing import span_id_of, trace_id_of
from hasten._core.version import __version__
from hasten.monitor._metric import OTHER
from hasten.monitor._requests import HttpSpan

SCOPE = InstrumentationScope("hasten", __version__)
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Status codes that are the server's fault (semantic conventions for gRPC); for a client all but OK are errors."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_OK = Status(StatusCode.UNSET)
_SYSTEMS = {"amqp": "rabbitmq", "amqps": "rabbitmq"}


class HttpEnded(msgspec.Struct, frozen=True, gc=False):
    """A request that has ended, in values of its own.

    Attributes:
      recorded: The `started` of its account; infinite if it gets none.
    """

    method: str
    route: str
    path: str
    scheme: str
    version: str
    host: str
    client: str
    agent: str
    status: int
    seconds: float
    traceparent: str
    tracestate: str
    parent: str
    recorded: float


Ended = HttpEnded | HttpCallFinished | CallFinished | EventPublished | EventHandled


class Finished(msgspec.Struct, frozen=True):
    """A span that is over.

    Attributes:
      ended: Unix time in nanoseconds.
      what: That has ended.
      system: Of a message: `amqp`, `kafka`, `memory`; else empty.
      events: Of the span.
    """

    ended: int
    what: Ended
    system: str = ""
    events: tuple[Event, ...] = ()


def http_ended(span: HttpSpan) -> HttpEnded:
    """Return a request by itself, without its scope."""
    scope = span.scope
    host = agent = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"user-agent":
            agent = value
    incoming, client = span.incoming, scope.get("client")
    return HttpEnded(
        scope["method"],
        span.route,
        scope["path"],
        scope.get("scheme", "http"),
        scope.get("http_version", ""),
        host.decode("latin-1"),
        client[0] if client else "",
        agent.decode("latin-1"),
        span.status,
        span.seconds,
        incoming.traceparent,
        incoming.tracestate,
        incoming.parent,
        span.recorded,
    )


def readable(finished: Finished, resource: Resource) -> ReadableSpan:
    """Return a span as exporters take it."""
    what = finished.what
    name, kind, attributes, error = _described(what, finished.system)
    if error:
        attributes["error.type"] = error
    state = TraceState.from_header([what.tracestate]) if isinstance(what, HttpEnded) and what.tracestate else None
    trace = int(trace_id_of(what.traceparent), 16)
    remote = kind in {SpanKind.SERVER, SpanKind.CONSUMER}
    context = SpanContext(
        trace, int(span_id_of(what.traceparent), 16), is_remote=False, trace_flags=_SAMPLED, trace_state=state
    )
    parent = SpanContext(trace, int(what.parent, 16), is_remote=remote, trace_flags=_SAMPLED) if what.parent else None
    return ReadableSpan(
        name,
        context,
        parent,
        resource,
        attributes,
        finished.events,
        kind=kind,
        status=Status(StatusCode.ERROR) if error else _OK,
        start_time=finished.ended - int(what.seconds * 1e9),
        end_time=finished.ended,
        instrumentation_scope=SCOPE,
    )


Description = tuple[str, SpanKind, dict[str, Any], str]
"""Name, kind, attributes, and the type of the error, empty without one."""


def _described(what: Ended, system: str) -> Description:
    if isinstance(what, HttpEnded):
        return _request(what)
    if isinstance(what, HttpCallFinished):
        return _http_call(what)
    if isinstance(what, CallFinished):
        return _call(what)
    if isinstance(what, EventPublished):
        return _publishing(what, system)
    return _handling(what, system)


def _request(what: HttpEnded) -> Description:
    known = what.method in METHODS
    host, port = _address(what.host)
    attributes = {
        "http.request.method": what.method if known else OTHER.upper(),
        "http.request.method_original": "" if known else what.method,
        "http.route": what.route,
        "http.response.status_code": what.status,
        "url.path": what.path,
        "url.scheme": what.scheme,
        "network.protocol.version": what.version,
        "server.address": host,
        "server.port": port,
        "client.address": what.client,
        "user_agent.original": what.agent,
    }
    name = f"{what.method if known else 'HTTP'} {what.route}".rstrip()
    error = str(what.status) if what.status >= _SERVER_ERROR else ""
    return name, SpanKind.SERVER, _said(attributes), error


def _http_call(what: HttpCallFinished) -> Description:
    known = what.method in METHODS
    host, port = _address(what.host)
    attributes = {
        "http.request.method": what.method if known else OTHER.upper(),
        "http.request.method_original": "" if known else what.method,
        "http.response.status_code": what.status or "",
        "http.request.resend_count": what.attempts - 1 if what.attempts > 1 else "",
        "http.request.body.size": what.sent_bytes,
        "http.response.body.size": what.received_bytes,
        "server.address": host,
        "server.port": port,
    }
    error = what.error or (str(what.status) if what.status >= _CLIENT_ERROR else "")
    return what.method if known else "HTTP", SpanKind.CLIENT, _said(attributes), error


def _call(what: CallFinished) -> Description:
    client = what.side == "client"
    method = what.method.removeprefix("/")
    host, port = _address(what.peer.partition(":")[2])
    attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": what.code,
        "server.address" if client else "client.address": host,
        "server.port" if client else "client.port": port,
        "hasten.rpc.attempt": what.attempt if client else "",
        "hasten.rpc.sent_bytes": what.sent_bytes,
        "hasten.rpc.received_bytes": what.received_bytes,
    }
    failed = what.code != "OK" if client else what.code in _SERVER_FAULTS
    return method, SpanKind.CLIENT if client else SpanKind.SERVER, _said(attributes), what.code if failed else ""


def _publishing(what: EventPublished, system: str) -> Description:
    attributes = _messaging(system, what.topic, "publish", "send")
    attributes["messaging.message.body.size"] = what.size_bytes
    return f"publish {what.topic}", SpanKind.PRODUCER, attributes, "" if what.ok else "unconfirmed"


def _handling(what: EventHandled, system: str) -> Description:
    attributes = _messaging(system, what.topic, "process", "process")
    attributes["messaging.consumer.group.name"] = what.group
    attributes["hasten.event.attempt"] = what.attempt
    attributes["hasten.event.waited_seconds"] = what.waited
    return f"process {what.topic}", SpanKind.CONSUMER, attributes, "" if what.ok else "failed"


def _messaging(system: str, topic: str, name: str, kind: str) -> dict[str, Any]:
    return {
        "messaging.system": _SYSTEMS.get(system, system),
        "messaging.destination.name": topic,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }


def _said(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value != ""}


def _address(text: str) -> tuple[str, Any]:
    """Return host and port of `127.0.0.1:80`, `[::1]:80`, `example.org`; the port is empty where there is none."""
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit():
        return host.removeprefix("[").removesuffix("]"), int(port)
    return text.removeprefix("[").removesuffix("]"), ""
