"""The channel: a `grpc.aio.Channel` on our own transport."""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import grpc
from grpc.aio import UsageError

from hasten._core.errors import ConfigurationError
from hasten._core.signals import CallHook
from hasten._core.tracing import Tracer
from hasten._core.version import __version__
from hasten.resilience import RetryBudget, Throttle
from hasten.rpc._credentials import context_for_channel
from hasten.rpc._limits import Limits
from hasten.rpc._options import ChannelOptions, channel_options, limits_from_options
from hasten.rpc.channel._attempts import Allowance, Retries
from hasten.rpc.channel._backoff import BackoffPolicy
from hasten.rpc.channel._balancing import Policy
from hasten.rpc.channel._call import ClientCall, Method
from hasten.rpc.channel._dispatcher import CallDispatcher, Route
from hasten.rpc.channel._encoding import RequestEncoder
from hasten.rpc.channel._intercepted import (
    InterceptedStreamStream,
    InterceptedStreamUnary,
    InterceptedUnaryStream,
    InterceptedUnaryUnary,
)
from hasten.rpc.channel._interceptors import Interceptors
from hasten.rpc.channel._multicallables import (
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from hasten.rpc.channel._outliers import default_detection
from hasten.rpc.channel._service_config import (
    EMPTY_SERVICE_CONFIG,
    Balancing,
    HedgingPolicy,
    MethodConfig,
    parse_service_config,
)
from hasten.rpc.channel._subchannel import Connectivity
from hasten.rpc.channel._target import Target, parse_target

_USER_AGENT = f"grpc-python-hasten/{__version__}"
Serialize = Callable[[Any], bytes] | None
Deserialize = Callable[[bytes], Any] | None


class Channel(grpc.aio.Channel):
    """Calls gRPC services; takes the place of `grpc.aio.insecure_channel` and `secure_channel`.

    Nothing happens at construction: the channel binds to the loop in which it is first used, so it may be made before
    the loop runs, and before a fork.

    Args:
      target: `dns:///stock:50051`, `ipv4:10.0.0.1:50051`, `unix:/run/stock.sock`, or several of them.
      credentials: An `ssl.SSLContext`, as `hasten.rpc.channel_credentials` returns, or what
        `grpc.ssl_channel_credentials` returns; None is without TLS.
      options: grpc's channel arguments; those that have a meaning here are listed in `hasten.rpc._options`.
      compression: What requests are compressed with.
      interceptors: grpc.aio's client interceptors, of all four kinds; the first one outermost.
      service_config: gRPC's service config, as JSON or as a dict.
      balancing: `pick_first`, `round_robin`, or `p2c` (power of two choices on peak EWMA); the service config's or
        `pick_first` without.
      limits: Bounds of each connection; `options` override them.
      retry_budget: Bounds retries and hedges of the service config; 10 % of the calls without. Channels may share one.
      hooks: Called with a `CallStarted` and a `CallFinished` for each attempt of each call.
    Raises:
      ConfigurationError: the target, an option or the service config is wrong.
      ValueError: an interceptor is of none of the four kinds.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        credentials: "ssl.SSLContext | grpc.ChannelCredentials | None" = None,
        options: Sequence[tuple[str, Any]] | None = None,
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
        service_config: str | Mapping[str, Any] | None = None,
        balancing: Policy | None = None,
        limits: Limits | None = None,
        retry_budget: RetryBudget | None = None,
        hooks: Sequence[CallHook] = (),
    ) -> None:
        # More than 8 parameters: five of them are those of grpc.aio.secure_channel.
        chosen = channel_options(options)
        config = service_config or chosen.service_config
        self._service_config = parse_service_config(config) if config else EMPTY_SERVICE_CONFIG
        self._retries = chosen.retries
        self.compression = compression or chosen.compression
        self._route = _route(
            parse_target(target),
            context_for_channel(credentials) if credentials is not None else None,
            chosen,
            _limits(limits or Limits(), options, chosen),
            _balancing(balancing, self._service_config.balancing, chosen.balancing),
            list(hooks),
        )
        self.encoder = self._route.encoder
        self._note_hooks()
        throttling = self._service_config.retry_throttling
        throttle = Throttle(throttling.max_tokens, throttling.token_ratio) if throttling else None
        self.allowance = Allowance(retry_budget or RetryBudget(), throttle)
        self._interceptors = Interceptors(interceptors or ())
        self._dispatcher: CallDispatcher | None = None
        self._process = 0
        self._resting: list[CallDispatcher] = []
        self._closed = False

    def add_hook(self, hook: CallHook) -> None:
        """Have one more hook called, for calls of stubs that are made from now on."""
        self._route.hooks.append(hook)
        self._note_hooks()

    def trace(self, tracer: Tracer) -> None:
        """Have each attempt that hooks are told of be a span, in calls of stubs that are made from now on.

        A call whose metadata has a `traceparent` is left to whoever has put it there.
        """
        self._route = replace(self._route, tracer=tracer)

    @property
    def tracer(self) -> Tracer | None:
        """Whose spans its calls are."""
        return self._route.tracer

    def _note_hooks(self) -> None:
        self.tracks = bool(self._route.hooks) or self._route.balancing != "pick_first"
        self.is_plain = not self.tracks and self.compression is None and not self._route.limits.sent_message_bytes

    # ---- where calls go

    def dispatcher(self, loop: asyncio.AbstractEventLoop) -> CallDispatcher:
        """Return what sends calls in this loop.

        Raises:
          UsageError: the channel is closed, or belongs to another loop that runs.
        """
        dispatcher = self._dispatcher
        if dispatcher is not None and dispatcher.loop is loop:
            return dispatcher
        return self._bind(loop)

    def _bind(self, loop: asyncio.AbstractEventLoop) -> CallDispatcher:
        if self._closed:
            raise UsageError("Channel is closed.")
        previous, process = self._dispatcher, os.getpid()
        if previous is not None and not previous.loop.is_closed():
            if previous.loop.is_running() and self._process == process:
                raise UsageError("This channel is used by another event loop that runs; make one channel a loop.")
            self._resting.append(previous)  # its loop stands still, or is the parent's: what it has is not touched
        self._process = process
        self._resting = [each for each in self._resting if not each.loop.is_closed()]
        again = [each for each in self._resting if each.loop is loop]
        if again:
            self._resting.remove(again[0])
            self._dispatcher = again[0]
        else:
            self._dispatcher = CallDispatcher(loop, self._route)
            self._dispatcher.close_with_loop()
        return self._dispatcher

    def __del__(self) -> None:
        dispatcher = getattr(self, "_dispatcher", None)
        if dispatcher is not None and not dispatcher.loop.is_closed() and self._process == os.getpid():
            dispatcher.loop.call_soon_threadsafe(dispatcher.release)

    def prepare(self, call: ClientCall, config: MethodConfig) -> None:
        """Give a call what the channel and the service config want of it."""
        limits = self._route.limits
        most = [size for size in (limits.sent_message_bytes, config.max_request_bytes) if size]
        call.largest_request = min(most, default=0)
        call.largest_response = config.max_response_bytes or 0
        call.tracked = self.tracks
        if self._retries and (config.retry is not None or config.hedging is not None):
            self.allowance.budget.deposit()
            call.tracked = True
            if config.retry is not None:
                call.plan = Retries(config.retry, self.allowance)

    def hedging(self, config: MethodConfig) -> HedgingPolicy | None:
        """Return how calls of a method are hedged, None when they are not."""
        return config.hedging if self._retries else None

    # ---- grpc.aio.Channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close(None)

    async def close(self, grace: float | None = None) -> None:
        """Close all connections; calls after that raise UsageError.

        Args:
          grace: Seconds that open calls have to finish; None cancels them at once, as those without a connection are.
        Raises:
          ValueError: `grace` is negative.
        """
        if grace is not None and grace < 0 and not self._closed:
            raise ValueError(f"grace must be non-negative, got {grace}.")
        self._closed = True
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + (grace or 0.0)
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None and dispatcher.loop is loop:
            await dispatcher.aclose(grace)
        await self._interceptors.aclose(ends_at - loop.time())

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        if self._closed:
            return Connectivity.SHUTDOWN
        if try_to_connect:
            self.dispatcher(asyncio.get_running_loop()).connect()
        return self._dispatcher.state if self._dispatcher is not None else Connectivity.IDLE

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        if self._closed:
            raise UsageError("Channel is closed.")
        await self.dispatcher(asyncio.get_running_loop()).wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Connect, and return once a call would be sent at once.

        That is with the first connection that stands, also where the balancing connects to all addresses: the others
        are under way then, and one that is down holds nobody up. The server's settings have come by then.
        """
        state = self.get_state(try_to_connect=True)
        while state is not Connectivity.READY:
            await self.wait_for_state_change(state)
            state = self.get_state(try_to_connect=True)

    def unary_unary(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Deserialize = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.UnaryUnaryMultiCallable[Any, Any]:
        def make(path: str | bytes) -> UnaryUnaryMultiCallable:
            return UnaryUnaryMultiCallable(self, *self._method(path, request_serializer, response_deserializer))

        interceptors = self._interceptors
        if interceptors.unary_unary:
            return InterceptedUnaryUnary(interceptors, interceptors.unary_unary, make, method)
        return make(method)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Deserialize = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.UnaryStreamMultiCallable[Any, Any]:
        def make(path: str | bytes) -> UnaryStreamMultiCallable:
            return UnaryStreamMultiCallable(self, *self._method(path, request_serializer, response_deserializer))

        interceptors = self._interceptors
        if interceptors.unary_stream:
            return InterceptedUnaryStream(interceptors, interceptors.unary_stream, make, method)
        return make(method)

    def stream_unary(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Deserialize = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.StreamUnaryMultiCallable[Any, Any]:
        def make(path: str | bytes) -> StreamUnaryMultiCallable:
            return StreamUnaryMultiCallable(self, *self._method(path, request_serializer, response_deserializer))

        interceptors = self._interceptors
        if interceptors.stream_unary:
            return InterceptedStreamUnary(interceptors, interceptors.stream_unary, make, method)
        return make(method)

    def stream_stream(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Deserialize = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.StreamStreamMultiCallable[Any, Any]:
        def make(path: str | bytes) -> StreamStreamMultiCallable:
            return StreamStreamMultiCallable(self, *self._method(path, request_serializer, response_deserializer))

        interceptors = self._interceptors
        if interceptors.stream_stream:
            return InterceptedStreamStream(interceptors, interceptors.stream_stream, make, method)
        return make(method)

    def _method(self, path: str | bytes, serialize: Serialize, deserialize: Deserialize) -> tuple[Method, MethodConfig]:
        path = path.decode() if isinstance(path, bytes) else path
        prefix = self.encoder.prefix(path)
        method = Method(path, self.encoder.authority, prefix, serialize, deserialize)
        return method, self._service_config.for_method(path)


def _limits(limits: Limits, options: Sequence[tuple[str, Any]] | None, chosen: ChannelOptions) -> Limits:
    limits = limits_from_options(limits, options)
    return replace(limits, keepalive_without_calls=True) if chosen.keepalive_without_calls else limits


def _balancing(given: Policy | None, configured: Balancing | None, option: str) -> Balancing:
    """Return how calls are balanced: by the constructor, else by the service config, else by an option."""
    if given is not None or configured is None:
        return Balancing(policy=given or _policy(option))
    return configured


def _policy(name: str) -> Policy:
    if name in {"", "pick_first"}:
        return "pick_first"
    if name == "round_robin":
        return "round_robin"
    if name == "p2c":
        return "p2c"
    raise ConfigurationError("grpc.lb_policy_name", f"unknown policy {name!r}", "pick_first, round_robin or p2c")


def _route(
    target: Target,
    tls: ssl.SSLContext | None,
    chosen: ChannelOptions,
    limits: Limits,
    balancing: Balancing,
    hooks: list[CallHook],
) -> Route:
    authority = chosen.authority or target.authority
    user_agent = " ".join(part for part in (chosen.user_agent_prefix, _USER_AGENT, chosen.user_agent_suffix) if part)
    host = authority.rpartition(":")[0] if ":" in authority and not authority.endswith("]") else authority
    return Route(
        target=target,
        encoder=RequestEncoder(authority, secure=tls is not None, user_agent=user_agent),
        limits=limits,
        tls=tls,
        server_name=chosen.tls_server_name or host.removeprefix("[").removesuffix("]") if tls is not None else "",
        balancing=balancing.policy,
        shuffle=balancing.shuffle,
        detection=balancing.outliers or default_detection(balancing.policy),
        backoff=BackoffPolicy(
            initial=chosen.initial_backoff_seconds,
            maximum=chosen.largest_backoff_seconds,
            min_connect_timeout=chosen.connect_timeout_seconds,
        ),
        resolution_seconds=chosen.resolution_seconds,
        idle_seconds=chosen.idle_seconds,
        hooks=hooks,
    )
