"""What is written down while a request runs: plain slotted objects, flat lists of numbers, no cycles.

Kept objects cost: records that hold references to each other once made collections of 34 to 109 ms. So a task's steps
are six numbers each in one flat list, and a request drops its tasks when its account is made.
"""

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import finalize

import msgspec

from hasten._core.routes import route_taken
from hasten.ledger._sites import OWN, START, SiteTable

if TYPE_CHECKING:
    from types import CodeType

    from hasten.ledger._loop_state import LoopState

STRIDE = 6
"""Numbers per step in `TaskRecord.steps`: waiting since, resumed, ended, loop busy since, site of the wait, waker.

The site is an index into the site table, negated and less one (`~index`) when the wait continues a call that was
suspended before; the waker is the number of the task of the same request whose step ended the wait, or NOBODY or
OUTSIDE."""

NOBODY = -1
"""Waker of a wait of which it is not known who ended it."""
OUTSIDE = -2
"""Waker of a wait that ended before any task of the request could have ended it."""

WORK = "hasten.work"
"""Key of a scope that is no request's, under which the work has its name."""
MOST_STEPS = 20_000
"""Of a task, 2 MB: one that has more is a stream without an end, and its request is recorded no more."""

_MOST_WATCHED = 64
_MOST_CALLS = 512


class Sample(NamedTuple):
    """What the watchdog saw: when, the site, and the loop thread's CPU clock and run-queue delay (seconds)."""

    when: float
    site: int
    cpu: float
    delay: float


class Stall(NamedTuple):
    """The thread's clocks before and after a long step, by its index: CPU and run-queue delay, seconds."""

    step: int
    cpu_before: float
    cpu_after: float
    delay_before: float
    delay_after: float


class TaskRecord:
    """The steps of one task of a sampled request.

    Attributes:
      coroutine: The user's coroutine that the task runs, while its request is recorded; `code` is its code afterwards.
      driven: The coroutine that drives it, until it starts.
      number: Index in the request's tasks; 0 is the root.
      parent: Number of the task that made it; the root's is 0.
      created: When the task was made, CLOCK_MONOTONIC seconds.
      ended: When its last step ended; 0.0 while it lives.
      waiting_since: When its last step so far ended.
      steps: Flat list, see STRIDE.
      stalls: The thread's clocks around its long steps.
      samples: What the watchdog saw during its steps.
      site: Coded site of the last suspension.
      anchor, base: Innermost (else the framework's) and outermost user coroutine at that suspension; the next walk
        starts at the first of them that is still suspended.
      called: The library coroutine (or future) awaited there: a new object is a new call.
      new_call: Set when the suspension began a new call.
      future: What the task is suspended on, while nobody has completed it.
      waker: Number of the task that completed it, or NOBODY or OUTSIDE.
    """

    __slots__ = (
        "anchor", "base", "called", "code", "coroutine", "created", "driven", "ended", "future", "new_call", "number",
        "parent", "samples", "site", "stalls", "steps", "waiting_since", "waker",
    )  # fmt: skip

    def __init__(self, coroutine: Any, number: int, parent: int, created: float) -> None:
        self.coroutine = coroutine
        self.code: CodeType | None = None
        self.number = number
        self.parent = parent
        self.created = self.waiting_since = created
        self.ended = 0.0
        self.steps: list[Any] = []
        self.stalls: list[Stall] = []
        self.samples: list[Sample] = []
        self.site = START
        self.new_call = False
        self.waker = NOBODY
        self.anchor = self.base = self.called = self.future = self.driven = None  # type: Any

    def end(self) -> None:
        """Let go of all that is the user's; close a coroutine whose task was cancelled, or will be, before it begins.

        Its driver is thrown the cancellation in its place, and ends without a look at it.
        """
        if self.driven is not None:
            finalize(self.driven, self.coroutine.close).atexit = False
        self.code = getattr(self.coroutine, "cr_code", None)
        self.coroutine = self.anchor = self.base = self.called = self.future = self.driven = None


class ScopeSummary(msgspec.Struct, frozen=True, gc=False):
    """What an account is made of from the request's ASGI scope: text, the route, and the function it leads to.

    Attributes:
      work: Name of what is no request, a gRPC method or a topic; empty for requests.
    """

    endpoint: Any = None
    route: Any = None
    method: str = ""
    path: str = ""
    query: bytes = b""
    request_id: bytes = b""
    work: str = ""

    @property
    def matched(self) -> bool:
        """Whether a route matched, or work has a handler: the name is then ours, and not whatever was asked for."""
        return self.route is not None or (self.work != "" and self.endpoint is not None)


NO_SCOPE = ScopeSummary()


def summary_of(scope: Any) -> ScopeSummary:
    """Return what is kept of an ASGI scope."""
    request_id = b""
    for name, value in scope.get("headers", ()):
        if name == b"x-request-id":
            request_id = value
            break
    get = scope.get
    return ScopeSummary(
        get("endpoint"),
        route_taken(scope),
        get("method", ""),
        get("path", ""),
        get("query_string", b""),
        request_id,
        get(WORK, ""),
    )


class RequestRecord:
    """One sampled request while it runs.

    Attributes:
      scope: The ASGI scope, once the app was called and while the request is recorded; holds the route when the router
        has matched.
      summary: Of the scope, once the request is closed and until its account is made.
      started: When its task was made.
      completed: When the last byte was handed to the transport; 0.0 before.
      finisher: Number of the task that handed it over.
      unread: Seconds its bytes lay in the kernel before; `unread_site` names the holder's line.
      closed: It is over; whatever of it still runs is no longer recorded.
      running: Number of the task whose step runs or ran last.
      threads: Functions run in threads: (task that handed over, site, handed over, started, ended).
      calls: Awaited library calls (site, identity), in detail mode only.
      sites: Whose numbers its sites are: another ledger in the process, or a capture, has others.
      state: Of the loop, by which it was begun: that of the ledger or of a capture.
      told: Whether listeners get its account.
    """

    told = True

    __slots__ = (
        "calls", "closed", "completed", "finisher", "running", "scope", "sites", "started", "state", "status",
        "summary", "tasks", "threads", "unread", "unread_site",
    )  # fmt: skip

    def __init__(self, started: float, sites: SiteTable | None = None) -> None:
        self.started = started
        self.sites = sites
        self.state: LoopState | None = None
        self.completed = 0.0
        self.finisher = 0
        self.unread = 0.0
        self.unread_site = START
        self.closed = False
        self.scope: Any = None
        self.summary = NO_SCOPE
        self.status = 0
        self.tasks: list[TaskRecord] = []
        self.threads: list[tuple[int, int, float, float, float]] = []
        self.running = 0
        self.calls: list[tuple[int, str]] = []

    def complete(self, now: float) -> None:
        """Note that the last byte was handed over, by the task whose step runs."""
        if not self.completed and not self.closed:
            self.completed = now
            self.finisher = self.running

    @property
    def end(self) -> float:
        """When the response was complete; the end of the root's last step when it never was."""
        return self.completed or self.tasks[0].waiting_since

    def add_task(self, coroutine: Any, created: float) -> TaskRecord:
        """Begin the record of a task that runs `coroutine` for this request."""
        task = TaskRecord(coroutine, len(self.tasks), self.running, created)
        self.tasks.append(task)
        return task

    def hand_over(self, target: Any, function: Callable[..., Any]) -> tuple[int, Callable[..., Any]]:
        """Return the site of `target`, which is handed to a thread as `function`, and what the thread is to run."""
        return (OWN if self.sites is None else self.sites.function(target)), function

    def note_call(self, site: int, identity: str) -> None:
        """Note an awaited library call that has arguments, the first 512 of a request."""
        if identity and len(self.calls) < _MOST_CALLS:
            self.calls.append((site, identity))

    def note_wakers(self, running: TaskRecord, number: int) -> None:
        """Note that what the others than `running` wait for and is now done was completed by task `number` or OUTSIDE.

        Called when a step begins (OUTSIDE) and ends, in requests of 2 to 64 tasks: 0.1 µs for each suspended one.
        """
        if len(self.tasks) > _MOST_WATCHED:
            return
        for task in self.tasks:
            future = task.future
            if future is not None and task is not running and future.done():
                task.future = None
                task.waker = number

    def close(self) -> None:
        """End the recording and let go of all that is the user's but the route: numbers and text are left."""
        self.closed = True
        scope, self.scope = self.scope, None
        for task in self.tasks:
            task.end()
        if scope is not None:
            self.summary = summary_of(scope)

    def drop(self) -> None:
        """Drop what the account was made of: a shell is left, under 512 bytes.

        Contexts that outlive the request keep it, a connection's keep-alive timer's for 5 s, for example.
        """
        self.summary = NO_SCOPE
        self.sites = self.state = None
        self.tasks.clear()
        self.threads.clear()
        self.calls.clear()


REQUEST: ContextVar[RequestRecord | None] = ContextVar("hasten_request", default=None)
"""The sampled request that the current task or thread works for."""


def recorded_since() -> float:
    """Return when the request that is worked for began, if its account will be told: its `started`; else infinity."""
    request = REQUEST.get()
    return math.inf if request is None or request.closed or not request.told else request.started
