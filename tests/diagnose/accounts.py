"""Builds accounts for tests: a request is written as the stretches of its critical path, in order.

    account(computed(0.002, HANDLER), waited(0.010, PRICES, "7"), computed(0.001, HANDLER), endpoint="GET /")

Lines, timeline, wall time and calls follow from the stretches, by the rules in `hasten.ledger.Account`.
"""

from collections.abc import Callable
from typing import NamedTuple

from hasten.ledger import Account, Call, Kind, Line, Site

APP = "/srv/shop/app.py"
SERVICE = "shop"
ENDPOINT = "GET /products/{id}"
SAMPLE_INTERVAL = 0.005
SAMPLED_FROM = 0.010


class Stretch(NamedTuple):
    """One stretch of the critical path; `identity` makes it an awaited library call of its own."""

    kind: Kind
    site: Site
    seconds: float
    identity: str | None = None


def site(function: str = "read", line: int = 10, *, file: str = APP, library: str = "", leaf: str = "") -> Site:
    """Return a place in the user's code, with the library below it when one is named."""
    return Site(file=file, line=line, function=function, library=library, leaf=leaf or library)


def computed(seconds: float, at: Site) -> Stretch:
    """Own code used the CPU."""
    return Stretch(Kind.COMPUTING, at, seconds)


def blocked(seconds: float, at: Site) -> Stretch:
    """Own code held the loop in a blocking call."""
    return Stretch(Kind.BLOCKING, at, seconds)


def preempted(seconds: float, at: Site) -> Stretch:
    """Own code could run, but the kernel had no core for it."""
    return Stretch(Kind.PREEMPTED, at, seconds)


def waited(seconds: float, at: Site, identity: str = "") -> Stretch:
    """An awaited call was out; `identity` says with which arguments."""
    return Stretch(Kind.WAITING, at, seconds, identity)


def cached(seconds: float, at: Site, identity: str = "") -> Stretch:
    """A cache waited for its second tier; `identity` is the key."""
    return Stretch(Kind.CACHE, at, seconds, identity)


def held(seconds: float, holder: Site) -> Stretch:
    """Somebody else's line held the loop."""
    return Stretch(Kind.HELD, holder, seconds)


def queued(seconds: float) -> Stretch:
    """The request was ready and waited for its turn."""
    return Stretch(Kind.QUEUED, Site(), seconds)


def thread_queued(seconds: float, function: Site) -> Stretch:
    """`function` waited for a thread."""
    return Stretch(Kind.THREAD_QUEUED, function, seconds)


def threaded(seconds: float, function: Site) -> Stretch:
    """A thread ran `function`."""
    return Stretch(Kind.THREAD, function, seconds)


def collected(seconds: float, at: Site) -> Stretch:
    """The garbage collector ran within an own step."""
    return Stretch(Kind.COLLECTING, at, seconds)


def unread(seconds: float, holder: Site = Site()) -> Stretch:  # noqa: B008 (Site is immutable)
    """The request lay in the kernel before the server read it; not part of the wall time."""
    return Stretch(Kind.UNREAD, holder, seconds)


def account(
    *stretches: Stretch,
    service: str = SERVICE,
    endpoint: str = ENDPOINT,
    started: float = 100.0,
    status: int = 200,
    target: str = "",
    samples: tuple[tuple[Site, int], ...] | None = None,
) -> Account:
    """Return the account of a request that went through `stretches`.

    Args:
      samples: Stacks the watchdog saw; by default those of own stretches from 10 ms, one every 5 ms.
    """
    lines = _lines(stretches)
    index = {(line.kind, line.site): position for position, line in enumerate(lines)}
    inside = [part for part in stretches if part.kind is not Kind.UNREAD]
    return Account(
        service=service,
        endpoint=endpoint,
        target=target or endpoint.partition(" ")[2],
        request_id="",
        status=status,
        started=started,
        wall=sum(part.seconds for part in inside),
        unread=sum(part.seconds for part in stretches if part.kind is Kind.UNREAD),
        lines=lines,
        timeline=tuple((index[part.kind, part.site], part.seconds) for part in inside),
        calls=tuple(Call(part.site, part.identity) for part in inside if part.identity is not None),
        samples=_samples(inside) if samples is None else samples,
    )


def traffic(
    count: int,
    *stretches: Stretch,
    every: float = 0.05,
    first: float = 100.0,
    endpoint: str = ENDPOINT,
    service: str = SERVICE,
) -> list[Account]:
    """Return `count` equal requests, one every `every` seconds from `first`."""
    return varied(count, lambda _: stretches, every=every, first=first, endpoint=endpoint, service=service)


def varied(
    count: int,
    stretches: Callable[[int], tuple[Stretch, ...]],
    *,
    every: float = 0.05,
    first: float = 100.0,
    endpoint: str = ENDPOINT,
    service: str = SERVICE,
) -> list[Account]:
    """Return `count` requests, one every `every` seconds from `first`, as `stretches(number)` says."""
    return [
        account(*stretches(number), started=first + number * every, endpoint=endpoint, service=service)
        for number in range(count)
    ]


def _lines(stretches: tuple[Stretch, ...]) -> tuple[Line, ...]:
    sums: dict[tuple[Kind, Site], tuple[float, int]] = {}
    for part in stretches:
        seconds, count = sums.get((part.kind, part.site), (0.0, 0))
        sums[part.kind, part.site] = (seconds + part.seconds, count + 1)
    lines = [Line(kind, at, seconds, count) for (kind, at), (seconds, count) in sums.items()]
    return tuple(sorted(lines, key=lambda line: -line.seconds))


def _samples(inside: list[Stretch]) -> tuple[tuple[Site, int], ...]:
    own = (Kind.COMPUTING, Kind.BLOCKING)
    seen: dict[Site, int] = {}
    for part in inside:
        if part.kind in own and part.seconds >= SAMPLED_FROM:
            seen[part.site] = seen.get(part.site, 0) + round(part.seconds / SAMPLE_INTERVAL)
    return tuple(seen.items())
