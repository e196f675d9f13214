"""What a request carries along for everything that is done on its behalf: its deadline and its trace.

An entry point (a gRPC server call, the HTTP edge, a consumer, `resilience.deadline`) sets `AMBIENT` in the context of
its task; every call that leaves the process reads it. The object is looked at, never changed: whoever narrows the
deadline sets a new one.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


class Ambient(Protocol):
    """What is carried; a server's call object is its own ambient, so that setting it allocates nothing."""

    @property
    def deadline(self) -> float:
        """When the work is worth nothing any more, by `time.monotonic()`; `math.inf` when there is no deadline."""

    @property
    def traceparent(self) -> str:
        """The trace of the request as a W3C `traceparent` value; empty when it has none."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A plain `Ambient`."""

    deadline: float
    traceparent: str


AMBIENT: ContextVar[Ambient | None] = ContextVar("hasten_ambient", default=None)


def carried(name: str) -> str:
    """Return what only some kinds of ambients carry: `request_id`, `tracestate`; empty without, 0.15 µs.

    A deadline carries the trace of what is around it, and no more: that, its `outer`, is asked then.
    """
    ambient: object = AMBIENT.get()
    while ambient is not None:
        value = getattr(ambient, name, None)
        if value is not None:
            return str(value)
        ambient = getattr(ambient, "outer", None)
    return ""
