"""Records of what happened, handed to hooks: the monitor turns them into metrics, a test into assertions.

A hook is any callable that takes the record; it is called in the loop's thread and must return within microseconds.
Whoever emits builds the record only when a hook is there. A hook that raises harms nobody: the error goes to the
loop's exception handler.
"""

import math
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
      traceparent, parent: The span that it was, and the id of the one that it was within; empty where nobody traces.
      recorded: The `started` of the account that its handler will get; infinite if none.
    """

    side: Side
    method: str
    peer: str
    attempt: Attempt
    code: str
    seconds: float
    sent_bytes: int
    received_bytes: int
    traceparent: str = ""
    parent: str = ""
    recorded: float = math.inf


CallSignal = CallStarted | CallFinished
CallHook = Callable[[CallSignal], None]


class HttpCallFinished(msgspec.Struct, frozen=True, gc=False):
    """A call of `hasten.http.client` has ended, with all its attempts, whatever way.

    Attributes:
      host: That was asked last, `pricing:8000`; empty if none was.
      method: `GET`.
      status: Of the answer; 0 without one.
      error: Name of the error that it ended with, `DeadlineExceeded`, `CancelledError`; empty with an answer.
      seconds: All of it took; of a streamed one with its body.
      attempts: Requests that were sent, or waited for a connection, hedges among them.
      sent_bytes, received_bytes: Of the bodies, the last attempt's.
      traceparent, parent: The span that it was, and the id of the one that it was within; empty where nobody traces.
    """

    host: str
    method: str
    status: int
    error: str
    seconds: float
    attempts: int
    sent_bytes: int
    received_bytes: int
    traceparent: str = ""
    parent: str = ""


HttpCallHook = Callable[[HttpCallFinished], None]


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
      traceparent, parent: The span that it was, and the id of the one that it was within; empty where nobody traces.
    """

    topic: str
    ok: bool
    seconds: float
    size_bytes: int
    traceparent: str = ""
    parent: str = ""


class EventDelivered(msgspec.Struct, frozen=True, gc=False):
    """A message has come from the broker; it is handled now, or waits for one of its key, or for a batch.

    Attributes:
      topic, group: Of the message, and who is to handle it.
      attempt: 1 for the first time.
      returned: How often it came back without being settled, as far as the broker knows.
      size_bytes: Of the payload.
    """

    topic: str
    group: str
    attempt: int
    returned: int
    size_bytes: int


class EventHandled(msgspec.Struct, frozen=True, gc=False):
    """A handler has ended; of a batch one for each message.

    Attributes:
      topic, group: Of the message, and who it was handled for.
      attempt: 1 for the first time.
      ok: Whether it returned; one that raised is tried again or buried, one that was cancelled is delivered again.
      seconds: That it took.
      waited: Seconds from the message's publishing to the handler's start, by both processes' clocks.
      traceparent, parent: The span that it was, and the id of the one that it was within; empty where nobody traces.
      recorded: The `started` of the account that it will get, a batch's for one of its messages; infinite if none.
    """

    topic: str
    group: str
    attempt: int
    ok: bool
    seconds: float
    waited: float
    traceparent: str = ""
    parent: str = ""
    recorded: float = math.inf


class EventRetried(msgspec.Struct, frozen=True, gc=False):
    """A message is to be handled again.

    Attributes:
      topic, group: Of the message, and who it is handled for.
      attempt: That has ended, 1 for the first; after `busy` and `batch` it is made again, after `failed` the next one.
      cause: Its handler raised; another consumer handles it (`once=`); the batch that it was in has failed.
      pause: Seconds until then; 0.0 after a batch, whose messages are handled one by one at once.
    """

    topic: str
    group: str
    attempt: int
    cause: Literal["failed", "busy", "batch"]
    pause: float


class EventBuried(msgspec.Struct, frozen=True, gc=False):
    """A message went to the dead letters.

    Attributes:
      topic, group: Of the message, and who could not handle it.
      cause: In one word.
    """

    topic: str
    group: str
    cause: Literal["failed", "rejected", "malformed", "expired", "returned"]


class EventBacklog(msgspec.Struct, frozen=True, gc=False):
    """What a group has not handled, as one of its consumers has asked the broker.

    All consumers of a group ask, and get the same answer: take the last one, never the sum.

    Attributes:
      topic, group: Whose messages.
      waiting: Messages to be delivered, those that are retried later included where the broker counts them.
      dead: Its dead letters.
    """

    topic: str
    group: str
    waiting: int
    dead: int


EventSignal = EventPublished | EventDelivered | EventHandled | EventRetried | EventBuried | EventBacklog
EventHook = Callable[[EventSignal], None]


class OutboxLag(msgspec.Struct, frozen=True, gc=False):
    """How far an outbox is behind, as its active relay sees it, every few seconds.

    Attributes:
      table: The outbox.
      count: Messages that wait.
      oldest: Seconds that the oldest has waited.
      refused: Messages that the broker refuses.
    """

    table: str
    count: int
    oldest: float
    refused: int


OutboxHook = Callable[[OutboxLag], None]


ThreadOutcome = Literal["ok", "error", "abandoned", "left", "expired", "refused"]
"""Of work for threads. In one: it returned, it raised, or it ended when its caller had gone. In none: its caller had
gone before, its deadline had passed, or it was not taken."""


class ThreadWork(msgspec.Struct, frozen=True, gc=False):
    """A piece of work for a `ThreadPool` has ended, whatever way.

    Attributes:
      pool: Name of the pool.
      waited: Seconds until a thread took it, or it was given up; 0.0 where it was refused.
      ran: Seconds in the thread; 0.0 where none took it.
    """

    pool: str
    outcome: ThreadOutcome
    waited: float
    ran: float


ThreadHook = Callable[[ThreadWork], None]

StrayKind = Literal["failed", "destroyed", "never-awaited", "unheld"]


class Stray(msgspec.Struct, frozen=True, gc=False):
    """A task or coroutine that nobody looks after, as `TaskWatch` has found it.

    Attributes:
      kind: `failed`: a task's error was seen by nobody. `destroyed`: a task was collected before it had ended.
        `never-awaited`: a coroutine was made and not run. `unheld`: a task runs to which nobody has a reference.
      site: Where the coroutine was made: `app/orders.py:41 place_order`; where that is not known, where it is defined:
        `app/mail.py:7 send_mail`.
      coroutine: Its qualified name.
      error: The error of a failed one, in one line; empty for the rest.
      count: How many of this kind and site there have been, this one included.
    """

    kind: StrayKind
    site: str
    coroutine: str
    error: str
    count: int


StrayHook = Callable[[Stray], None]


class LoopHeld(msgspec.Struct, frozen=True, gc=False):
    """Something has held the event loop for 20 ms or more.

    Attributes:
      site: Whose code: `app/orders.py:41 place_order`; empty where no stack was seen.
      seconds: For how long.
      preempted: For most of that time the kernel ran something else: nobody's code is to blame.
    """

    site: str
    seconds: float
    preempted: bool


class Collected(msgspec.Struct, frozen=True, gc=False):
    """A garbage collection has ended, in whichever thread it ran.

    Attributes:
      generation: 0 to 2.
      seconds: That all threads stood still.
    """

    generation: int
    seconds: float


class RequestRecorded(msgspec.Struct, frozen=True, gc=False):
    """The ledger has recorded a request.

    Attributes:
      steps: Seconds of each step of its tasks on the loop.
      thread_waits: Seconds until a thread took each function that was handed to one.
    """

    steps: tuple[float, ...]
    thread_waits: tuple[float, ...]


LedgerSignal = LoopHeld | Collected | RequestRecorded
LedgerHook = Callable[[LedgerSignal], None]
