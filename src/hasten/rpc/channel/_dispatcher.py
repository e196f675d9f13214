"""Where a channel's calls go: names become addresses, addresses connections, and each call gets one of them.

A dispatcher lives in one loop. Calls that find no connection stand in line until there is one, their deadline passes,
or it is clear that there will be none.
"""

import asyncio
import random
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import grpc

from hasten._core.signals import CallFinished, CallHook, CallSignal, CallStarted
from hasten._core.tracing import Tracer
from hasten.rpc._limits import Limits
from hasten.rpc.channel._backoff import Backoff, BackoffPolicy
from hasten.rpc.channel._balancing import Endpoint, Policy, make_balancer
from hasten.rpc.channel._call import ClientCall
from hasten.rpc.channel._connection import ClientConnection
from hasten.rpc.channel._encoding import RequestEncoder, trace_field
from hasten.rpc.channel._outliers import OutlierDetection, OutlierDetector
from hasten.rpc.channel._resolver import Lookup, ResolutionError, Resolver, system_lookup
from hasten.rpc.channel._subchannel import Connectivity, Subchannel
from hasten.rpc.channel._target import Address, Target
from hasten.rpc.transport._deadlines import Deadlines

_RELEASE_SECONDS = 0.1
"""How often a channel that nobody holds looks whether its last calls have ended."""
_NEXT_ADDRESS_SECONDS = 0.25
"""After so long without a connection the next address is tried beside (RFC 8305 section 5)."""
_FAREWELL_SECONDS = 0.1
"""What servers have to read our last words, and to answer TLS's close_notify, which grpc-core never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a channel reaches its servers.

    Attributes:
      tls, server_name: None and empty without TLS.
      detection: Of outliers; None ejects none.
      resolution_seconds: Least time from one name resolution to the next.
      idle_seconds: Without a call for so long, connections are closed until the next; 0 never.
      tracer: Begins a span for each attempt; None for none.
    """

    target: Target
    encoder: RequestEncoder
    limits: Limits
    tls: ssl.SSLContext | None
    server_name: str
    balancing: Policy
    shuffle: bool
    detection: OutlierDetection | None
    backoff: BackoffPolicy
    resolution_seconds: float
    idle_seconds: float
    hooks: list[CallHook]
    tracer: Tracer | None = None


class CallDispatcher:
    """Dispatches the calls of one channel in one loop.

    Args:
      lookup: Resolves names.
      clock: Monotonic seconds.

    Attributes:
      ready: The connection for all calls, where the balancer needs but one and it stands.
      state: Of the channel (gRPC's connectivity-semantics-and-api.md).
      failure: Why there is no connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        route: Route,
        *,
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = loop
        self.ready: ClientConnection | None = None
        self.state = Connectivity.IDLE
        self.failure = ""
        self._route = route
        self._clock = clock
        self._balancer = make_balancer(route.balancing, shuffle=route.shuffle)
        self._detector = OutlierDetector(route.detection, random.random) if route.detection else None
        backoff = Backoff(random.random, route.backoff)
        self._resolver = Resolver(
            route.target, backoff, lookup=lookup, clock=clock, min_seconds=route.resolution_seconds
        )
        self._resolving: asyncio.Task[None] | None = None
        self._subchannels: dict[Address, Subchannel] = {}
        self._retired: set[Subchannel] = set()
        self._line: OrderedDict[ClientCall, None] = OrderedDict()
        self._paused: OrderedDict[ClientCall, None] = OrderedDict()  # until their retry is due
        self._deadlines = Deadlines(loop, self._line.keys)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._state_waiters: list[asyncio.Future[None]] = []
        self._idle_seconds = route.idle_seconds
        self._ending: AsyncGenerator[None, None] | None = None

    # ---- calls

    def dispatch(self, call: ClientCall) -> None:
        """Send a call on a connection, now or as soon as there is one."""
        ready = self.ready
        if ready is not None and not call.tracked:
            ready.start(call)
            return
        plan = call.plan
        endpoint = self._balancer.pick() if plan is None or not plan.used else self._balancer.pick_other(plan.used)
        connection = endpoint.connection if isinstance(endpoint, Subchannel) else None
        if connection is None:
            self._line_up(call)
            return
        if call.tracked:
            self._track(call, endpoint, connection.peer)
        connection.start(call)

    def dispatch_later(self, call: ClientCall, seconds: float) -> None:
        """Send a call after a pause, which must end before its deadline."""
        call.wait_in(self._paused)
        self.loop.call_later(seconds, self._end_pause, call)

    def _end_pause(self, call: ClientCall) -> None:
        if call.line is self._paused:
            call.leave_line()
            self.dispatch(call)

    def _line_up(self, call: ClientCall) -> None:
        if self.state is Connectivity.SHUTDOWN:
            call.finish(grpc.StatusCode.UNAVAILABLE, "Channel closed.", final=True)
        elif self.state is Connectivity.TRANSIENT_FAILURE and not call.wait_for_ready:
            call.finish(grpc.StatusCode.UNAVAILABLE, self.failure)
        else:
            call.wait_in(self._line)
            self._deadlines.watch(call.deadline)
            self.connect()

    def _track(self, call: ClientCall, endpoint: Endpoint | None, peer: str) -> None:
        assert endpoint is not None
        call.endpoint = endpoint
        call.started_at = self._clock()
        call.sent_bytes = call.received_bytes = 0
        self._balancer.started(endpoint)
        if call.plan is not None:
            call.plan.used.add(endpoint)
        if call.within is not None and self._route.tracer is not None:
            call.span, call.parent = self._route.tracer.begin(call.within)
            call.span_field = trace_field(call.span)
        if self._route.hooks:
            self._tell(CallStarted("client", call.method.path, peer, call.attempt))

    def attempt_ended(self, call: ClientCall, code: grpc.StatusCode, *, final: bool) -> bool:
        """Account for an attempt of a call that is tracked; True when the call is sent again."""
        endpoint, now = call.endpoint, self._clock()
        if endpoint is not None:
            call.endpoint = None
            self._balancer.finished(endpoint, now - call.started_at, code)
            if self._detector is not None and self._detector.finished(endpoint, code, now):
                self._balance()
            if self._route.hooks:
                self._tell_finished(call, endpoint, code, now)
        return call.plan is not None and call.plan.attempt_ended(call, code, final=final)

    def attempt_withdrawn(self, call: ClientCall) -> None:
        """Account for an attempt of a call that is tracked which no server has looked at.

        To balancing it is a rejection if it was sent, and nothing if it only waited for its turn.
        """
        endpoint, call.endpoint = call.endpoint, None
        if endpoint is not None:
            now = self._clock()
            code = grpc.StatusCode.UNAVAILABLE if call.stream_id else grpc.StatusCode.CANCELLED
            self._balancer.finished(endpoint, now - call.started_at, code)
            if self._route.hooks:
                self._tell_finished(call, endpoint, code, now)

    def _tell_finished(self, call: ClientCall, endpoint: Endpoint, code: grpc.StatusCode, now: float) -> None:
        peer, seconds = endpoint.address.label, now - call.started_at
        sizes, span = (call.sent_bytes, call.all_received_bytes), (call.span, call.parent)
        self._tell(CallFinished("client", call.method.path, peer, call.attempt, code.name, seconds, *sizes, *span))

    def _tell(self, signal: CallSignal) -> None:
        for hook in self._route.hooks:
            try:
                hook(signal)
            except Exception as error:
                self.loop.call_exception_handler({"message": "hasten.rpc: a hook raised", "exception": error})

    # ---- connections

    def connect(self) -> None:
        """Resolve and connect, unless that is done or under way."""
        if self.state is Connectivity.IDLE:
            self._set_state(Connectivity.CONNECTING)
            self._resolve()
            self._start_timers()

    def _start_timers(self) -> None:
        if self._detector is not None and self._route.detection is not None:
            self._after("sweep", self._route.detection.interval, self._sweep)
        if self._idle_seconds:
            self._after("idle", self._idle_seconds, self._rest_if_idle, self._sent_calls())

    def _after(self, name: str, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        previous = self._timers.get(name)
        if previous is not None:
            previous.cancel()
        self._timers[name] = self.loop.call_later(seconds, call, *arguments)

    def _resolve(self) -> None:
        if self._resolving is None:
            self._resolving = self.loop.create_task(self._resolve_once())

    def _resolve_later(self) -> None:
        seconds = self._resolver.request()
        if seconds is not None:
            self._after("resolve", seconds, self._resolve)

    async def _resolve_once(self) -> None:
        try:
            addresses = await self._resolver.resolve()
        except ResolutionError as error:
            self._resolving = None
            if not self._subchannels:
                self._fail(f"DNS resolution failed for {self._route.target.name}: {error.reason}")
            self._resolve_later()
            return
        self._resolving = None
        self._take_addresses(addresses)
        if self._resolver.incomplete:
            self._resolve_later()

    def _take_addresses(self, addresses: Sequence[Address]) -> None:
        if self.state is Connectivity.SHUTDOWN:
            return
        known = self._subchannels
        self._subchannels = {address: known.get(address) or self._subchannel(address) for address in addresses}
        for address, subchannel in known.items():
            if address not in self._subchannels:
                self._retire(subchannel)
        self._balance()

    def _subchannel(self, address: Address) -> Subchannel:
        route = self._route
        backoff = Backoff(random.random, route.backoff)
        return Subchannel(
            *(address, self, self.loop, route.limits, route.encoder, backoff),
            tls=route.tls,
            server_name=route.server_name,
            clock=self._clock,
        )

    def _retire(self, subchannel: Subchannel) -> None:
        subchannel.shutdown()
        self._retired = {each for each in {*self._retired, subchannel} if each.connections()}

    def subchannel_changed(self, subchannel: Subchannel) -> None:
        """Take a subchannel's new state."""
        if subchannel.state is Connectivity.IDLE:
            self._resolve_later()
        self._balance()

    def _balance(self) -> None:
        """Bring everything in line with the subchannels' states."""
        endpoints = list(self._subchannels.values())
        if self._detector is not None:
            self._detector.update(endpoints)
        self._balancer.update(endpoints)
        endpoint = self._balancer.pick() if self._balancer.connects_one else None
        self.ready = endpoint.connection if isinstance(endpoint, Subchannel) else None
        if self.ready is not None:
            for other in endpoints:
                if other is not endpoint:
                    other.rest()
        self._connect_wanted()
        self._update_state(endpoints)

    def _connect_wanted(self) -> None:
        """Connect what the balancer wants: all, or one after the other until one stands."""
        for endpoint in self._balancer.wanted():
            assert isinstance(endpoint, Subchannel)
            endpoint.connect()
            if self._balancer.connects_one and not endpoint.failure:
                if not endpoint.ready:
                    self._after("next", _NEXT_ADDRESS_SECONDS, self._connect_next)
                break

    def _connect_next(self) -> None:
        """Try the next address beside those that have not answered (RFC 8305)."""
        for endpoint in self._balancer.wanted():
            assert isinstance(endpoint, Subchannel)
            if endpoint.state is Connectivity.IDLE:
                endpoint.connect()
                self._after("next", _NEXT_ADDRESS_SECONDS, self._connect_next)
                break

    def _update_state(self, endpoints: Sequence[Subchannel]) -> None:
        if any(each.ready for each in endpoints):
            self._set_state(Connectivity.READY)
            self._send_line()
        elif endpoints and all(each.failure for each in endpoints):
            last = next((each.failure for each in reversed(endpoints)), "")
            self._fail(f"failed to connect to all addresses; last error: {last}")
        else:
            self._set_state(Connectivity.CONNECTING)

    def _send_line(self) -> None:
        waiting = list(self._line)
        for call in waiting:
            call.leave_line()
            self.dispatch(call)

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self._set_state(Connectivity.TRANSIENT_FAILURE)
        for call in list(self._line):
            if not call.wait_for_ready:
                call.leave_line()
                call.finish(grpc.StatusCode.UNAVAILABLE, failure)

    def _sweep(self) -> None:
        assert self._detector is not None
        assert self._route.detection is not None
        if self._detector.sweep(self._clock()):
            self._balance()
        self._after("sweep", self._route.detection.interval, self._sweep)

    def _sent_calls(self) -> int:
        return sum(connection.sent_calls for connection in self.connections())

    def _rest_if_idle(self, sent_calls: int) -> None:
        """Close connections that nobody uses (gRFC A54's client_idle)."""
        busy = self._line or self._paused or any(connection.streams for connection in self.connections())
        if busy or sent_calls != self._sent_calls():
            self._after("idle", self._idle_seconds, self._rest_if_idle, self._sent_calls())
            return
        self._take_down()
        self._set_state(Connectivity.IDLE)

    def _take_down(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._resolving is not None:
            self._resolving.cancel()
            self._resolving = None
        subchannels, self._subchannels = list(self._subchannels.values()), {}
        self.ready = None
        self._balancer.update(())
        for subchannel in subchannels:
            self._retire(subchannel)

    # ---- the channel's state

    def _set_state(self, state: grpc.ChannelConnectivity) -> None:
        if state is not self.state and self.state is not Connectivity.SHUTDOWN:
            self.state = state
            waiters, self._state_waiters = self._state_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def wait_for_state_change(self, last: grpc.ChannelConnectivity) -> None:
        """Return once the state is another than `last`."""
        while self.state is last:
            waiter = self.loop.create_future()
            self._state_waiters.append(waiter)
            await waiter

    def connections(self) -> list[ClientConnection]:
        """Return all connections that stand."""
        subchannels = [*self._subchannels.values(), *self._retired]
        return [connection for each in subchannels for connection in each.connections()]

    async def aclose(self, grace: float | None) -> None:
        """Take no more calls; let open ones finish for `grace` seconds, cancel the rest, and close."""
        connections = self.connections()
        self._take_down()
        self._set_state(Connectivity.SHUTDOWN)
        waiting = [*self._line, *self._paused]
        for call in waiting:
            call.cancel()
        lost = [connection.lost for connection in connections]
        if lost and grace:
            await asyncio.wait(lost, timeout=grace)
        for connection in connections:
            for call in list(connection.open_streams()):
                call.cancel()
            connection.close()
        if lost:
            await asyncio.wait(lost, timeout=_FAREWELL_SECONDS)
            for connection in connections:
                connection.abort()
            await asyncio.wait(lost)
        self._deadlines.close()
        if self._ending is not None:
            await self._ending.aclose()

    def close_with_loop(self) -> None:
        """See to it that the end of the running loop closes what is open then: asyncio.run ends async generators."""
        self._ending = self._until_end()
        with suppress(StopIteration):
            self._ending.__anext__().send(None)  # to its `yield`

    async def _until_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._ending = None
            await self.aclose(None)

    def release(self) -> None:
        """Close as soon as no call is open: nobody holds the channel any more."""
        self._idle_seconds = _RELEASE_SECONDS
        if self.state is not Connectivity.SHUTDOWN:
            self._rest_if_idle(self._sent_calls())
