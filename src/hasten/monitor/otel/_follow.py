"""Goes on with a span of OpenTelemetry's own instrumentation, in apps that have it."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.trace import get_current_span

from hasten._core.ambient import AMBIENT, Ambient

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class FollowSpan:
    """ASGI middleware that has calls, messages and `outgoing_headers` carry on the span that is current around it.

        FastAPIInstrumentor.instrument_app(app)
        app.add_middleware(hasten.monitor.otel.FollowSpan)

    For apps whose requests OpenTelemetry's own instrumentation makes spans of, with `Otlp(spans=False)` or none.
    Without it, what goes out is within the caller's span, and not within theirs. It stands inside of that
    instrumentation.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app for one connection."""
        context = get_current_span().get_span_context()
        if context.is_valid:
            flags = int(context.trace_flags) & 0xFF
            traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
            AMBIENT.set(Followed(AMBIENT.get(), traceparent, context.trace_state.to_header()))
        await self._app(scope, receive, send)


class Followed:
    """An `Ambient`: what was carried along, with another trace.

    Attributes:
      outer: What was.
      deadline: That of `outer`.
      traceparent, tracestate: Of the span.
    """

    __slots__ = ("deadline", "outer", "traceparent", "tracestate")

    def __init__(self, outer: Ambient | None, traceparent: str, tracestate: str) -> None:
        self.outer = outer
        self.deadline = math.inf if outer is None else outer.deadline
        self.traceparent = traceparent
        self.tracestate = tracestate
