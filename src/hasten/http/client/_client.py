"""The client of one service."""

import asyncio
import math
import random
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from hasten._core.ambient import AMBIENT, carried
from hasten._core.errors import ConfigurationError
from hasten._core.signals import HttpCallHook
from hasten._core.tracing import Tracer
from hasten._core.version import __version__
from hasten.http._invalidation import is_unsafe
from hasten.http.client._address import Address, parse_address
from hasten.http.client._cache import PrivateCache
from hasten.http.client._cached import CachedCalls, Send
from hasten.http.client._calls import Calls
from hasten.http.client._coalescing import Flights
from hasten.http.client._connecting import default_context
from hasten.http.client._head import Heads
from hasten.http.client._host import DECAY_SECONDS, AnyBreaker, Host, Hosts, host_breaker
from hasten.http.client._kept import as_pairs
from hasten.http.client._limits import Limits
from hasten.http.client._pool import Pool
from hasten.http.client._request import CallOptions, FieldsGiven, Request, field_lines, make_request
from hasten.http.client._response import Response
from hasten.http.client._statistics import ClientStatistics, HostStatistics
from hasten.http.client._stream import StreamedResponse, Streaming
from hasten.resilience import DeadlineExceeded, Hedge, RetryBudget, RetryPolicy
from hasten.resilience._peak_ewma import PeakEwma

T = TypeVar("T")
_THREE_ATTEMPTS = RetryPolicy()
_LIMITS = Limits()


class Client:
    """Calls one service, at one or several hosts, over HTTP/1.1 connections that are kept.

        async with Client("http://pricing:8000") as pricing:
            price = await pricing.get("/prices/7", decode=Price)
            response = await pricing.post("/orders", json=order, timeout=0.2)

    Make one for each service, for the life of the process. It may be made at import: nothing is connected, and no file
    read, until the first call, in whose event loop it lives from then on.

    A call has `timeout` seconds for everything, or what the ambient deadline leaves, if that is less; the host is told
    (`x-request-timeout-ms`), and the trace goes along (`traceparent`). Redirects are not followed, cookies not kept,
    proxies and `.netrc` not looked at, nothing is compressed.

    What may be carried out twice (GET, HEAD, PUT, DELETE, OPTIONS, or with an `Idempotency-Key`) is sent again when a
    connection breaks, or the answer is 429, 502, 503 or 504, after the Retry-After that it may have, as far as `retry`,
    `budget` and the time allow; everything, when there was no connection. Of several hosts each attempt has the better
    of two, by latency and calls under way, and a retry or hedge another one.

    Args:
      url: Where the service is, with a path that goes before each target; or several such, of one service.
      timeout: Seconds of a call, all attempts together.
      retry: How often and when a call is sent again; None for never.
      budget: How many retries and hedges may be beside the calls; one of its own by default. Give clients of one
        service the same.
      hedge: So many times the median latency after which a call that may be carried out twice is sent a second time,
        above 1; 0.0 for never. For clients whose calls are of one kind.
      breaker: Makes a breaker for each host, `Breaker` or `AdaptiveBreaker`; None for none.
      fields: That each request has; one of a call goes before one of the same name here.
      ssl: For https; by default the system's authorities are trusted.
      limits: Bounds of connections, times and bodies.
      cache: Keeps what the service says may be kept, and answers with it, as RFC 9111 says.
    Raises:
      ConfigurationError: a value is wrong.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        timeout: float = 5.0,
        retry: RetryPolicy | None = _THREE_ATTEMPTS,
        budget: RetryBudget | None = None,
        hedge: float = 0.0,
        breaker: Callable[[], AnyBreaker] | None = host_breaker,
        fields: FieldsGiven = (),
        ssl: tls.SSLContext | None = None,
        limits: Limits = _LIMITS,
        cache: PrivateCache | None = None,
    ) -> None:
        # More than 8 parameters: each is one property of a service, with a default.
        self._addresses = [parse_address(one) for one in ([url] if isinstance(url, str) else url)]
        if not self._addresses:
            raise ConfigurationError("Client([])", "no host", "for example http://pricing:8000")
        self._timeout = _checked_timeout(timeout)
        self._retry = retry
        self._budget = budget or RetryBudget()
        self._hedge = Hedge(self._budget, multiple=hedge) if hedge else None
        self._breaker = breaker
        self._fields = _Own(fields)
        self._ssl = ssl
        self._limits = limits
        self._hooks: list[HttpCallHook] = []
        self._tracer: Tracer | None = None
        self._flights = Flights()
        self._calls: Calls | None = None
        self._cache = cache
        self._cached: CachedCalls | None = None
        self._closed = False

    # ---- its life

    async def __aenter__(self) -> Self:
        """Return itself; one that was closed begins anew, as with apps that tests start twice."""
        if self._closed:
            self._closed, self._calls = False, None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; calls that are under way fail with `ConnectionLost`."""
        self._closed = True
        if self._calls is not None and self._calls.loop is asyncio.get_running_loop():
            self._calls.closed = True
            for host in self._calls.hosts.every:
                await host.pool.aclose()
            if self._cached is not None:
                await self._cached.aclose()

    def add_hook(self, hook: HttpCallHook) -> None:
        """Have a hook called with a `HttpCallFinished` for each call."""
        self._hooks.append(hook)

    def trace(self, tracer: Tracer) -> None:
        """Have each call that hooks are told of be a span."""
        self._tracer = tracer

    def statistics(self) -> ClientStatistics:
        """Return what is counted of each host, in any thread; before the first call there is only its name."""
        if self._calls is not None:
            return ClientStatistics(tuple(host.statistics() for host in self._calls.hosts.every))
        limit = self._limits.connections
        return ClientStatistics(
            tuple(
                HostStatistics(name=one.name, address=one.host, port=one.port, limit=limit) for one in self._addresses
            )
        )

    # ---- calls

    @overload
    async def request(self, method: str, target: str, *, decode: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def request(
        self, method: str, target: str, *, decode: None = None, **options: Unpack[CallOptions]
    ) -> Response: ...
    async def request(
        self, method: str, target: str, *, decode: type[Any] | None = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Make a call, and return its answer, whatever its status; with `decode` the body of one of success.

        Args:
          method: In upper case.
          target: Path and query, from the slash on, quoted.
          decode: A type that the JSON of the body is decoded to: a msgspec Struct, a pydantic model, `list[Price]`.
          options: See `CallOptions`.
        Raises:
          DeadlineExceeded: the time is over: of `timeout`, or of the ambient deadline.
          Refused: the breakers of all hosts are open; at once.
          ConnectFailed, ConnectionLost, ProtocolError, BodyTooLarge: there is no answer; see each.
          HttpStatusError, DecodeFailed: only with `decode`: the answer is no success; its body is something else.
          ConfigurationError: the request cannot be sent as it is.
        Cancellation: gives the call up, and its connection; a place in the pool is free at once.
        """
        calls = self._calls
        if calls is None or calls.loop is not asyncio.get_running_loop() or self._closed:
            calls = self._started()
        request, ambient, timeout = self._prepare(method, target, options)
        now = monotonic()
        deadline = min(now + timeout, ambient)
        if deadline <= now:
            raise DeadlineExceeded
        response: Response | None = None
        send: Send = calls.send
        if self._cached is not None:
            response, send = self._cached.look(request, plain="fields" not in options)
        if response is None and options.get("coalesce"):
            longest = max(timeout, self._timeout)  # the call is not the first caller's alone
            response = await self._flights.join(
                (request.target, request.shared, request.body),
                deadline,
                lambda: send(request, monotonic() + longest),
            )
        elif response is None:
            response = await send(request, deadline)
        return response if decode is None else response.raise_for_status().decode(decode)

    @overload
    async def get(self, target: str, *, decode: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def get(self, target: str, *, decode: None = None, **options: Unpack[CallOptions]) -> Response: ...
    async def get(self, target: str, *, decode: type[Any] | None = None, **options: Unpack[CallOptions]) -> Any:
        """Make a GET; see `request`."""
        return await self.request("GET", target, decode=decode, **options)

    @overload
    async def post(self, target: str, *, decode: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def post(self, target: str, *, decode: None = None, **options: Unpack[CallOptions]) -> Response: ...
    async def post(self, target: str, *, decode: type[Any] | None = None, **options: Unpack[CallOptions]) -> Any:
        """Make a POST; see `request`."""
        return await self.request("POST", target, decode=decode, **options)

    @overload
    async def put(self, target: str, *, decode: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def put(self, target: str, *, decode: None = None, **options: Unpack[CallOptions]) -> Response: ...
    async def put(self, target: str, *, decode: type[Any] | None = None, **options: Unpack[CallOptions]) -> Any:
        """Make a PUT; see `request`."""
        return await self.request("PUT", target, decode=decode, **options)

    @overload
    async def patch(self, target: str, *, decode: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def patch(self, target: str, *, decode: None = None, **options: Unpack[CallOptions]) -> Response: ...
    async def patch(self, target: str, *, decode: type[Any] | None = None, **options: Unpack[CallOptions]) -> Any:
        """Make a PATCH; see `request`."""
        return await self.request("PATCH", target, decode=decode, **options)

    @overload
    async def delete(self, target: str, *, decode: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def delete(self, target: str, *, decode: None = None, **options: Unpack[CallOptions]) -> Response: ...
    async def delete(self, target: str, *, decode: type[Any] | None = None, **options: Unpack[CallOptions]) -> Any:
        """Make a DELETE; see `request`."""
        return await self.request("DELETE", target, decode=decode, **options)

    async def head(self, target: str, **options: Unpack[CallOptions]) -> Response:
        """Make a HEAD; see `request`."""
        return await self.request("HEAD", target, **options)

    def stream(self, method: str, target: str, **options: Unpack[CallOptions]) -> Streaming:
        """Return a block in which an answer is read while it comes.

            async with pricing.stream("GET", "/prices") as response:
                async for part in response: ...

        `timeout` is for the head of the answer, and for each part of it; an ambient deadline for all.
        """
        if options.get("coalesce"):
            raise ConfigurationError("coalesce", "a streamed answer is for one caller")
        heard = self._heard if self._cache is not None and is_unsafe(method) else None
        return Streaming(self._started, lambda: self._prepare(method, target, options), heard)

    # ---- parts of a call

    def _prepare(self, method: str, target: str, options: CallOptions) -> "tuple[Request, float, float]":
        """Return a call's request, the ambient deadline, and the seconds that it has apart from that."""
        ambient = AMBIENT.get()
        deadline, trace, state = math.inf, "", ""
        if ambient is not None:
            deadline, trace = ambient.deadline, ambient.traceparent
            if trace:
                state = carried("tracestate")
        span = parent = ""
        tracer = self._tracer if self._hooks else None
        if tracer is not None and tracer.wants(trace):
            trace, parent = tracer.begin(trace)
            span = trace
        request = make_request(method, target, options, trace, state)
        if "traceparent" not in request.overrides:  # else somebody else traces it
            request.span, request.parent = span, parent
        if request.overrides:
            request.overrides &= self._fields.names
        timeout = _checked_timeout(options["timeout"]) if "timeout" in options else self._timeout
        return request, deadline, timeout

    def _heard(self, response: StreamedResponse, target: str) -> None:
        """Take note of the answer to a streamed call that may have changed something."""
        if self._cached is not None:
            self._cached.changed(target, response.status, response.fields.raw)

    def _started(self) -> Calls:
        """Return what makes the calls in the loop that runs; a client whose loop is closed begins anew in another."""
        if self._closed:
            raise ConfigurationError(f"Client({self._addresses[0].name})", "is closed", "make one for the process")
        loop = asyncio.get_running_loop()
        if self._calls is not None and self._calls.loop is not loop and not self._calls.loop.is_closed():
            raise ConfigurationError(
                f"Client({self._addresses[0].name})", "is used in two event loops", "make one for each"
            )
        if self._calls is None or self._calls.loop is not loop:
            heads = Heads()
            hosts = Hosts(
                [self._host(address, heads) for address in self._addresses],
                PeakEwma(monotonic, random.random, DECAY_SECONDS),
                monotonic,
            )
            self._calls = Calls(hosts, policy=self._retry, budget=self._budget, hedge=self._hedge, hooks=self._hooks)
            if self._cache is not None:
                self._cached = CachedCalls(
                    self._cache,
                    self._calls,
                    origins=[address.origin for address in self._addresses],
                    path=self._addresses[0].path,
                    own=self._fields.pairs,
                    timeout=self._timeout,
                )
        return self._calls

    def _host(self, address: Address, heads: Heads) -> Host:
        start = f" HTTP/1.1\r\nhost: {address.name}\r\n"
        pool = Pool(address, self._fields.after(start), self._limits, heads, self._context)
        breaker = self._breaker() if self._breaker is not None else None
        return Host(pool, breaker, lambda names: self._fields.after(start, names))

    async def _context(self) -> tls.SSLContext:
        if self._ssl is None:
            self._ssl = await asyncio.get_running_loop().run_in_executor(None, default_context)
        return self._ssl


class _Own:
    """The fields that all requests of a client have.

    Attributes:
      names: Of them, in lower case.
    """

    __slots__ = ("_lines", "names")

    def __init__(self, fields: FieldsGiven) -> None:
        """Check fields, and add `user-agent` if it is not among them.

        Raises:
          ConfigurationError: one cannot be sent.
        """
        pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
        self._lines = [(name.lower(), "".join(field_lines([(name, value)])[0])) for name, value in pairs]
        if "user-agent" not in dict(self._lines):
            self._lines.append(("user-agent", f"user-agent: hasten/{__version__}\r\n"))
        self.names = frozenset(name for name, _ in self._lines)

    def pairs(self, but: frozenset[str]) -> list[tuple[bytes, bytes]]:
        """Return the fields, without those named `but`."""
        return as_pairs("".join([line for name, line in self._lines if name not in but]).encode("latin-1"))

    def after(self, start: str, but: frozenset[str] = frozenset()) -> bytes:
        """Return `start` and the fields behind it, without those named `but`."""
        return "".join([start, *(line for name, line in self._lines if name not in but)]).encode("latin-1")


def _checked_timeout(seconds: float) -> float:
    if not 0.0 < seconds < math.inf:
        raise ConfigurationError(f"timeout={seconds}", "must be greater than 0, and finite")
    return seconds
