"""The account of one request: where each millisecond of its wall time went.

A `Ledger` makes one frozen `Account` per sampled request and hands it to its listeners; `diagnose` reads them.
Accounts hold only strings and numbers, so that they can be written to a file (`hasten.ledger.Recorder`), read by
another process (`read_accounts`) and replayed; they form no cycles, so the garbage collector does not look at them.
"""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a stretch of a request's time was spent on."""

    COMPUTING = "computing"
    """Own code ran on the event loop and the thread used the CPU."""
    BLOCKING = "blocking"
    """Own code ran on the event loop but the thread slept: a blocking call."""
    PREEMPTED = "preempted"
    """The loop could run, but the kernel ran something else: too few cores, or a CPU quota."""
    WAITING = "waiting"
    """Suspended at an await until something outside answered."""
    CACHE = "cache"
    """Suspended in a cache of hasten: its second tier answered, or another load of the same key ended."""
    HELD = "held"
    """Could have gone on, but somebody else's step or callback held the loop (the site is the holder's line)."""
    QUEUED = "queued"
    """Ready and waiting for its turn on the loop; nobody held it longer than the hold threshold."""
    THREAD_QUEUED = "thread-queued"
    """Handed to a thread pool, no thread had taken it yet (the site names the function handed over)."""
    THREAD = "thread"
    """A pool's thread ran the function (the site names it)."""
    COLLECTING = "collecting"
    """A garbage collection ran within an own step."""
    UNREAD = "unread"
    """The request's bytes lay in the kernel before the server read them (before the wall time; not in it)."""
    UNEXPLAINED = "unexplained"
    """No record says what happened."""


class Site(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A place in the code where time goes.

    Attributes:
      file: Absolute path of the innermost user code on the stack; empty where only library code was.
      line: Its line, from 1; 0 where file is empty.
      function: Its qualified name (`Basket.load`).
      library: The outermost library function below the user code (`httpx.AsyncClient.get`); empty for none.
      leaf: The innermost function below (`asyncio.Lock.acquire`), or the awaited object's type name.
    """

    file: str = ""
    line: int = 0
    function: str = ""
    library: str = ""
    leaf: str = ""


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of an account: the seconds that one kind of time took at one site.

    Attributes:
      count: Stretches of time added up; for WAITING and CACHE the number of calls (one may suspend several times).
    """

    kind: Kind
    site: Site
    seconds: float
    count: int


class Call(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One awaited call into a library, recorded when every request is (`hasten doctor`).

    Attributes:
      site: Where it was made.
      identity: The library function's simple arguments as text, at most 256 characters; equal for equal calls.
    """

    site: Site
    identity: str


class Account(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the time of one request went.

    Attributes:
      service: Name of the service that answered.
      endpoint: Method and route template (`GET /products/{id}`), the raw path where no route matched; of a gRPC call
        the method (`/shop.Pricing/Quote`), of a message the topic.
      target: Path with query as asked, at most 512 characters; empty for calls and messages.
      request_id: The `x-request-id` header; empty without one.
      status: HTTP status; 0 when no response was started, and for calls and messages.
      started: When the request's task was created: seconds of CLOCK_MONOTONIC, comparable between processes.
      wall: Seconds from `started` to the last byte handed to the transport.
      unread: Seconds the bytes lay unread in the kernel before `started`.
      lines: Seconds by kind and site, largest first; their sum is `wall` plus `unread`.
      timeline: The critical path in order as (index into lines, seconds) from `started`; sums to `wall`.
      calls: Awaited library calls in order; empty unless every request is recorded.
      samples: What the watchdog saw while this request's own code held the loop, as (site, times seen).
    """

    service: str
    endpoint: str
    target: str
    request_id: str
    status: int
    started: float
    wall: float
    unread: float
    lines: tuple[Line, ...]
    timeline: tuple[tuple[int, float], ...]
    calls: tuple[Call, ...] = ()
    samples: tuple[tuple[Site, int], ...] = ()

    @property
    def coverage(self) -> float:
        """Attributed share of the wall time, 0 to 1."""
        unexplained = sum(line.seconds for line in self.lines if line.kind is Kind.UNEXPLAINED)
        return 1.0 - unexplained / self.wall if self.wall > 0 else 1.0
