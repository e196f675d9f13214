"""GOAWAY under load: what the server has taken is answered, what it has not goes elsewhere, nothing is lost."""

import asyncio
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, ErrorCode, goaway_frame
from tests.conftest import LoopFactory
from tests.rpc._peers import RawServer, data, response, trailers, window_update
from tests.rpc.faults._service import CALLS, HOLD, SERVICE, Serving, code_of, unary

QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
CALLERS = 32


class Callers:
    """Callers who call all four kinds in turn, each one call after the other: `async with Callers(channel)`.

    Attributes:
      answered: Calls that were answered.
    """

    def __init__(self, channel: hasten.rpc.Channel) -> None:
        self.answered = 0
        self._channel = channel
        self._stopped = False
        self._progress = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Callers":
        self._tasks = [asyncio.create_task(self._call_on(number)) for number in range(CALLERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)  # raises what a call has raised

    async def more(self, count: int) -> None:
        """Wait until so many further calls have been answered."""
        most = self.answered + count
        while self.answered < most and not any(task.done() for task in self._tasks):
            self._progress.clear()
            await self._progress.wait()

    async def _call_on(self, number: int) -> None:
        kinds = list(CALLS.values())
        try:
            while not self._stopped:
                request = b"%d" % number
                assert await kinds[number % 4](self._channel, request) == request
                number += 1
                self.answered += 1
                self._progress.set()
        finally:
            self._progress.set()


@pytest.mark.parametrize("balancing", ["round_robin", "p2c", "pick_first"])
def test_a_drain_under_load(balancing: Any, loop_factory: LoopFactory) -> None:
    """One of two servers drains under concurrent calls of all kinds: every call is answered, none twice."""

    async def scenario() -> None:
        async with Serving() as first, Serving() as second:
            addresses = [first.address, second.address]
            async with (
                hasten.rpc.Channel(addresses, balancing=balancing, options=QUICKLY_BACK) as channel,
                Callers(channel) as callers,
            ):
                await callers.more(400)
                await first.server.stop(30.0)
                await callers.more(400)
            assert first.service.cancelled == second.service.cancelled == 0
            assert first.service.ended + second.service.ended == callers.answered

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_connections_of_a_limited_age(loop_factory: LoopFactory) -> None:
    """A server that drains each connection at a certain age answers every call all the same."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(connection_age_seconds=0.1)
        async with Serving(limits=limits) as serving:
            async with (
                hasten.rpc.Channel(serving.address, options=QUICKLY_BACK) as channel,
                Callers(channel) as callers,
            ):
                for _ in range(4):
                    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
                    await channel.channel_ready()
                    await callers.more(100)
            assert serving.service.cancelled == 0
            assert serving.service.ended == callers.answered

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("kind", CALLS)
def test_what_the_server_has_not_taken(kind: str, loop_factory: LoopFactory) -> None:
    """Calls above the last stream of a GOAWAY go out again on the next connection; the one below is answered."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            taken = asyncio.create_task(unary(channel, b"taken"))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            refused = asyncio.create_task(CALLS[kind](channel, b"refused"))
            await peer.until(HEADERS, 3)
            await peer.send(goaway_frame(1, ErrorCode.NO_ERROR, "draining"))
            second = await server.accept()
            await second.until(HEADERS, 1)
            await peer.send(response(1), data(1, b"taken"), trailers(1))
            await second.send(response(1), data(1, b"refused"), trailers(1))
            assert await taken == b"taken"
            assert await refused == b"refused"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_requests_written_while_a_call_is_on_its_way_again(loop_factory: LoopFactory) -> None:
    """What is written between a refusal and the next connection arrives, in order, with what was written before."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            call = channel.stream_stream(f"/{SERVICE}/Both")()
            reading = asyncio.create_task(call.read())
            writing = asyncio.create_task(call.write(b"one"))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            await writing
            await peer.send(goaway_frame(0, ErrorCode.NO_ERROR, "draining"))
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            writes = [asyncio.create_task(call.write(request)) for request in (bytes(300_000), b"three")]
            second = await server.accept({INITIAL_WINDOW_SIZE: 1 << 20})
            await second.send(window_update(0, 1 << 20))
            sizes = [await received_size(second), await received_size(second), await received_size(second)]
            assert sizes == [3, 300_000, 5]
            await second.send(response(1), data(1, b"answer"), trailers(1))
            assert await reading == b"answer"
            await asyncio.gather(*writes)

    async def received_size(peer: Any) -> int:
        received, size = b"", 5
        while len(received) < size:
            frame = await peer.until(0, 1)
            assert not frame.flags & END_STREAM
            received += frame.payload
            size = 5 + int.from_bytes(received[1:5], "big")
        return len(received) - 5

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_a_goaway_that_takes_nothing_again_and_again(loop_factory: LoopFactory) -> None:
    """A server that refuses a call on each new connection gets it a bounded number of times."""

    async def scenario() -> int:
        async with RawServer() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            call = asyncio.create_task(code_of(unary(channel)))
            times = 0
            while not call.done():
                accepting = asyncio.create_task(server.accept())
                await asyncio.wait([call, accepting], return_when=asyncio.FIRST_COMPLETED)
                if not accepting.done():
                    accepting.cancel()
                    break
                peer = accepting.result()
                await peer.until(HEADERS, 1)
                times += 1
                await peer.send(goaway_frame(0, ErrorCode.NO_ERROR, "no"))
            assert await call is grpc.StatusCode.UNAVAILABLE
        return times

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert 2 <= runner.run(scenario()) <= 10


def test_a_server_lost_after_its_goaway(loop_factory: LoopFactory) -> None:
    """A call that a draining server has taken, and that dies with it, ends with UNAVAILABLE: it may have acted."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            call = asyncio.create_task(code_of(unary(channel, HOLD)))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            await peer.send(goaway_frame(1, ErrorCode.NO_ERROR, "draining"))
            peer.close()
            assert await call is grpc.StatusCode.UNAVAILABLE

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
