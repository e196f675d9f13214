"""What the shop keeps, for how long, and that nobody is shown a price, stock or report from before an order.

| what                                   | is kept in                     | until                                |
|----------------------------------------|--------------------------------|--------------------------------------|
| products, reviews, results of searches | memory, and Redis if there is  | it is a minute old and renewed       |
| the daily report                       | both, if others are told       | any order, 1 s at the most           |
| products' pages                        | memory, if others are told     | an order of what they show, 1 s at   |
|                                        |                                | the most                             |
| what an order asks for                 | nowhere                        |                                      |

A page shows the prices and the stock of several products, and which these are is known when it is made: its response
names them in `SHOWS`, a field for the cache alone. An order of one of them drops every page that shows it. Pages stay
out of Redis: most are asked for once in the second that they live, and would be written there for nobody.

An order is taken by one process and shown by others. Redis carries what it makes invalid to all of them, and where
there is none, the broker does. Without both they do not hear of each other, and what orders change is not kept at all.

Who commits a change tells the others, and an order is answered when all know of it. While Redis or the broker is ill
that is when what they may have kept is too old to be shown: see `known_everywhere`. So what orders change is kept for a
second and not for longer. That is enough: for a product that everybody looks at, a storefront asks once in a second.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from examples.shop.fast.announcements import Announcements
from examples.shop.fast.settings import Settings
from hasten.cache import Cache
from hasten.cache.backplanes.bus import BusBackplane
from hasten.http import Rule

MEMORY = "memory://?max_entries=20000&max_bytes=67108864"
CHANGING_TTL = 1.0
"""Seconds for which what orders change is kept."""

GONE = CHANGING_TTL + 2.0
"""Seconds after a change in which all that was read before is gone: it came within `Timeouts.read`, and was kept."""

ORDERS = "orders"
"""The tag of what is made from all orders."""

SHOWS = "cache-tag"
"""The response field in which a page names the products whose price and stock it shows."""


def open_cache(settings: Settings) -> Cache:
    """Return the cache of a process; those of a shop have the same Redis, those of another shop have another."""
    told = None
    if settings.redis is None and settings.broker is not None:
        told = BusBackplane(Announcements(settings.broker, f"{settings.topic}.invalid"))
    return Cache(MEMORY, settings.redis, backplane=told, namespace="shop")


def rules(cache: Cache) -> Iterable[Rule]:
    """Return which public responses are kept in all tiers."""
    yield Rule("/search", ttl=60.0, stale=600.0, query=("q",))
    if cache.has_backplane:
        yield Rule("/reports/daily", ttl=CHANGING_TTL, tags=(ORDERS,), query=())


def page_rules(cache: Cache) -> Iterable[Rule]:
    """Return which are kept in memory alone."""
    if cache.has_backplane:
        yield Rule("/products/{product_id}", ttl=CHANGING_TTL, tag_header=SHOWS, query=())


def product_tags(product_ids: Iterable[int]) -> list[str]:
    """Return the tags of what shows these products' prices or stock."""
    return [f"product:{product_id}" for product_id in product_ids]


async def known_everywhere(cache: Cache, *tags: str) -> None:
    """Return when no process shows anything with one of these tags that was read before this call.

    It takes less than a millisecond; `GONE` while Redis or the broker, or this process alone, cannot tell the others.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE):
            while not await cache.invalidate_tags(*tags):  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.05)
