"""What the live page and `hasten top` show of a process at one moment: frozen, written and read as JSON.

Rates are per second, times are seconds, quantiles are interpolated within buckets (`Timing.quantile`). Every attribute
has a default, so that another version's sample can be read.
"""

import msgspec


class Point(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The figures of one second that are kept and drawn, None where there was nothing to measure.

    Attributes:
      at: When the second ended, Unix time.
      rate, errors: Requests that ended, and those of them with a 5xx.
      p50, p90, p99: Of the requests' durations.
      active: Requests that have not ended.
      lag, lag_most: Of the event loop's lag, the p99 and the bound of the highest bucket.
      blocked: For how long the loop has not called back.
      cpu: Seconds of CPU for each second.
      memory: Bytes.
      collecting: Seconds in garbage collections for each second.
      hit: Share of cache lookups that memory answered.
      answered, called: gRPC calls that were answered, and that were made.
      handled, lag_messages: Messages that were handled, and that wait.
    """

    at: float
    rate: float = 0.0
    errors: float = 0.0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    active: float = 0.0
    lag: float | None = None
    lag_most: float | None = None
    blocked: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    collecting: float = 0.0
    hit: float | None = None
    answered: float = 0.0
    called: float = 0.0
    handled: float = 0.0
    lag_messages: float | None = None


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """What happens again and again and takes time: requests of a route, calls of a method, messages of a topic.

    Attributes:
      name: `GET /orders/{id}`, `/shop.Stock/Get`, `orders.paid billing`.
      rate, failed: How many ended, and how many of them badly.
      busy: Seconds of all of them together for each second: what was under way at once, on average.
      threshold: Of the strictest latency objective that covers it; 0.0 without one.
    """

    name: str = ""
    rate: float = 0.0
    failed: float = 0.0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    busy: float = 0.0
    threshold: float = 0.0


class Consumer(Timed, frozen=True, kw_only=True):
    """A group's handling of a topic.

    Attributes:
      retried, buried: Messages that are to be handled again, and dead letters, for each second.
      waiting, dead: As the broker said last; None where it has not.
      waited: p99 from publishing to handling.
    """

    retried: float = 0.0
    buried: float = 0.0
    waiting: float | None = None
    dead: float | None = None
    waited: float | None = None


class Lookups(msgspec.Struct, frozen=True, kw_only=True):
    """A region of a cache.

    Attributes:
      name: Cache and region.
      rate: Lookups.
      hit: Share that memory has answered, stale values too; None without lookups.
      stale: Lookups that got a stale value.
      loads, failed: Loads, and failed ones.
      p99: Of the loads.
    """

    name: str = ""
    rate: float = 0.0
    hit: float | None = None
    stale: float = 0.0
    loads: float = 0.0
    failed: float = 0.0
    p99: float | None = None


class BlockingSite(msgspec.Struct, frozen=True, kw_only=True):
    """A line that held the event loop.

    Attributes:
      site: `orders.py:41 place_order`.
      count, seconds: Since the process began.
      last: When it was last seen, Unix time; None if that was before anybody looked.
    """

    site: str = ""
    count: float = 0.0
    seconds: float = 0.0
    last: float | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """An objective, and how fast its error budget burns.

    Attributes:
      of: Whose events: `GET /orders`, `all requests`.
      target: Share of events that are to be good.
      threshold: Seconds that a good one takes at most; 0.0 for availability.
      events, bad: In the last `seconds`, five minutes at most.
      burn: Share of bad ones by the share that may be: at 1 the budget lasts for the window; None without events.
    """

    name: str = ""
    of: str = ""
    target: float = 0.0
    threshold: float = 0.0
    window: str = ""
    events: float = 0.0
    bad: float = 0.0
    burn: float | None = None
    seconds: float = 0.0


class Occupied(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of threads or connections: in use, at most, and callers that wait."""

    name: str = ""
    used: float = 0.0
    limit: float = 0.0
    waiting: float = 0.0


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker: closed, half-open or open; times that it opened, and calls that it refused for each second."""

    name: str = ""
    state: str = ""
    opened: float = 0.0
    refused: float = 0.0


class Outbox(msgspec.Struct, frozen=True, kw_only=True):
    """An outbox: messages that wait, and for how long the oldest has."""

    name: str = ""
    waiting: float = 0.0
    oldest: float = 0.0


class Holds(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that should hold, why it does not, and whether the process is ready without it."""

    name: str = ""
    ok: bool = True
    reason: str = ""
    required: bool = True


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of the recorded requests of an endpoint went: seconds for each request, by kind.

    Attributes:
      endpoint: Empty for all together.
      requests: That were recorded.
    """

    endpoint: str = ""
    requests: float = 0.0
    kinds: dict[str, float] = {}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment.

    Attributes:
      started: When it began, Unix time: another value is another process.
      seconds: What the rates and quantiles of the tables are over, about ten; those of `point` are over one.
      blocked_at: What holds the loop, where it is blocked and that is seen.
      routes, routes_more: Those with the most time, and how many others there are.
      pauses: Garbage collections.
      thread_wait: p99 until a thread takes a function.
    """

    service: str = ""
    worker: str = ""
    started: float = 0.0
    seconds: float = 0.0
    point: Point = Point(0.0)
    blocked_at: str = ""
    tasks: float = 0.0
    checks: tuple[Holds, ...] = ()
    objectives: tuple[Budget, ...] = ()
    routes: tuple[Timed, ...] = ()
    routes_more: int = 0
    shares: tuple[Share, ...] = ()
    sites: tuple[BlockingSite, ...] = ()
    answered: tuple[Timed, ...] = ()
    called: tuple[Timed, ...] = ()
    published: tuple[Timed, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    outboxes: tuple[Outbox, ...] = ()
    caches: tuple[Lookups, ...] = ()
    pools: tuple[Occupied, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    pauses: Timed = Timed()
    thread_wait: float | None = None

    @property
    def ready(self) -> bool:
        """Whether all that must hold does."""
        return all(check.ok for check in self.checks if check.required)


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What is told first: the seconds so far, oldest first, and the newest sample, None before there is one.

    Attributes:
      fields: Names of a point's figures, in their order.
    """

    fields: tuple[str, ...] = Point.__struct_fields__
    points: tuple[Point, ...] = ()
    sample: Sample | None = None
