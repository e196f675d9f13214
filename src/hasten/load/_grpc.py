"""The client for gRPC: calls on channels, several at a time on each.

The only module of hasten.load that needs grpc; it is imported when a plan holds gRPC methods.
"""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.load._client import Client, Outcome
from hasten.load._connection import Exchange
from hasten.load._grpc_template import GrpcTemplate, check_data
from hasten.load._plan import Plan
from hasten.load._reach import allow_open_files, tls_context, unreachable
from hasten.load._request_kind import RequestKind
from hasten.load._rpc_kind import metadata_of
from hasten.load._status_names import DEADLINE_EXCEEDED
from hasten.load._target import Target
from hasten.rpc import Channel
from hasten.rpc.channel import ClientCall
from hasten.rpc.schema import MethodSchema, Schema

_OTHER_FILES = 128  # that the process may hold open besides its channels'
_ROUNDING = 0.005  # seconds that a channel's deadline may come before ours
_GONE = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
_clock = time.perf_counter

MultiCallable = Callable[..., Any]


class GrpcPool(Client):
    """Channels to one server, all connected before the first call, used in turn.

    A call's deadline is what is left of the plan's time-out, so the server is told. Whatever ends a call but that is
    counted by its status, a lost connection as UNAVAILABLE: that is what a service sees.
    """

    def __init__(self, plan: Plan, target: Target, outcome: Outcome, *, request_ids: bool) -> None:
        self._plan = plan
        self._target = target
        self._outcome = outcome
        self._request_ids = request_ids
        self._timeout = plan.timeout
        self._loop = asyncio.get_running_loop()
        self._tls = tls_context("h2", verify=plan.verify) if target.secure else None
        self._metadata = [metadata_of(kind) for kind in plan.requests]
        self._channels: list[Channel] = []
        self._methods: list[MethodSchema] = []
        self._calls: list[list[MultiCallable]] = []  # by channel, then by kind
        self._running: dict[Exchange, asyncio.Task[None] | ClientCall] = {}
        self._turn = 0
        self.peak = 0
        self.repeats = 0
        self.own_limit = ""

    async def probe(self) -> None:
        count = self._plan.connection_limit
        allow_open_files(count + _OTHER_FILES)
        try:
            async with asyncio.timeout(self._timeout):
                await self._knock()
                self._channels = [Channel(self._target.address, credentials=self._tls) for _ in range(count)]
                await asyncio.gather(*(self._connected(channel) for channel in self._channels))
        except OSError as error:  # TimeoutError is one
            raise unreachable(self._target.origin, error, self._timeout) from error
        self.peak = count
        schema = await self._schema()
        self._methods = [self._method(schema, index) for index in range(len(self._plan.requests))]
        self._calls = [[_call_of(channel, method) for method in self._methods] for channel in self._channels]

    def template(self, index: int, kind: RequestKind, source: random.Random) -> GrpcTemplate:
        return GrpcTemplate(kind, self._methods[index], source, self._plan.place(f"request[{index}].data"))

    def submit(self, exchange: Exchange) -> None:
        """Call at once; a channel with all its streams taken holds the call until one is free."""
        kind = exchange.kind
        metadata = self._metadata[kind]
        if self._request_ids:
            metadata = (*metadata, ("x-request-id", str(exchange.number)))
        method = self._calls[self._turn][kind]
        self._turn = (self._turn + 1) % len(self._calls)
        exchange.sent = now = _clock()
        call = method(exchange.message, timeout=exchange.due + self._timeout - now, metadata=metadata)
        if self._methods[kind].server_streaming:
            self._running[exchange] = self._loop.create_task(self._read_all(exchange, call))
        else:  # no task: the channel calls back as soon as the answer is parsed
            self._running[exchange] = call
            call.add_done_callback(partial(self._ended, exchange))

    def expire(self, exchange: Exchange) -> None:
        """Cancel a call whose deadline the channel has not enforced by itself."""
        call = self._running.pop(exchange, None)
        if call is not None:
            call.cancel()
        self._outcome.failed(exchange, "timeout")

    async def aclose(self) -> None:
        running, self._running = list(self._running.values()), {}
        for call in running:
            call.cancel()
        tasks = [call for call in running if isinstance(call, asyncio.Task)]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _read_all(self, exchange: Exchange, call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> None:
        """Read a stream to its end and report that."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in call:
                pass
        self._report(exchange, await call.code())

    def _ended(self, exchange: Exchange, call: ClientCall) -> None:
        if call.outcome is not None:
            self._report(exchange, call.outcome)

    def _report(self, exchange: Exchange, status: grpc.StatusCode) -> None:
        """Report a call's end; nothing of a call that we have cancelled."""
        if self._running.pop(exchange, None) is None:
            return
        code: int = status.value[0]
        if code == DEADLINE_EXCEEDED and _clock() >= exchange.due + self._timeout - _ROUNDING:
            self._outcome.failed(exchange, "timeout")
        else:  # a server may say DEADLINE_EXCEEDED for a deadline of its own
            self._outcome.answered(exchange, code)

    async def _knock(self) -> None:
        """Open a connection and close it: a channel does not tell why it has none, the system does."""
        name = self._target.host if self._tls else None
        transport, _ = await self._loop.create_connection(
            asyncio.Protocol, self._target.host, self._target.port, ssl=self._tls, server_hostname=name
        )
        tls = transport.get_extra_info("ssl_object")
        transport.abort()
        if isinstance(tls, ssl.SSLObject) and tls.selected_alpn_protocol() != "h2":
            raise TargetUnreachable(self._target.origin, "it offers no HTTP/2", "is it a gRPC server?")

    async def _connected(self, channel: Channel) -> None:
        """Wait until the channel is ready.

        Raises:
          TargetUnreachable: the server accepts connections, and no HTTP/2 comes of it.
        """
        while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state in _GONE:
                remedy = "is it a gRPC server?" if self._tls else "is it a gRPC server, and one without TLS?"
                raise TargetUnreachable(self._target.origin, "it does not speak HTTP/2", remedy)
            await channel.wait_for_state_change(state)

    async def _schema(self) -> Schema:
        plan = self._plan
        if plan.proto:
            return await asyncio.to_thread(Schema.from_proto, plan.proto, plan.proto_path)
        return await Schema.from_reflection(self._channels[0], metadata=self._metadata[0], timeout=plan.timeout)

    def _method(self, schema: Schema, index: int) -> MethodSchema:
        """Return what a kind calls; it exists, can be called, and takes the kind's data."""
        kind, place = self._plan.requests[index], self._plan.place(f"request[{index}].method")
        method = schema.method(kind.method, place)
        if method.client_streaming:
            raise ConfigurationError(place, f"{method.name} takes a stream of requests", "a call here sends one")
        check_data(kind, method, self._plan.place(f"request[{index}].data"))
        return method


def _call_of(channel: Channel, method: MethodSchema) -> MultiCallable:
    """Return what starts a call; messages are bytes both ways."""
    return (channel.unary_stream if method.server_streaming else channel.unary_unary)(method.path)
