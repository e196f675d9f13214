"""How a call goes by way of a cache: answered at once, or made, and its answer kept.

`look` answers what it can; for the rest it returns what sends it: an `_Ask` for what may be kept, `_change` for what
may change something, and else the client's own `Calls.send`.

Source: RFC 9111 section 4; RFC 5861 for what is stale.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec

from hasten.concurrency import Background
from hasten.http._fields import values
from hasten.http._freshness import FAILED, Head, private_life
from hasten.http._invalidation import is_unsafe, of_same_origin
from hasten.http.client._cache import Fetch, PrivateCache
from hasten.http.client._calls import RETRIED, Calls
from hasten.http.client._errors import HttpError
from hasten.http.client._kept import Asked, Kept, Pair, as_pairs, born_of, kept_response
from hasten.http.client._request import Request
from hasten.http.client._response import Response
from hasten.resilience import DeadlineExceeded, Refused

Send = Callable[[Request, float], Coroutine[Any, Any, Response]]

_FAILURES = (HttpError, Refused, DeadlineExceeded)
_TRANSIENT = FAILED | RETRIED
"""Statuses that say nothing of what is kept."""
_MOST_RENEWALS = 32
_PAUSE = 1.0
"""Seconds after which what could not be renewed is tried again."""


class CachedCalls:
    """The calls of one client by way of a cache.

    Args:
      cache: Of this client, and perhaps others.
      calls: Makes those that are to be made.
      origins: `http://pricing:8000`, of each host; what is kept goes by the first.
      path: That goes before each target.
      own: Returns the fields that requests of the client have but for those with these names.
      timeout: Seconds for a renewal in the background.
    """

    def __init__(
        self,
        cache: PrivateCache,
        calls: Calls,
        *,
        origins: list[str],
        path: str,
        own: Callable[[frozenset[str]], list[Pair]],
        timeout: float,
    ) -> None:
        self.cache, self.calls = cache, calls
        self._origins, self._url = origins, origins[0] + path
        self._own, self._plain = own, Asked(own(frozenset()))
        self._timeout = timeout
        self._renewals = Background(_MOST_RENEWALS)

    async def aclose(self) -> None:
        """End the renewals in the background."""
        await self._renewals.aclose(0.0)

    def look(self, request: Request, *, plain: bool) -> tuple[Response | None, Send]:
        """Return the answer to a call if no call is to be made for it, and else what makes it.

        Args:
          plain: The caller has given no fields.
        """
        if request.method != "GET" and request.method != "HEAD":
            return None, self._change if is_unsafe(request.method) else self.calls.send
        asked = self._plain if plain else self._asked(request)
        if asked.passes or request.body:
            return None, self.calls.send
        url, cache = self._url + request.target, self.cache
        kept = cache.find(url, asked)
        if kept is not None:
            now = cache.clock()
            age = max(now - kept.born, 0.0)
            if kept.serves(asked, age):
                if age < kept.lifetime:
                    cache.hits += 1
                else:
                    cache.stale += 1
                    if age < kept.lifetime + kept.stale and now >= kept.renew_at:
                        self._renew(_Ask(self, url, asked, kept), request, kept)
                return self.response(request, kept, age), self.calls.send
        if "only-if-cached" in asked.directives:
            return self._nothing(request), self.calls.send
        return None, _Ask(self, url, asked, kept).send

    def response(self, request: Request, kept: Kept, age: float) -> Response:
        """Return what is kept as the answer to a request."""
        return Response(
            kept.status,
            b"%b\r\nage: %d" % (kept.lines, age),
            kept.content if request.method == "GET" else b"",
            host=kept.host,
            method=request.method,
            target=request.target,
            decoders=self.calls.decoders,
            from_cache=True,
        )

    def _asked(self, request: Request) -> Asked:
        return Asked([*self._own(request.overrides), *as_pairs(request.rest)])

    def _nothing(self, request: Request) -> Response:
        """Return what says that nothing is kept (section 5.2.1.7)."""
        return Response(
            504, b"\r\ncontent-length: 0", b"", method=request.method, target=request.target, from_cache=True
        )

    # ---- renewals

    def _renew(self, ask: "_Ask", request: Request, kept: Kept) -> None:
        """Ask for what is stale in the background; one call at a time, and none where there are too many."""
        get = msgspec.structs.replace(request, method="GET", start=b"GET ")
        try:
            self._renewals.keep(self._renewing(ask, get, kept), name=f"renewal of {ask.url}")
        except Refused:
            return
        kept.renew_at = self.cache.clock() + self._timeout + _PAUSE  # one that is cancelled at once sets no other

    async def _renewing(self, ask: "_Ask", request: Request, kept: Kept) -> None:
        try:
            with suppress(*_FAILURES):  # the hooks were told; what is kept is served until its time is over
                await ask.ask(request, monotonic() + self._timeout)
        finally:
            kept.renew_at = self.cache.clock() + _PAUSE

    # ---- changes

    async def _change(self, request: Request, deadline: float) -> Response:
        """Make a call that may change something, and drop what is not so any more (section 4.4).

        Cancellation: leaves open whether the change was made, as any failure does: what is at its target is dropped.
        """
        try:
            response = await self.calls.send(request, deadline)
        except BaseException:
            self.cache.drop(self._url + request.target)
            raise
        self.changed(request.target, response.status, response.fields.raw)
        return response

    def changed(self, target: str, status: int, headers: tuple[Pair, ...]) -> None:
        """Drop what an answer to an unsafe method makes invalid: what is at its target, Location, Content-Location."""
        if not 200 <= status < 400:
            return
        url = self._url + target
        self.cache.drop(url)
        named = [(name.lower(), value) for name, value in headers]
        for reference in values(named, b"location") + values(named, b"content-location"):
            for origin in self._origins:
                there = of_same_origin(origin + url.removeprefix(self._origins[0]), reference.decode("latin-1"))
                if there is not None:
                    query = f"?{there.query}" if there.query else ""
                    self.cache.drop(f"{self._origins[0]}{there.path or '/'}{query}")


class _Ask:
    """One call for what may be kept.

    Args:
      kept: What is there already, and is not good enough.
    """

    __slots__ = ("_asked", "_cached", "_kept", "url")

    def __init__(self, cached: CachedCalls, url: str, asked: Asked, kept: Kept | None) -> None:
        self._cached, self._asked, self._kept = cached, asked, kept
        self.url = url

    async def send(self, request: Request, deadline: float) -> Response:
        """Return the service's answer; what is kept, if that may be served in the place of a failure.

        Raises:
          HttpError, Refused, DeadlineExceeded: as without a cache.
        """
        try:
            response = await self.ask(request, deadline)
        except _FAILURES:
            kept = self._in_place_of_failure(request)
            if kept is None:
                raise
            return kept
        if response.status in FAILED:
            return self._in_place_of_failure(request) or response
        return response

    async def ask(self, request: Request, deadline: float) -> Response:
        """Ask the service, and keep what it answers; where something is kept already, whether that holds."""
        kept, cache, calls = self._kept, self._cached.cache, self._cached.calls
        with cache.fetching(self.url) as fetch:
            began = cache.clock()
            cache.misses += 1
            if kept is None or not kept.condition or request.method == "HEAD":
                response = await calls.send(request, deadline)
            else:
                conditional = msgspec.structs.replace(request, rest=kept.condition + request.rest)
                response = await calls.send(conditional, deadline)
                if response.status == 304:
                    answer = Head(304, response.fields.raw)
                    if kept.holds(answer):
                        cache.revalidated += 1
                        renewed = self._renewed(kept, answer, fetch, began)
                        return self._cached.response(request, renewed, max(cache.clock() - renewed.born, 0.0))
                    began = cache.clock()
                    response = await calls.send(request, deadline)  # it was about something else
            self._note(request, response, fetch, began)
        return response

    def _note(self, request: Request, response: Response, fetch: Fetch, began: float) -> None:
        """Keep an answer, or what it says of what is kept."""
        kept = self._kept
        if fetch.overtaken or (response.status in _TRANSIENT and kept is not None):
            return
        head, cache = Head(response.status, response.fields.raw), self._cached.cache
        if request.method == "GET":
            now = cache.clock()
            born = born_of(head, began, now)
            new = kept_response(head, response.content, response.host, self._asked, born=born, now=now)
            cache.put(self.url, self._asked, new)
        elif kept is not None and response.status == 200:
            if kept.is_described_by(head):
                self._renewed(kept, head, fetch, began)
            else:
                cache.put(self.url, self._asked, None)

    def _renewed(self, kept: Kept, answer: Head, fetch: Fetch, began: float) -> Kept:
        """Return what is kept with what an answer says of it, and keep that, if it may still be kept."""
        head, cache = kept.renewed(answer), self._cached.cache
        now = cache.clock()
        born = born_of(answer, began, now)
        new = kept_response(head, kept.content, kept.host, self._asked, born=born, now=now)
        if not fetch.overtaken:
            cache.put(self.url, self._asked, new)
        return new or Kept(head, private_life(head, now), kept.content, kept.host, self._asked, born=born)

    def _in_place_of_failure(self, request: Request) -> Response | None:
        kept, cache = self._kept, self._cached.cache
        if kept is None:
            return None
        age = max(cache.clock() - kept.born, 0.0)
        if not kept.serves_failure(age):
            return None
        cache.stale += 1
        return self._cached.response(request, kept, age)
