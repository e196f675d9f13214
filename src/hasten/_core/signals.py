"""Records of what happened, handed to hooks: the monitor turns them into metrics, a test into assertions.

A hook is any callable that takes the record; it is called in the loop's thread and must return within microseconds.
Whoever emits builds the record only when a hook is there. A hook that raises harms nobody: the error goes to the
loop's exception handler.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

Side = Literal["client", "server"]
Attempt = Literal["first", "retry", "hedge", "transparent"]
"""Why a call was sent: for itself, again after a failure, beside a slow one, or again because the server said that
it never looked at it (REFUSED_STREAM, GOAWAY)."""


class CallStarted(msgspec.Struct, frozen=True, gc=False):
    """A gRPC attempt was sent (client), or a handler starts (server).

    Attributes:
      method: Full name, `/package.Service/Method`.
      peer: Address of the other side, `ipv4:127.0.0.1:50051`.
    """

    side: Side
    method: str
    peer: str
    attempt: Attempt


class CallFinished(msgspec.Struct, frozen=True, gc=False):
    """A gRPC attempt ended, whatever way.

    Attributes:
      code: Name of the status code: `OK`, `DEADLINE_EXCEEDED`.
      seconds: From `CallStarted` to the end.
      sent_bytes, received_bytes: Serialised messages, without framing, after compression.
    """

    side: Side
    method: str
    peer: str
    attempt: Attempt
    code: str
    seconds: float
    sent_bytes: int
    received_bytes: int


CallSignal = CallStarted | CallFinished
CallHook = Callable[[CallSignal], None]


class CacheLoaded(msgspec.Struct, frozen=True, gc=False):
    """A cache has found a value that its memory had not, or has failed to.

    Attributes:
      region: The cached function, or another part of the cache.
      source: Where it came from: the second tier, or the loader.
      ok: Whether there is a value.
      seconds: How long that took.
    """

    region: str
    source: Literal["second", "loader"]
    ok: bool
    seconds: float


CacheHook = Callable[[CacheLoaded], None]


class EventPublished(msgspec.Struct, frozen=True, gc=False):
    """A message was confirmed by its broker, or not.

    Attributes:
      topic: What it is about.
      ok: Whether the broker has it for good.
      seconds: Until that was known.
      size_bytes: Of the payload.
    """

    topic: str
    ok: bool
    seconds: float
    size_bytes: int


class EventHandled(msgspec.Struct, frozen=True, gc=False):
    """A handler has ended.

    Attributes:
      topic, group: Of the message, and who it was handled for.
      attempt: 1 for the first time.
      ok: Whether it returned; one that raised is tried again or buried.
      seconds: That it took.
      waited: Seconds from the message's publishing to the handler's start, by both processes' clocks.
    """

    topic: str
    group: str
    attempt: int
    ok: bool
    seconds: float
    waited: float


class EventBuried(msgspec.Struct, frozen=True, gc=False):
    """A message went to the dead letters.

    Attributes:
      topic, group: Of the message, and who could not handle it.
      cause: In one word.
    """

    topic: str
    group: str
    cause: Literal["failed", "rejected", "malformed", "expired", "returned"]


EventSignal = EventPublished | EventHandled | EventBuried
EventHook = Callable[[EventSignal], None]
