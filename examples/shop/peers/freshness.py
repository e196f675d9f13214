"""What the shop keeps, and for how long: the limits of the fast edition, with what cashews has for them.

| what                                  | is kept in                    | until                                       |
|---------------------------------------|-------------------------------|---------------------------------------------|
| products, reviews, results of searches| memory, and Redis if there is | it is a minute old and renewed              |
| products' pages, the daily report     | memory                        | what they were made from is a second old,   |
|                                       |                               | or an order of it comes to this process     |
| what an order asks for                | nowhere                       |                                             |

Redis tells every process which key was written anew (`client_side=True`), after it has been. cashews waits for nobody
to have heard it, so another storefront may show what was before an order until its second is over, and no longer, save
for who waits for a page that is being made just then; a page that shows the product beside another one may do so here,
too. Its products would each be a tag, and nine writes more for a page that is mostly asked for once.
"""

import time
from typing import NamedTuple

from cashews import Cache
from cashews.backends.memory import Memory

from examples.shop.peers.settings import Settings

FRESH = 60.0
"""Seconds after which what seldom changes is renewed, behind the back of who asks for it."""

STALE = 660.0
"""Seconds until it is gone, if nobody could renew it."""

CHANGING_TTL = 1.0
"""Seconds for which what orders change is shown, from the moment on that it was read."""

ENTRIES = 20_000
CHANGING = "changing:"
"""Keys of what orders change begin so: they are in memory, with and without Redis."""

REPORT = f"{CHANGING}report"
PAGE = f"{CHANGING}page:{{product_id}}"


class Kept(NamedTuple):
    """A response's body, and when what it is made from was read (`time.monotonic`)."""

    body: bytes
    read_at: float


def remaining(*_: object, result: Kept | Exception, **__: object) -> float:
    """Return the seconds for which a response may be kept; cashews asks for those of failures, too, but keeps none.

    It takes 0 for ever, and so it is never 0.
    """
    read_at = result.read_at if isinstance(result, Kept) else 0.0
    return max(CHANGING_TTL - (time.monotonic() - read_at), 1e-6)


def open_cache(settings: Settings) -> Cache:
    """Return the cache of a process, to be opened by `init`; those of a shop have the same Redis.

    No sweeper (`check_interval`): it would look at every entry once a second, in one go; the size is a bound already.
    """
    cache = Cache()
    if settings.redis is None:
        cache.setup("mem://", size=ENTRIES, check_interval=0)
    else:
        cache.setup(
            settings.redis,
            client_side=True,
            client_side_prefix="shop-peers:",
            client_side_listen_timeout=5.0,  # who has not heard Redis by then has no memory until the next start
            local_cache=Memory(size=ENTRIES, check_interval=0),
            max_connections=100,
            socket_timeout=0.25,  # without Redis the services are asked
            check_repr=False,
        )
    cache.setup("mem://", prefix=CHANGING, size=ENTRIES, check_interval=0, check_repr=False)
    return cache


async def forget(cache: Cache, product_id: int) -> None:
    """Drop what an order of a product has changed from this process's memory."""
    await cache.delete_many(PAGE.format(product_id=product_id), REPORT)
