"""Complaints about event loops: the wrong one, several of them, and the noise they make."""

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

import hasten.rpc
from tests.conftest import LoopFactory
from tests.rpc.faults._processes import ServerProcess
from tests.rpc.faults._remains import live_calls
from tests.rpc.faults._service import CALLS, HOLD, SERVICE, Serving, code_of, unary

MODULE_CHANNEL = hasten.rpc.Channel("127.0.0.1:1")
"""Made at import, as many programs do; nobody listens there."""


def in_new_loop(loop_factory: LoopFactory, main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function in a new loop, as `asyncio.run` does."""

    async def run() -> Any:
        return await main()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(run())


async def one_server() -> ServerProcess:
    """Return a server that outlives the loop it was started in."""
    server = ServerProcess()
    await server.start()
    return server


@pytest.fixture(scope="module")
def address() -> Any:
    """Return the address of a server in another process."""
    server = asyncio.run(one_server())
    yield server.address
    asyncio.run(server.__aexit__())


@pytest.mark.parametrize("kind", CALLS)
def test_a_channel_made_before_the_loop(kind: str, address: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#32480: a channel may be made before any loop runs, and its stubs too."""
    channel = hasten.rpc.Channel(address)
    method = channel.unary_unary(f"/{SERVICE}/Unary")

    async def main() -> None:
        async with channel:
            assert await method(b"first") == b"first"
            assert await CALLS[kind](channel, b"answer") == b"answer"

    in_new_loop(loop_factory, main)


def test_a_channel_made_at_import(loop_factory: LoopFactory) -> None:
    """grpc/grpc#32480: so may one at module level."""
    code = in_new_loop(loop_factory, lambda: code_of(unary(MODULE_CHANNEL)))
    assert code is grpc.StatusCode.UNAVAILABLE


def test_a_server_made_before_the_loop(loop_factory: LoopFactory) -> None:
    """grpc/grpc#32480: and a server with its ports."""
    server = hasten.rpc.Server()
    port = server.add_insecure_port("127.0.0.1:0")

    async def main() -> grpc.StatusCode:
        await server.start()
        async with hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
            code = await code_of(unary(channel))
        await server.stop(None)
        return code

    assert in_new_loop(loop_factory, main) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", CALLS)
def test_one_loop_after_the_other(kind: str, address: str, loop_factory: LoopFactory) -> None:
    """A channel that is used in one asyncio.run after the other connects anew, and leaves nothing of the last loop."""
    channel = hasten.rpc.Channel(address)
    for _ in range(5):
        assert in_new_loop(loop_factory, lambda: CALLS[kind](channel, b"answer")) == b"answer"
    assert channel._resting == []
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        gc.collect()
    in_new_loop(loop_factory, channel.close)


def test_a_loop_that_ends_with_calls_open(address: str, loop_factory: LoopFactory) -> None:
    """The end of a loop cancels the calls that are open in it, and the channel goes on in the next loop."""
    channel = hasten.rpc.Channel(address)

    async def main() -> Any:
        await unary(channel)
        stream = channel.stream_stream(f"/{SERVICE}/Both")()
        await stream.write(b"first")
        assert await stream.read() == b"first"
        return stream

    stream = in_new_loop(loop_factory, main)
    assert stream.cancelled()
    assert in_new_loop(loop_factory, lambda: unary(channel)) == b"first"
    in_new_loop(loop_factory, channel.close)


def test_loops_in_turn(address: str, loop_factory: LoopFactory) -> None:
    """Two loops that stand still in turn (`run_until_complete`) may both use a channel."""
    channel = hasten.rpc.Channel(address)
    with asyncio.Runner(loop_factory=loop_factory) as one, asyncio.Runner(loop_factory=loop_factory) as other:
        for _ in range(3):
            assert one.run(unary(channel)) == b"first"
            assert other.run(unary(channel)) == b"first"
        assert len(channel._resting) == 1
        other.run(channel.close())


def test_two_loops_at_once(address: str, loop_factory: LoopFactory) -> None:
    """In a second loop while the first runs, a channel says what is wrong, and the first loop's calls go on."""
    channel = hasten.rpc.Channel(address)

    async def main() -> None:
        assert await unary(channel) == b"first"
        with pytest.raises(grpc.aio.UsageError, match="make one channel a loop"):
            await asyncio.to_thread(in_new_loop, loop_factory, lambda: unary(channel))
        assert await unary(channel) == b"first"
        await channel.close()

    in_new_loop(loop_factory, main)


def test_a_server_belongs_to_one_loop(loop_factory: LoopFactory) -> None:
    """A server that runs in one loop cannot be started in another."""

    async def main() -> None:
        async with Serving() as serving:
            with pytest.raises(grpc.aio.UsageError):
                await asyncio.to_thread(in_new_loop, loop_factory, serving.server.start)

    in_new_loop(loop_factory, main)


def test_loops_in_threads(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """grpc/grpc#25364, #36096, #42357: loops in threads, each with a server and a channel, work without a word."""
    problems: list[dict[str, Any]] = []

    async def main() -> int:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            for _ in range(50):
                answers = await asyncio.gather(*(call(channel, b"answer") for call in CALLS.values()))
                assert answers == [b"answer"] * len(CALLS)
        return serving.service.ended

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(in_new_loop, loop_factory, main) for _ in range(4)]
        assert [loop.result() for loop in loops] == [200] * 4
    assert problems == []
    assert caplog.records == []


def test_no_threads(loop_factory: LoopFactory) -> None:
    """A server and a channel of coroutine functions start no thread: nothing to hang at exit, or after a fork."""

    async def main() -> None:
        before = set(threading.enumerate())
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            for call in CALLS.values():
                assert await call(channel, b"answer") == b"answer"
            held = asyncio.create_task(code_of(unary(channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            assert set(threading.enumerate()) == before
            await serving.server.stop(None)
            await held
        assert set(threading.enumerate()) == before

    in_new_loop(loop_factory, main)


def test_a_dropped_channel(loop_factory: LoopFactory) -> None:
    """A channel that is dropped without `close` lets its open call finish, then closes its connection."""

    before = len(live_calls())

    async def main() -> None:
        async with Serving() as serving:
            channel = hasten.rpc.Channel(serving.address)
            held = channel.unary_unary(f"/{SERVICE}/Unary")(HOLD)
            await serving.service.until(lambda service: service.held == 1)
            (connection,) = serving.server._connections
            del channel
            gc.collect()
            serving.service.release()
            assert await held == HOLD
            await connection.lost
        del held
        assert len(live_calls()) == before

    in_new_loop(loop_factory, main)
