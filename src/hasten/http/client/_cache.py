"""Where a client's responses are kept."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hasten._core.errors import ConfigurationError
from hasten.http.client._kept import Asked, Kept

_MOST_VARIANTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateCacheStatistics:
    """What a cache has counted, of GET and HEAD.

    Attributes:
      responses, size_bytes: That it keeps now.
      hits: Answers that were fresh; no call was made.
      stale: Answers that were not, and served: while they were renewed, for `max-stale`, because a call failed.
      misses: Calls that were made, in the background as well.
      revalidated: Those of them that the service answered by saying that what is kept holds still (304).
      evicted: Responses that gave way to others.
    """

    responses: int
    size_bytes: int
    hits: int
    stale: int
    misses: int
    revalidated: int
    evicted: int


class PrivateCache:
    """Keeps responses to GET in the process's memory, as a private cache of RFC 9111: `Client(url, cache=...)`.

    What is kept, and for how long, the service alone says, by Cache-Control, Expires, Vary: nothing is guessed. What is
    stale and has an ETag or Last-Modified is asked for again with it, and a 304 makes it fresh. A hit takes 4.5 µs of
    CPU, where a call takes 21 at 64 in flight; to keep its answer takes 45 more, to find that it may not be kept 20 (1
    KB, uvloop, one run on a shared 2-core machine).

    A client calls for many users, so a response to a request with Authorization or a Cookie, be it one of
    `Client(fields=...)`, is kept only if it says that it is for all, as for a shared cache: `public`, `must-revalidate`
    or `s-maxage` (section 3.5), and is not `private`. Then it is everybody's, but for what Vary names: a service that
    says `public` of what one user may see shows it to the next. What was answered without credentials is not given to a
    request that has them. Other fields that say who asks, an API key or a tenant, are known by Vary alone.

    Give it to several clients, of one event loop, if they call the same service: it goes by the whole URL.

    Args:
      max_bytes: That responses may take; the one that was used the longest ago goes first, and with it what is kept of
        its URL for other request fields. A larger one is not kept.
      max_entries: URLs at most; each has up to eight responses, by what Vary names.
      clock: Gives the time of day in seconds.

    Attributes:
      hits, stale, misses, revalidated: As in the statistics; its clients count them.
    Raises:
      ConfigurationError: a bound is below 1.
    Source: RFC 9111, RFC 5861.
    """

    def __init__(
        self, *, max_bytes: int = 16 * 2**20, max_entries: int = 10_000, clock: Callable[[], float] = time.time
    ) -> None:
        if not 1 <= max_bytes < math.inf or not 1 <= max_entries < math.inf:
            raise ConfigurationError("PrivateCache", "max_bytes and max_entries must be at least 1, and finite")
        self.clock = clock
        self.hits = self.stale = self.misses = self.revalidated = 0
        self._max_bytes, self._max_entries = max_bytes, max_entries
        self._evicted = self._size_bytes = 0
        self._entries: OrderedDict[str, list[Kept]] = OrderedDict()
        self._fetches: dict[str, set[Fetch]] = {}

    def statistics(self) -> PrivateCacheStatistics:
        """Return the counts now, in any thread."""
        return PrivateCacheStatistics(
            responses=sum(map(len, list(self._entries.values()))),
            size_bytes=self._size_bytes,
            hits=self.hits,
            stale=self.stale,
            misses=self.misses,
            revalidated=self.revalidated,
            evicted=self._evicted,
        )

    def clear(self) -> None:
        """Drop everything; what is being fetched is not kept."""
        for url in [*self._entries, *self._fetches]:
            self.drop(url)

    # ---- for clients

    def find(self, url: str, asked: Asked) -> Kept | None:
        """Return the latest response for a request, fresh or not."""
        entry = self._entries.get(url)
        if entry is None:
            return None
        self._entries.move_to_end(url)
        for kept in reversed(entry):
            if kept.is_for(asked):
                return kept
        return None

    def put(self, url: str, asked: Asked, kept: Kept | None) -> None:
        """Keep the response for a request in the place of what was kept for it; with None keep nothing for it."""
        entry = self._entries.pop(url, [])
        left = [one for one in entry if not one.is_for(asked)]
        size = 0 if kept is None else kept.size_bytes + len(url)
        if kept is not None and size <= self._max_bytes:
            left.append(kept)
        left = left[-_MOST_VARIANTS:]
        self._size_bytes += sum(one.size_bytes for one in left) - sum(one.size_bytes for one in entry)
        self._size_bytes += len(url) * (bool(left) - bool(entry))
        if left:
            self._entries[url] = left
            self._make_room()

    def drop(self, url: str) -> None:
        """Keep nothing of a URL, and not what calls under way bring of it."""
        for fetch in self._fetches.get(url, ()):
            fetch.overtaken = True
        self._remove(url)

    def fetching(self, url: str) -> "Fetch":
        """Return a block in which a response is fetched."""
        return Fetch(self._fetches, url)

    def _make_room(self) -> None:
        while self._size_bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._evicted += self._remove(next(iter(self._entries)))

    def _remove(self, url: str) -> int:
        entry = self._entries.pop(url, None)
        if entry is None:
            return 0
        self._size_bytes -= len(url) + sum(kept.size_bytes for kept in entry)
        return len(entry)


class Fetch:
    """A block in which a response is fetched.

    Attributes:
      overtaken: The URL was changed since it began: the response may be one from before.
    """

    __slots__ = ("_fetches", "_url", "overtaken")

    def __init__(self, fetches: "dict[str, set[Fetch]]", url: str) -> None:
        self._fetches, self._url = fetches, url
        self.overtaken = False

    def __enter__(self) -> Self:
        self._fetches.setdefault(self._url, set()).add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        fetches = self._fetches[self._url]
        fetches.discard(self)
        if not fetches:
            del self._fetches[self._url]
