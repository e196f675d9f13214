"""What an incoming call carries on to the calls made for it: its deadline, which only shrinks, and its trace."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten._core.ambient import AMBIENT, Carried
from tests.conftest import LoopFactory
from tests.relay import Relay
from tests.rpc.faults._service import CALLS, HOLD, SERVICE, Serving, code_of, unary

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED

Context = grpc.aio.ServicerContext[bytes, bytes]
Seen = tuple[float | None, list[str]]


class Back:
    """The service at the end of a chain: notes what each call brought.

    Attributes:
      seen: The seconds that were left, and the traceparents, of each call.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def _note(self, request: Any, context: Context) -> bytes:
        metadata = context.invocation_metadata() or ()
        traces = [str(value) for key, value in metadata if key == "traceparent"]
        self.seen.append((context.time_remaining(), traces))
        return b"noted"

    async def _note_stream(self, request: Any, context: Context) -> AsyncIterator[bytes]:
        yield await self._note(request, context)

    def register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._note),
            "Responses": grpc.unary_stream_rpc_method_handler(self._note_stream),
            "Requests": grpc.stream_unary_rpc_method_handler(self._note),
            "Both": grpc.stream_stream_rpc_method_handler(self._note_stream),
        }
        server.add_registered_method_handlers(SERVICE, handlers)


Onward = Callable[[hasten.rpc.Channel], Awaitable[Any]]


@asynccontextmanager
async def chain(onward: Onward) -> AsyncIterator[tuple[hasten.rpc.Channel, Back]]:
    """Yield a channel to a service whose handler calls `onward` with a channel to the service behind it."""
    back, back_server, front_server = Back(), hasten.rpc.Server(), hasten.rpc.Server()
    back.register(back_server)
    behind = hasten.rpc.Channel(f"127.0.0.1:{back_server.add_insecure_port('127.0.0.1:0')}")

    async def handle(request: bytes, context: Context) -> bytes:
        await onward(behind)
        return b"done"

    handlers: dict[str, Any] = {"Front": grpc.unary_unary_rpc_method_handler(handle)}
    front_server.add_registered_method_handlers("ambient.Front", handlers)
    port = front_server.add_insecure_port("127.0.0.1:0")
    await back_server.start()
    await front_server.start()
    try:
        async with behind, hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
            yield channel, back
    finally:
        await front_server.stop(None)
        await back_server.stop(None)


def seen_behind(loop_factory: LoopFactory, onward: Onward, **options: Any) -> list[Seen]:
    """Call the front service; return what the one behind it saw."""

    async def scenario() -> list[Seen]:
        async with chain(onward) as (channel, back):
            assert await channel.unary_unary("/ambient.Front/Front")(b"", **options) == b"done"
        return back.seen

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(scenario())


def with_options(kind: str, **options: Any) -> Onward:
    """Return a call of a kind with options."""

    async def call(channel: hasten.rpc.Channel) -> None:
        if kind == "unary":
            await channel.unary_unary(f"/{SERVICE}/Unary")(b"", **options)
        elif kind == "responses":
            await channel.unary_stream(f"/{SERVICE}/Responses")(b"", **options).read()
        elif kind == "requests":
            await channel.stream_unary(f"/{SERVICE}/Requests")(iter([b""]), **options)
        else:
            await channel.stream_stream(f"/{SERVICE}/Both")(iter([b""]), **options).read()

    return call


every_kind = pytest.mark.parametrize("kind", CALLS)


@every_kind
@pytest.mark.parametrize(
    ("incoming", "given", "most"),
    [
        pytest.param(40.0, None, 40.0, id="taken-over"),
        pytest.param(40.0, 5.0, 5.0, id="shrunk"),
        pytest.param(40.0, 400.0, 40.0, id="not-lengthened"),
        pytest.param(None, 5.0, 5.0, id="only-its-own"),
        pytest.param(None, None, math.inf, id="none"),
    ],
)
def test_the_deadline(
    kind: str, incoming: float | None, given: float | None, most: float, loop_factory: LoopFactory
) -> None:
    """A call that a handler makes has the shorter of the incoming call's deadline and its own timeout."""
    ((remaining, _),) = seen_behind(loop_factory, with_options(kind, timeout=given), timeout=incoming)
    if most == math.inf:
        assert remaining is None
    else:
        assert remaining is not None
        assert 0.0 < remaining <= most


@every_kind
@pytest.mark.parametrize(
    ("incoming", "given", "arrives"),
    [
        pytest.param(TRACE, None, [TRACE], id="taken-over"),
        pytest.param(TRACE, OTHER_TRACE, [OTHER_TRACE], id="the-users-own-wins"),
        pytest.param(None, OTHER_TRACE, [OTHER_TRACE], id="only-the-users-own"),
        pytest.param(None, None, [], id="none"),
    ],
)
def test_the_trace(
    kind: str, incoming: str | None, given: str | None, arrives: list[str], loop_factory: LoopFactory
) -> None:
    """A call that a handler makes carries the incoming call's traceparent, unless its metadata has one."""
    onward = with_options(kind, metadata=[("traceparent", given), ("x", "y")] if given else [("x", "y")])
    metadata = [("traceparent", incoming)] if incoming else None
    assert [traces for _, traces in seen_behind(loop_factory, onward, metadata=metadata)] == [arrives]


def test_tasks_of_a_handler(loop_factory: LoopFactory) -> None:
    """Calls in tasks that a handler starts carry on the same."""

    async def onward(channel: hasten.rpc.Channel) -> None:
        call = with_options("unary")
        await asyncio.gather(*(asyncio.create_task(call(channel)) for _ in range(3)))  # type: ignore[arg-type]

    seen = seen_behind(loop_factory, onward, timeout=40.0, metadata=[("traceparent", TRACE)])
    assert [traces for _, traces in seen] == [[TRACE]] * 3
    assert all(remaining is not None and remaining <= 40.0 for remaining, _ in seen)


def test_calls_at_once(loop_factory: LoopFactory) -> None:
    """Each of many calls at once carries on its own trace and deadline, and nothing stays for what comes after."""
    count = 50

    async def scenario() -> Back:
        async with chain(with_options("unary")) as (channel, back):
            method = channel.unary_unary("/ambient.Front/Front")
            calls = [
                method(b"", timeout=100.0 + number, metadata=[("traceparent", f"trace-{number}")])
                for number in range(count)
            ]
            await asyncio.gather(*calls)
            await method(b"")
        return back

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        back = runner.run(scenario())
    assert back.seen.pop() == (None, [])
    assert len(back.seen) == count
    for remaining, (trace,) in back.seen:
        assert remaining is not None
        assert remaining <= 100.0 + int(trace.removeprefix("trace-"))


@every_kind
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not-connected"])
def test_an_expired_deadline(kind: str, connected: bool, loop_factory: LoopFactory) -> None:  # noqa: FBT001
    """When the ambient deadline has passed, a call ends with DEADLINE_EXCEEDED and never reaches the server."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            if connected:
                await unary(channel)
            token = AMBIENT.set(Carried(time.monotonic() - 1.0, ""))
            assert await code_of(CALLS[kind](channel, b"late")) is DEADLINE_EXCEEDED
            AMBIENT.reset(token)
            assert await unary(channel) == b"first"
            assert serving.service.begun == 1 + connected

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@every_kind
@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_at_all(kind: str, timeout: float, loop_factory: LoopFactory) -> None:
    """Nor does a call with a timeout of zero, or less."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            await unary(channel)
            assert await code_of(with_options(kind, timeout=timeout)(channel)) is DEADLINE_EXCEEDED
            await unary(channel)
            assert serving.service.begun == 2

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_a_call_that_expires_in_the_queue(loop_factory: LoopFactory) -> None:
    """Nor does one whose deadline passes while it waits for the server to take one more, however late we notice."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(concurrent_handlers=1)
        async with Serving(limits=limits) as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(unary(channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            late = channel.unary_unary(f"/{SERVICE}/Unary")(b"late", timeout=0.02)
            deadline = time.monotonic() + 0.02
            serving.service.release()
            while time.monotonic() < deadline:
                pass  # the loop is held by something else
            assert await code_of(late) is DEADLINE_EXCEEDED
            assert await held == HOLD
            await unary(channel)
            assert serving.service.begun == 2

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@every_kind
def test_the_ambient_deadline_of_a_call_that_waits(kind: str, loop_factory: LoopFactory) -> None:
    """A call without a timeout of its own, to a server that says nothing, ends at the ambient deadline."""

    async def scenario() -> None:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address) as channel,
        ):
            await unary(channel)
            relay.freeze()
            deadline = time.monotonic() + 0.05
            AMBIENT.set(Carried(deadline, ""))
            assert await code_of(CALLS[kind](channel, b"lost")) is DEADLINE_EXCEEDED
            assert time.monotonic() >= deadline

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
