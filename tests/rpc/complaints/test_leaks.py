"""Complaints about memory: what is left of calls, of cancelled ones, of channels, of interceptors."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.channel._call import ClientCall
from hasten.rpc.server._call import ServerCall
from tests.conftest import LoopFactory
from tests.rpc.certificates import Certificates
from tests.rpc.faults._service import CALLS, HOLD, SERVICE, Serving, code_of, unary

CALLS_EACH = 1000
MOST_MORE = 100
"""Objects that may be there more after 1,000 calls than after the first 100: one in ten calls that leaves one shows."""

MANY_RESETS = hasten.rpc.Limits(reset_burst=1_000_000)
"""A server takes a burst of 1,000 resets otherwise, then closes the connection."""


def objects() -> Counter[str]:
    """Return the number of objects of each type that are alive, by the garbage collector's lists."""
    gc.collect()
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


async def growth(once: Callable[[], Awaitable[Any]], count: int = CALLS_EACH) -> Counter[str]:
    """Return by how many objects of each type there are more after `count` calls than after a tenth of that."""
    for _ in range(count // 10):
        await once()
    before = objects()
    for _ in range(count):
        await once()
    return objects() - before


async def succeed(channel: hasten.rpc.Channel, _: Serving, kind: str) -> None:
    assert await CALLS[kind](channel, b"answer") == b"answer"


async def be_cancelled(channel: hasten.rpc.Channel, serving: Serving, kind: str) -> None:
    """Cancel a call that the server holds."""
    before = serving.service.cancelled
    waiting = asyncio.create_task(CALLS[kind](channel, HOLD))
    await serving.service.until(lambda service: service.held == 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await serving.service.until(lambda service: service.cancelled > before)


async def be_dropped(channel: hasten.rpc.Channel, serving: Serving, kind: str) -> None:
    """Drop a call in the middle of its responses."""
    before = serving.service.cancelled
    call: Any = channel.unary_stream(f"/{SERVICE}/Responses")(HOLD)
    if kind == "both":
        call = channel.stream_stream(f"/{SERVICE}/Both")(iter([b"first", HOLD]))
    await call.read()
    del call
    await serving.service.until(lambda service: service.cancelled > before)


async def fail(channel: hasten.rpc.Channel, _: Serving, kind: str) -> None:
    call = channel.unary_unary("/faults.Faults/Absent")(kind.encode())
    assert await code_of(call) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", ["responses", "both"])
def test_dropped_calls(kind: str, loop_factory: LoopFactory) -> None:
    """Calls that are dropped in mid-stream leave nothing."""
    _assert_flat(be_dropped, kind, loop_factory)


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("way", [succeed, be_cancelled, fail])
def test_calls(way: Any, kind: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#43360: 1,000 calls that succeed, fail or are cancelled leave no object behind."""
    _assert_flat(way, kind, loop_factory)


def _assert_flat(way: Any, kind: str, loop_factory: LoopFactory) -> None:
    async def scenario() -> Counter[str]:
        async with Serving(limits=MANY_RESETS) as serving, hasten.rpc.Channel(serving.address) as channel:
            return await growth(lambda: way(channel, serving, kind))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        more = runner.run(scenario())
    assert more.total() < MOST_MORE, more


def calls_alive() -> int:
    """Return how many calls there are, without a garbage collection."""
    return sum(isinstance(each, ClientCall | ServerCall) for each in gc.get_objects())


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("way", [succeed, be_cancelled, fail])
def test_calls_need_no_garbage_collector(way: Any, kind: str, loop_factory: LoopFactory) -> None:
    """A call is freed as soon as nobody holds it: it is in no reference cycle, on neither side."""

    async def scenario() -> int:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            for _ in range(20):
                await way(channel, serving, kind)
            await unary(channel)
            await serving.service.idle()
            return calls_alive()

    gc.collect()
    before = calls_alive()  # a failure that another test keeps holds its call
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(scenario()) == before
    finally:
        gc.enable()


def test_secure_channels(certificates: Certificates, loop_factory: LoopFactory) -> None:
    """grpc/grpc#28747: secure channels that are made, used and closed leave nothing behind."""
    identity = certificates.server
    credentials = hasten.rpc.server_credentials(identity.certificate, identity.key)
    trusted = hasten.rpc.channel_credentials(certificates.ca)

    async def scenario() -> Counter[str]:
        secure = Serving()
        port = secure.server.add_secure_port("127.0.0.1:0", credentials)

        async def once() -> None:
            async with hasten.rpc.Channel(f"localhost:{port}", credentials=trusted) as channel:
                assert await unary(channel) == b"first"

        async with secure:
            return await growth(once, count=50)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        more = runner.run(scenario())
    assert more.total() < MOST_MORE, more


def test_calls_over_tls(certificates: Certificates, loop_factory: LoopFactory) -> None:
    """grpc/grpc#28747: nor do 1,000 calls on one."""
    identity = certificates.server
    credentials = hasten.rpc.server_credentials(identity.certificate, identity.key)

    async def scenario() -> Counter[str]:
        secure = Serving()
        port = secure.server.add_secure_port("127.0.0.1:0", credentials)
        trusted = hasten.rpc.channel_credentials(certificates.ca)
        async with secure, hasten.rpc.Channel(f"localhost:{port}", credentials=trusted) as channel:
            return await growth(lambda: asyncio.gather(*(call(channel, b"answer") for call in CALLS.values())))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        more = runner.run(scenario())
    assert more.total() < MOST_MORE, more


class Passing(grpc.aio.UnaryStreamClientInterceptor):
    """Passes a call on, as the smallest interceptor there is."""

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(client_call_details, request)


@pytest.mark.parametrize("way", ["read", "dropped"])
def test_intercepted_streams(way: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#25449: response streams through an interceptor leave nothing behind, read to the end or dropped."""

    async def scenario() -> Counter[str]:
        async with Serving(limits=MANY_RESETS) as serving:
            channel = hasten.rpc.Channel(serving.address, interceptors=[Passing()])

            async def once() -> None:
                if way == "read":
                    assert await CALLS["responses"](channel, b"answer") == b"answer"
                else:
                    await be_dropped(channel, serving, "responses")

            async with channel:
                return await growth(once)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        more = runner.run(scenario())
    assert more.total() < MOST_MORE, more


def test_channels(loop_factory: LoopFactory) -> None:
    """Channels that are made, used and closed leave nothing behind, on either side."""

    async def scenario() -> Counter[str]:
        async with Serving() as serving:

            async def once() -> None:
                async with hasten.rpc.Channel(serving.address) as channel:
                    assert await unary(channel) == b"first"

            return await growth(once, count=200)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        more = runner.run(scenario())
    assert more.total() < MOST_MORE, more
