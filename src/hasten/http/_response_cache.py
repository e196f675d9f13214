"""The response cache: an ASGI layer that answers what it has, and lets the app make what it has not.

A request goes down as few steps as it needs:

1. `ResponseCache.__call__`: no rule for its path, or a fresh response in memory: the hit path, all in one function.
2. `_consider`: it asks for more (conditions, credentials, Cache-Control), or what there is is stale or not here.
3. `hasten.http._exchange`: the app runs, once for all who wait for the same response.

Source: RFC 9111 for a shared cache, RFC 5861.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from hasten._core.routes import WHOLE
from hasten.cache import Cache, Policy, codec_for
from hasten.http._asgi import App, Message, Receive, Scope, Send
from hasten.http._capture import Capture
from hasten.http._exchange import Exchange, Origin, Trial
from hasten.http._fields import without
from hasten.http._freshness import Head
from hasten.http._heads import Heads
from hasten.http._invalidation import changed_paths, is_unsafe
from hasten.http._protocol import Cycle
from hasten.http._request import Request, raw_path
from hasten.http._rules import Rule, RuleTable
from hasten.http._stored import Key, ResponseTexts, StoredResponse, age_field, not_modified, whole_answer

_UNSEEN = object()


class ResponseCache:
    """Keeps an app's responses, as a shared cache does: `app.add_middleware(ResponseCache, cache=cache, rules=[...])`.

    It belongs outside of layers that change a response for everybody (compression), whose work it keeps then, and
    inside of those that decide about each request (authentication, CORS), which a hit would pass by. Requests for which
    there is no rule, lifespan and websockets go through as they are, at 0.25 µs.

    A hit costs 2 µs more than an app that has its answer ready, of 21 µs behind uvicorn, if the cache is put around the
    app: `app = ResponseCache(api, ...)`. As a middleware it costs 8 µs, for FastAPI looks for OpenTelemetry's providers
    before its first layer (3 µs, unless its `telemetry` is off) and has three layers of its own before the others.

    Args:
      cache: Where responses are kept, in one or two tiers.
      rules: Of these the first one whose path matches counts.
      max_body_bytes: Larger bodies are passed on and not kept.
      header: The field that says where a response came from: `hit`, `stale`, `miss` or `bypass`.
      name: Of the cache's region; another one for each app that shares a cache.
      shared: False keeps responses in each process's memory, beside a second tier: for what lives too shortly to be
        worth the way. Invalidations reach them all the same, in every process.
      obey_clients: Requests may ask for what is fresher (no-cache, max-age, min-fresh), and so make the app work.
      refresh_timeout: Seconds for the app to renew what is stale in the background.
      clock: Gives the time of day in seconds.
    Cancellation: of a request cancels the app's run for it; one of those who wait for the same response goes on.
    Source: RFC 9111, RFC 5861.
    """

    def __init__(
        self,
        app: App,
        *,
        cache: Cache,
        rules: Iterable[Rule],
        max_body_bytes: int = 1024 * 1024,
        header: str = "X-Cache",
        name: str = "http",
        shared: bool = True,
        obey_clients: bool = True,
        refresh_timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # More than 8 parameters: all but two have a default that is right for nearly everybody.
        self._app = app
        self._cache = cache
        self._table = RuleTable(rules)
        self._obeys = obey_clients
        self._clock = clock
        field = header.lower().encode()
        self._hit, self._stale, self._miss, self._bypass = (
            (field, word) for word in (b"hit", b"stale", b"miss", b"bypass")
        )
        self._heads = Heads(self._hit, self._stale)
        self._region = cache.region(
            name,
            Policy(ttl=0.0),
            codec=codec_for(StoredResponse) if shared else None,
            text_of=ResponseTexts(cache.namespace, name),
        )
        self._entries, self._memory, self._counts = self._region.entries, self._region.memory, self._region.counts
        self._origin = Origin(
            app,
            self._region,
            clock=clock,
            most=max_body_bytes,
            refresh_timeout=refresh_timeout,
            missed=self._miss,
        )

    @property
    def app(self) -> App:
        """The app behind it."""
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        One function of more than 40 lines, since a call of a coroutine costs 0.1 µs.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            await (self._change if is_unsafe(method) else self._app)(scope, receive, send)
            return
        path, root = scope["path"], scope.get("root_path")
        route = _route_path(scope) if root else path
        match: Any = self._table.seen.get(route, _UNSEEN)
        if match is _UNSEEN:
            match = self._table[route]
        if match is None:
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        fields = dict(headers)
        active = match.active
        if method == "GET" and len(fields) == len(headers) and active.special.isdisjoint(fields):
            query = scope["query_string"]
            if query and active.rule.query is not None:
                query = active.query_of(query)
            raw = scope.get("raw_path") or raw_path(scope)
            key: Key = (scope.get("scheme"), fields.get(b"host"), root, path, raw, query)
            if active.vary:
                key = (*key, active.vary, *active.values_of(fields))
            entry: Any = self._entries.get(key)
            if entry is not None:
                now = time.monotonic()
                if now < entry.calm_until and now < self._memory.trusted_until and entry.epoch is self._memory.epoch:
                    entry.visited = True
                    self._counts.hits += 1
                    stored: StoredResponse = entry.value
                    age = self._clock() - stored.born
                    fresh = age < stored.lifetime
                    cycle: Any = getattr(send, "__self__", None)
                    whole: Any = None
                    if cycle is None:
                        whole = scope.get(WHOLE)
                        if whole is not None and whole[0] is send:
                            cycle = whole[1]
                    if type(cycle) is Cycle:  # no layer in between looks at messages, or the monitor's alone
                        head = self._heads(stored, age, fresh=fresh, server=cycle.default_headers)
                        if head is not None and cycle.send_whole(head, stored.body):
                            if whole is not None:
                                whole[2] = stored.status
                            return
                    state = self._hit if fresh else self._stale
                    start = {"type": "http.response.start", "status": stored.status}
                    start["headers"] = [*stored.headers, age_field(age), state]
                    await send(start)
                    await send({"type": "http.response.body", "body": stored.body})
                    return
        await self._consider(Request(scope, match, obeys=self._obeys), receive, send)

    # ---- what the hit path does not answer

    async def _consider(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer a request for which there is a rule, whatever it asks for."""
        if request.passes:
            await self._pass(request, receive, send)
            return
        entry = self._region.peek(request.key)
        stored = None if entry is None else entry.value
        if stored is not None and not request.may_have(stored):
            await self._pass(request, receive, send)
        elif stored is not None and request.accepts(stored, self._clock()):
            await self._through(request, receive, send)  # which does not wait, and renews what is stale
        elif request.head_only or request.only_if_cached:
            await self._without_app(request, receive, send)
        elif request.identity in self._origin.unkept and not self._has_for_errors(request.key):
            await self._pass(request, receive, send)
        else:
            await self._through(request, receive, send, forced=stored is not None or request.wants_new)

    def _has_for_errors(self, key: Key) -> bool:
        """Whether memory has what may be served if the app fails: then it runs through the region."""
        entry = self._entries.get(key)
        return entry is not None and time.monotonic() < entry.error_until

    async def _without_app(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer with what is there or say that there is nothing (section 5.2.1.7); HEAD is for the app then."""
        stored = await self._region.get(request.key)
        if stored is not None and request.may_have(stored) and request.accepts(stored, self._clock()):
            await self._deliver(request, stored, send)
        elif request.only_if_cached:
            headers = [(b"content-length", b"0"), self._miss]
            await send({"type": "http.response.start", "status": 504, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._pass(request, receive, send)

    async def _through(self, request: Request, receive: Receive, send: Send, *, forced: bool = False) -> None:
        """Get the response through the region, and answer with it."""
        exchange = Exchange(self._origin, request, (send, receive))
        try:
            stored = await exchange.get(forced=forced)
            if exchange.capture is not None:
                await self._answer_first(exchange, exchange.capture, stored, send)
            elif stored is None or not request.may_have(stored):
                await self._pass(request, receive, send)
            elif stored is exchange.made or forced or request.accepts(stored, self._clock()):
                await self._deliver(request, stored, send, made=stored is exchange.made)
            else:
                await self._through(request, receive, send, forced=True)
        except BaseException:
            await exchange.stop()
            raise

    async def _answer_first(
        self, exchange: Exchange, capture: Capture, stored: StoredResponse | None, send: Send
    ) -> None:
        """Answer the client for whom the app ran, and wait for the app's end."""
        if stored is None or capture.answers:
            await capture.finish()
        elif stored is exchange.made:
            await self._deliver(exchange.request, capture.as_first(stored), send, made=True)
            await capture.finish()
        else:  # a stale response of the second tier in the place of a failure
            await self._deliver(exchange.request, stored, send)
            await self._origin.finish(capture)

    async def _deliver(self, request: Request, stored: StoredResponse, send: Send, *, made: bool = False) -> None:
        """Send a response, or say that the client has it already.

        Args:
          made: The app has made it for this request.
        """
        age = self._clock() - stored.born
        state = self._hit if age < stored.lifetime else self._stale
        extra = (self._miss,) if made else (age_field(age), state)
        if request.has(stored):
            start, body = not_modified(stored, extra)
        else:
            start, body = whole_answer(stored, extra, head_only=request.head_only)
        await send(start)
        await send(body)

    async def _pass(self, request: Request, receive: Receive, send: Send) -> None:
        """Let the app answer, and keep nothing."""
        trial = Trial(self._origin, request)

        async def passing(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if request.identity in self._origin.unkept and trial(Head(message["status"], headers)):
                    self._origin.unkept.forgive(request.identity)
                message = {**message, "headers": [*without(headers, request.match.active.hidden), self._bypass]}
            await send(message)

        await self._app(request.scope, receive, passing)

    async def _change(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer a request that may change something, and drop what is not so any more (section 4.4).

        Twice: before the client hears of the change, and when the app has returned, for what it commits after its
        response (dependencies of FastAPI with yield) may have been read in between.

        Cancellation: before the response, it leaves open whether the change was made: what is at the request's own path
        is dropped.
        """
        tags: list[str] = []
        answered = False
        asked = {**scope}  # layers further in, FastAPI with a root_path among them, change the scope in place
        match = self._table[_route_path(asked)]

        async def noting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = list(message.get("headers", ()))
                tags.extend(self._tags_of(asked, changed_paths(asked, message["status"], headers)))
                message = {**message, "headers": without(headers, None if match is None else match.active.hidden)}
                if tags:
                    await self._cache.invalidate_tags(*tags)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if not answered:
                tags.extend(self._tags_of(asked, [asked["path"]]))
            raise
        finally:
            if tags:
                await self._cache.invalidate_tags(*tags)

    def _tags_of(self, scope: Scope, paths: Iterable[str]) -> list[str]:
        """Return the tags of paths, as far as there are rules for them."""
        matches = [self._table[_route_path(scope, path)] for path in paths]
        return list(dict.fromkeys(tag for match in matches if match is not None for tag in match.tags))


def _route_path(scope: Scope, path: str | None = None) -> str:
    """Return a path as the app's routes see it, behind the root path under which the app is mounted."""
    path, root = scope["path"] if path is None else path, scope.get("root_path") or ""
    rest = path.removeprefix(root)
    return (rest or "/") if rest != path and (not rest or rest.startswith("/")) else path
