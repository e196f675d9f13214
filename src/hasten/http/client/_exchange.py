"""One request on its way, and what became of it."""

from time import monotonic
from typing import TYPE_CHECKING, Any

from hasten._core.errors import HastenError
from hasten.http.client._head import Head
from hasten.resilience import DeadlineExceeded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from hasten.http.client._connection import Connection
    from hasten.http.client._host import Host
    from hasten.http.client._pool import Pool
    from hasten.http.client._request import Request
    from hasten.http.client._stream import Body


class Exchange:
    """A request that waits for a connection, or for its answer on one; made for each attempt, so slotted and plain.

    It ends once: with a head (and content, unless it is streamed), or with an error, and wakes who awaits it. The error
    is no exception of its future: nobody has to fetch it where the caller has gone. Nor is the exchange its result:
    such a cycle would leave every call to the garbage collector.

    Attributes:
      request: To be sent.
      host: Where to.
      waiter: Done when it has ended; two attempts beside each other have one.
      deadline: When nobody waits any more, by `time.monotonic()`.
      told: The deadline that the host is told of; later for a streamed answer, of which `deadline` is the next part's.
      began, answered_at: When it was made, and the head of a streamed answer came; 0.0 before, and for others.
      body: Takes the parts of a streamed answer; None for one that is kept whole.
      connection: That carries it.
      pool: Where it waits for a connection.
      resent: It was sent a second time, because a connection that was kept had been closed.
      written: It was given to a connection.
      head, content: Of the answer.
      error: That has ended it.
      ended: It has an outcome, or nobody waits for one.
    """

    __slots__ = (
        "answered_at", "began", "body", "connection", "content", "deadline", "ended", "error", "head", "host", "pool",
        "request", "resent", "told", "waiter", "written",
    )  # fmt: skip

    def __init__(
        self, request: "Request", host: "Host", deadline: float, waiter: "asyncio.Future[None]", began: float
    ) -> None:
        self.request = request
        self.host = host
        self.deadline = self.told = deadline
        self.waiter = waiter
        self.began = began
        self.answered_at = 0.0
        self.body: Body | None = None
        self.connection: Connection | None = None
        self.pool: Pool | None = None
        self.resent = self.written = self.ended = False
        self.head: Head | None = None
        self.content = b""
        self.error: HastenError | None = None

    def __await__(self) -> "Generator[Any, None, None]":
        # A generator, although the future's own iterator would do: the ledger finds the exchange in it.
        yield from self.waiter

    @property
    def wait_name(self) -> str:
        """How the ledger names the wait for it: `http GET → pricing:8000`."""
        return f"http {self.request.method} → {self.host.pool.name}"

    @property
    def wait_identity(self) -> str:
        """What the ledger tells it by from other requests to the same host."""
        request = self.request
        return f"{request.target} {request.body[:64]!r}" if request.body else request.target

    def message(self, path: bytes, own_fields: bytes) -> bytes:
        """Return what is to be sent now; a long body is apart."""
        request = self.request
        if request.overrides:
            own_fields = self.host.fields_without(request.overrides)
        return request.message(path, own_fields, self.told - monotonic())

    def answered(self, head: Head, content: bytes) -> None:
        """Take the whole answer."""
        self.head, self.content = head, content
        self._end()

    def fail(self, error: HastenError) -> None:
        """End with an error; where the answer was complete already, do nothing."""
        if not self.ended:
            self.error = error
            self._end()
        if self.body is not None:
            self.body.fail(error)

    def expire(self) -> None:
        """End because the deadline has passed; called by `Expiry` alone."""
        self._let_go()
        self.fail(DeadlineExceeded())

    def leave(self) -> None:
        """Want no answer any more: the place in the queue, or the connection that would bring it, is given up."""
        self.ended = True
        self._let_go()

    def _let_go(self) -> None:
        connection, pool = self.connection, self.pool
        if connection is not None:
            connection.abort()
        elif pool is not None:
            pool.forget(self)

    def _end(self) -> None:
        self.ended = True
        if not self.waiter.done():
            self.waiter.set_result(None)
