"""The seam between the generator and what carries its requests: an HTTP/1.1 pool, or gRPC channels.

The generator knows when a request is due and what becomes of it; a client knows how its bytes are made and sent.
"""

import random
from typing import Protocol

from hasten.load._connection import ErrorKind, Exchange
from hasten.load._request_kind import RequestKind


class Outcome(Protocol):
    """Whom a client tells what became of a request."""

    def answered(self, exchange: Exchange, status: int) -> None:
        """A complete response came: with an HTTP status code, or gRPC's number of its status."""

    def failed(self, exchange: Exchange, kind: ErrorKind) -> None:
        """No response will come."""


class Template(Protocol):
    """Makes the bytes of one kind of request, with fresh values of its parameters.

    Attributes:
      head_only: The response to it has no body (HEAD).
      idempotent: It may be sent again when a connection is lost.
    """

    @property
    def head_only(self) -> bool: ...
    @property
    def idempotent(self) -> bool: ...
    @property
    def render(self) -> "Render": ...


class Render(Protocol):
    """Returns the bytes of the request that has this number in the run."""

    def __call__(self, number: int, /) -> bytes: ...


class Client(Protocol):
    """Takes requests with `submit` and reports each one's outcome exactly once.

    Attributes:
      peak: The most connections that were open at one time.
      repeats: Requests sent again after a reused connection was closed under them.
      own_limit: The operating system's word for a limit of this process that stopped a connection; "" if none did.
    """

    peak: int
    repeats: int
    own_limit: str

    async def probe(self) -> None:
        """Reach the server and learn what must be known before the first request.

        Raises:
          TargetUnreachable: no address of the target accepts a connection.
          ConfigurationError: the server cannot be sent what the plan says.
        """

    def template(self, index: int, kind: RequestKind, source: random.Random) -> Template:
        """Return what renders the plan's kind number `index`; `probe` must have returned."""
        ...

    def submit(self, exchange: Exchange) -> None:
        """Send a request as soon as it can be sent."""

    def expire(self, exchange: Exchange) -> None:
        """Give up a request whose time is over, and report it."""

    async def aclose(self) -> None:
        """Close all connections at once, whatever is on them; nothing is reported any more."""
