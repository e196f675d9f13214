"""A service of all four call kinds on plain bytes, on either stack, whose requests say what shall happen."""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

import hasten.rpc
from tests.conftest import LoopFactory
from tests.rpc.interop._stacks import Stack

SERVICE = "test.Channel"
UNARY, RESPONSES, REQUESTS, BOTH = (f"/{SERVICE}/{name}" for name in ("Unary", "Responses", "Requests", "Both"))
HOLD = b"hold"
"""A request at which the handler waits for `release`."""
FAIL = b"fail"
"""A request that is answered with initial metadata and then the error FAILURE."""
FAILURE = (grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % \u00fc\n")
INITIAL = (("initial", "1"),)
TRAILING = (("trailing", "2"), ("trailing-bin", b"\x00\xff"))

Context = grpc.aio.ServicerContext[Any, Any]
Pairs = tuple[tuple[str, str | bytes], ...]
Answer = Callable[[bytes, Context], Awaitable[bytes]]

every_stack = pytest.mark.parametrize("stack", Stack, ids=lambda stack: stack.value)


@dataclass(slots=True)
class Seen:
    """A call as its handler saw it; `seconds` is what its deadline left, None without one."""

    method: str
    metadata: Pairs
    seconds: float | None
    requests: list[bytes] = field(default_factory=list)

    def value(self, key: str) -> str | bytes | None:
        """Return the first value of a key of the metadata."""
        return next((value for name, value in self.metadata if name == key), None)


class Service:
    """Answers with what it was sent.

    Args:
      answer: What to do with a request instead.

    Attributes:
      calls: In the order they came.
      running, held, ended, cancelled: Handlers: that run now, wait at HOLD, came to their end, were cancelled.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.calls: list[Seen] = []
        self.running = self.held = self.ended = self.cancelled = 0
        self._answer = answer or self.echo
        self._released = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def only(self) -> Seen:
        """The one call there was."""
        (call,) = self.calls
        return call

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Responses": grpc.unary_stream_rpc_method_handler(self._responses),
            "Requests": grpc.stream_unary_rpc_method_handler(self._requests),
            "Both": grpc.stream_stream_rpc_method_handler(self._both),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def until(self, condition: Callable[["Service"], bool]) -> None:
        """Wait until something is true of the service."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    async def idle(self) -> None:
        """Wait until no handler runs."""
        await self.until(lambda service: service.running == 0)

    def release(self) -> None:
        """Let the held calls, and those that come, go on."""
        self._released.set()

    async def echo(self, request: bytes, context: Context) -> bytes:
        """Return the request, unless it is HOLD or FAIL."""
        if request == HOLD:
            self._count(held=1)
            try:
                await self._released.wait()
            finally:
                self._count(held=-1)
        if request == FAIL:
            await context.send_initial_metadata(INITIAL)
            await context.abort(*FAILURE, TRAILING)
        return request

    async def _unary(self, request: bytes, context: Context) -> bytes:
        with self._counted("Unary", context) as seen:
            return await self._take(seen, request, context)

    async def _responses(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        with self._counted("Responses", context) as seen:
            if request == HOLD:
                yield b"first"
            answer = await self._take(seen, request, context)
            for part in answer.split(b" "):
                yield part

    async def _requests(self, requests: AsyncIterable[bytes], context: Context) -> bytes:
        with self._counted("Requests", context) as seen:
            return b" ".join([await self._take(seen, request, context) async for request in requests])

    async def _both(self, requests: AsyncIterable[bytes], context: Context) -> AsyncIterator[bytes]:
        with self._counted("Both", context) as seen:
            async for request in requests:
                yield await self._take(seen, request, context)

    async def _take(self, seen: Seen, request: bytes, context: Context) -> bytes:
        seen.requests.append(request)
        self._changed.set()
        return await self._answer(request, context)

    @contextlib.contextmanager
    def _counted(self, method: str, context: Context) -> Iterator[Seen]:
        metadata: Any = context.invocation_metadata()
        seen = Seen(method, tuple((key, value) for key, value in metadata), context.time_remaining())
        self.calls.append(seen)
        self._count(running=1)
        try:
            yield seen
        except BaseException as error:
            self._count(cancelled=isinstance(error, asyncio.CancelledError | GeneratorExit))
            raise
        else:
            self._count(ended=1)
        finally:
            self._count(running=-1)

    def _count(self, **changes: int) -> None:
        for name, change in changes.items():
            setattr(self, name, getattr(self, name) + change)
        self._changed.set()


def scripted(*outcomes: grpc.StatusCode | None, pairs: Pairs = ()) -> Answer:
    """Return what answers one call after the other with an error, None with the request; the last one for ever.

    Args:
      pairs: Trailing metadata of the errors.
    """
    turns = iter(outcomes)
    last = outcomes[-1]

    async def answer(request: bytes, context: Context) -> bytes:
        code = next(turns, last)
        if code is not None:
            await context.abort(code, "scripted", pairs)
        return request

    return answer


@contextlib.asynccontextmanager
async def serve(
    stack: Stack, service: Service, address: str = "127.0.0.1:0", *, credentials: Any = None, **settings: Any
) -> AsyncIterator[str]:
    """Serve on the running loop; yield the address."""
    server = grpc.aio.server(**settings) if stack is Stack.GRPC_AIO else hasten.rpc.Server(**settings)
    service.register(server)
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield address if address.startswith("unix") else f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(None)


def make_channel(
    stack: Stack, target: str, *, credentials: Any = None, options: Sequence[tuple[str, Any]] = (), **settings: Any
) -> grpc.aio.Channel:
    """Return a new channel."""
    if stack is Stack.HASTEN:
        return hasten.rpc.Channel(target, credentials=credentials, options=options, **settings)
    # grpc.aio shares connections between channels with equal options; ours never do.
    options = (*options, ("grpc.use_local_subchannel_pool", 1))
    if credentials is not None:
        return grpc.aio.secure_channel(target, credentials, options=options, **settings)
    return grpc.aio.insecure_channel(target, options=options, **settings)


@contextlib.asynccontextmanager
async def connected(
    stack: Stack, service: Service, *, server: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel of a stack to a service, on a server of the same stack."""
    async with serve(stack, service, **(server or {})) as address, make_channel(stack, address, **settings) as channel:
        yield channel


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """Return how a call ended."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def failure_of(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Return the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def in_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn a coroutine function into a test that runs once in each kind of event loop."""

    @functools.wraps(test)
    def run(loop_factory: LoopFactory, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(**arguments))

    signature = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__dict__["__signature__"] = signature.replace(parameters=[factory, *signature.parameters.values()])
    return run


Pending = Any
"""A call of one of the four kinds: what the tests ask of it is what they are about."""


def unary(channel: grpc.aio.Channel, request: Any = b"a", **settings: Any) -> Pending:
    """Make a unary call."""
    return channel.unary_unary(UNARY)(request, **settings)


def responses(channel: grpc.aio.Channel, request: Any = b"a b", **settings: Any) -> Pending:
    """Make a call with a stream of responses."""
    return channel.unary_stream(RESPONSES)(request, **settings)


def requests(channel: grpc.aio.Channel, *several: Any, **settings: Any) -> Pending:
    """Make a call with a stream of requests: one without any given."""
    return channel.stream_unary(REQUESTS)(iter(several or (b"a",)), **settings)


def both(channel: grpc.aio.Channel, *several: Any, **settings: Any) -> Pending:
    """Make a call with streams both ways: one request without any given."""
    return channel.stream_stream(BOTH)(iter(several or (b"a",)), **settings)


def written(channel: grpc.aio.Channel, **settings: Any) -> Pending:
    """Make a call with streams both ways whose requests are written."""
    return channel.stream_stream(BOTH)(**settings)


async def outcome_of(call: Pending) -> list[bytes]:
    """Return all responses of a call of any kind."""
    if hasattr(call, "__aiter__"):
        return [response async for response in call]
    return [await call]


CallKind = Callable[..., Pending]
KINDS: dict[str, CallKind] = {
    "unary": unary,
    "responses": responses,
    "requests": requests,
    "both": both,
}
every_kind = pytest.mark.parametrize("kind", KINDS)
