"""A request that the app works on, as the edge's layer and whoever sees its connection both know it."""

from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from hasten._core.routes import route_taken
from hasten.http._gate import EdgeRule
from hasten.resilience import Deadline, Limiter

if TYPE_CHECKING:
    from asyncio import Task

UNDER_WAY = "hasten.under_way"
"""Key of the scope under which the protocol hands a request to the edge's layer, which takes it out."""


class Response(Protocol):
    """A server's response, uvicorn's `RequestResponseCycle` for one."""

    scope: Any
    response_started: bool
    response_complete: bool


class UnderWay:
    """One request, from its admission to its response's end.

    Args:
      limiter: Has admitted it, and is told how it ends; None where nobody counts.
      response: Its response.
      unread: Seconds that it had lain unread in the kernel when it was admitted.

    Attributes:
      came: When it did, by `time.monotonic()`: what it takes counts from then.
      rule: Its rule.
      task: Runs the app for it.
      begun: When its task began; 0.0 before.
      deadline: The block it runs in; None without an end.
      gone: Its client has, and its task was cancelled for that.
    """

    __slots__ = ("_limiter", "_response", "begun", "came", "deadline", "gone", "rule", "task")

    def __init__(self, rule: EdgeRule, limiter: Limiter | None, response: Response, unread: float = 0.0) -> None:
        self.rule = rule
        self.task: Task[Any] | None = None
        self.deadline: Deadline | None = None
        self.gone = False
        self._response = response
        self._limiter = limiter
        self.begun = 0.0
        self.came = monotonic() - unread

    @property
    def started(self) -> bool:
        """Whether something of the response was sent."""
        return self._response.response_started

    @property
    def complete(self) -> bool:
        """Whether all of it was."""
        return self._response.response_complete

    def answered(self) -> None:
        """Note that its response is complete; its background tasks may still run."""
        limiter = self._limiter
        if limiter is not None:
            self._limiter = None
            limiter.ended(monotonic() - self.came, self._kind(), self.begun - self.came)

    def abandoned(self) -> None:
        """Note that nobody waits for its response any more: its client has gone, or its deadline has passed."""
        limiter = self._limiter
        if limiter is not None:
            self._limiter = None
            limiter.abandoned(monotonic() - self.came, self._kind())

    def _kind(self) -> str:
        route = route_taken(self._response.scope)
        return "" if route is None else getattr(route, "path", "")

    def ended(self) -> None:
        """Note that the app has returned, or failed."""
        if self._limiter is not None:
            self._limiter.dropped()
            self._limiter = None

    def leave(self) -> None:
        """Note that its client has gone: cancel it, and have `expired()` be true for what cannot be cancelled."""
        if self.rule.finishes or self.task is None:
            return
        self.gone = True
        self.abandoned()
        if self.deadline is not None:
            self.deadline.abandon()
        self.task.cancel("the client has gone")
