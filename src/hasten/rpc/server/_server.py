"""The server: a `grpc.aio.Server` on our own transport."""

import asyncio
import math
import ssl
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

import grpc
from grpc.aio import ServerInterceptor

from hasten._core.errors import ConfigurationError
from hasten._core.signals import CallHook, CallSignal
from hasten._core.tracing import Tracer
from hasten.rpc._credentials import context_for_server
from hasten.rpc._limits import Limits
from hasten.rpc._options import limits_from_options, server_options
from hasten.rpc.server._connection import ServerConnection
from hasten.rpc.server._interception import chain, intercepted
from hasten.rpc.server._method import Handlers, Method, is_async
from hasten.rpc.server._port import Credentials, Port
from hasten.rpc.server._running import RUN_BY_KIND
from hasten.rpc.server._threads import Threads

if TYPE_CHECKING:
    from hasten.ledger import WorkRecorder


class Server(grpc.aio.Server):
    """Serves gRPC; takes the place of `grpc.aio.server(...)`.

    Generated `add_…_to_server`, health checking, reflection and server interceptors go on unchanged.

    Args:
      migration_thread_pool: Runs handlers that are no coroutine functions; without it up to 32 threads of our own do.
      handlers: Generic handlers.
      interceptors: `grpc.aio.ServerInterceptor`s, the first one outermost.
      options: grpc's channel arguments; those that have a meaning here are listed in `hasten.rpc._options`.
      maximum_concurrent_rpcs: Calls that may run at once, in all connections; more get RESOURCE_EXHAUSTED.
      compression: What responses are compressed with if the client can read it.
      limits: Bounds of each connection; `options` override them.
      hooks: Called with a `CallStarted` and a `CallFinished` for each call.
    Raises:
      ConfigurationError: an option has a wrong value.
      ValueError: an interceptor is none of grpc.aio's, or `maximum_concurrent_rpcs` is below 1.
    """

    def __init__(
        self,
        migration_thread_pool: Executor | None = None,
        handlers: Sequence[grpc.GenericRpcHandler] | None = None,
        interceptors: Sequence[ServerInterceptor] | None = None,
        options: Sequence[tuple[str, Any]] | None = None,
        maximum_concurrent_rpcs: int | None = None,
        compression: grpc.Compression | None = None,
        *,
        limits: Limits | None = None,
        hooks: Sequence[CallHook] = (),
    ) -> None:
        # More than 8 parameters: the first six are those of grpc.aio.server.
        if maximum_concurrent_rpcs is not None and maximum_concurrent_rpcs < 1:
            raise ValueError("maximum_concurrent_rpcs should be a positive integer")
        self.limits = limits_from_options(limits or Limits(), options)
        self._options = server_options(options)
        self.compression = compression or self._options.compression
        self.hooks = list(hooks)
        self.tracer: Tracer | None = None
        self.recorder: WorkRecorder | None = None
        self.counts_calls = maximum_concurrent_rpcs is not None
        self._most_calls = maximum_concurrent_rpcs or 0
        self._calls = 0
        self._interceptors = _checked(interceptors or ())
        self._handlers = Handlers()
        self._handlers.add_generic(handlers or ())
        self._threads = Threads(migration_thread_pool)
        self._methods: dict[str, Method] = {}
        self._ports: list[Port] = []
        self._connections: set[ServerConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._terminated = asyncio.Event()
        self._is_closed = False  # stopped before it was started
        self._stopping: asyncio.Task[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._grace_ends_at = math.inf  # by the loop's clock
        self._intercept = chain(self._interceptors, self._handlers)

    # ---- grpc.aio.Server

    def add_hook(self, hook: CallHook) -> None:
        """Have one more hook called, in connections that are accepted from now on."""
        self.hooks.append(hook)

    def trace(self, tracer: Tracer) -> None:
        """Have each call that hooks are told of be a span; what its handler sends is within it."""
        self.tracer = tracer

    def record(self, recorder: "WorkRecorder") -> None:
        """Have some of the calls be in a ledger, each from when its handler begins."""
        self.recorder = recorder

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._handlers.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        self._handlers.register(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Bind an address at once, and return its port; connections are accepted from `start` on.

        Args:
          address: `127.0.0.1:50051`, `[::]:0` for a free port, `unix:/run/stock.sock`.
        Raises:
          RuntimeError: the address cannot be bound; the message says why, as grpc.aio's does.
        """
        return self._add(address, None)

    def add_secure_port(self, address: str, server_credentials: Credentials) -> int:
        """Bind an address for TLS; see `add_insecure_port`.

        Args:
          server_credentials: What `hasten.rpc.server_credentials` returns, or an `ssl.SSLContext` of your own.
        Raises:
          ConfigurationError: `grpc.ssl_server_credentials` were given, which cannot be read.
        """
        return self._add(address, context_for_server(server_credentials))

    def _add(self, address: str, tls: ssl.SSLContext | None) -> int:
        if self._loop is not None:
            raise ConfigurationError("hasten.rpc.Server", "a port was added after start()", "add it before")
        port = Port(address, tls, reuse_port=self._options.reuse_port)
        self._ports.append(port)
        return port.number

    async def start(self) -> None:
        """Accept connections, in the running loop; once started, do nothing.

        Raises:
          UsageError: the server was stopped, or runs in another loop.
        """
        loop = asyncio.get_running_loop()
        if self._stopping is not None or self._is_closed or self._loop not in {None, loop}:
            raise grpc.aio.UsageError("Server not in ready state")
        if self._loop is loop:
            return
        self._loop = loop
        for port in self._ports:
            await port.listen(loop, self._connection, self.limits.preface_seconds)

    def _connection(self) -> ServerConnection:
        assert self._loop is not None
        return ServerConnection(self._loop, self)

    async def stop(self, grace: float | None) -> None:
        """Accept nothing new, let open calls finish, then close.

        Each client is told twice by GOAWAY, so that none of its calls is lost: those that were not taken go elsewhere.

        Args:
          grace: Seconds after which handlers still running are cancelled; None cancels them at once. Of several calls
            of `stop` the one whose grace ends first counts.
        Cancellation: the server goes on stopping.
        """
        if self._loop is None:
            self._is_closed = True
            self._terminated.set()
            self._close_ports()
            self._threads.shutdown()
            return
        if self._stopping is None:
            self._close_ports()
            for connection in list(self._connections):
                connection.drain()
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        if not self._stopping.done():
            self._end_grace_in(grace or 0.0)
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        while self._connections:
            await asyncio.wait([connection.lost for connection in self._connections])
        if self._grace is not None:
            self._grace.cancel()
        self._threads.shutdown()
        self._terminated.set()

    def _end_grace_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() + seconds >= self._grace_ends_at:
            return
        self._grace_ends_at = loop.time() + seconds
        if self._grace is not None:
            self._grace.cancel()
        if seconds:
            self._grace = loop.call_later(seconds, self._cancel_calls)
        else:
            self._cancel_calls()

    def _cancel_calls(self) -> None:
        for connection in list(self._connections):
            connection.cancel_calls()

    def _close_ports(self) -> None:
        for port in self._ports:
            port.close()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - grpc.aio's
        """Wait until the server has stopped; True when `timeout` seconds passed first."""
        try:
            async with asyncio.timeout(timeout):
                await self._terminated.wait()
        except TimeoutError:
            return True
        return False

    # ---- what a connection asks (server._connection.Service)

    def resolve(self, path: str) -> Method | None:
        """Return what a path calls; the result is kept with the request's head, so this is off the hot path."""
        method = self._methods.get(path)
        if method is not None:
            return method
        handler = self._handlers.registered.get(path)
        if handler is not None:
            method = self._methods[path] = self._prepare(path, handler)
            if self._interceptors:
                method.run = intercepted(self._intercept, self._prepare)
            return method
        if self._interceptors or self._handlers.generic:
            return Method.unresolved(path, intercepted(self._intercept, self._prepare))
        return None

    def _prepare(self, path: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> Method:
        method = Method(path, handler, RUN_BY_KIND[bool(handler.request_streaming), bool(handler.response_streaming)])
        if not is_async(method.behaviour):
            method.run = self._threads.run_by_kind(method)
        return method

    def admit(self) -> bool:
        if self.counts_calls and self._calls >= self._most_calls:
            return False
        self._calls += 1
        return True

    def release(self) -> None:
        self._calls -= 1

    def tell(self, signal: CallSignal) -> None:
        for hook in self.hooks:
            try:
                hook(signal)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "hasten.rpc: a hook raised", "exception": error}
                )

    def connection_made(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        if self._stopping is not None:
            connection.drain()
            if self._grace_ends_at <= connection.loop.time():
                connection.cancel_calls()

    def connection_lost(self, connection: ServerConnection) -> None:
        self._connections.discard(connection)


def _checked(interceptors: Sequence[object]) -> tuple[ServerInterceptor, ...]:
    invalid = [each for each in interceptors if not isinstance(each, ServerInterceptor)]
    if invalid:
        raise ValueError(f"Interceptor must be ServerInterceptor, the following are invalid: {invalid}")
    return cast("tuple[ServerInterceptor, ...]", tuple(interceptors))
