"""Stream ids run out after 2^30 calls, hours under load: a channel moves to a new connection, and no call notices."""

import asyncio
import gc
from collections.abc import Iterable
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc._limits import LARGEST_STREAM_ID
from hasten.rpc.channel._connection import ClientConnection
from hasten.rpc.server._connection import ServerConnection
from tests.conftest import LoopFactory
from tests.rpc.faults._remains import Timers, live_calls, other_tasks
from tests.rpc.faults._service import CALLS, SERVICE, Serving, unary

CALLERS = 4


def connections_of(channel: hasten.rpc.Channel) -> list[ClientConnection]:
    """Return a channel's connections that stand."""
    assert channel._dispatcher is not None
    return channel._dispatcher.connections()


def odd_ids_below(last: int, calls: int) -> int:
    """Return an id with which a client can open so many more streams, up to `last`."""
    last -= 1 - last % 2
    return last - 2 * (calls - 1)


async def call_on(channel: hasten.rpc.Channel, kinds: Iterable[str]) -> int:
    """Make calls one after the other; return the most connections that stood at the end of one."""
    most = 0
    for kind in kinds:
        assert await CALLS[kind](channel, b"answer") == b"answer"
        most = max(most, len(connections_of(channel)))
    return most


async def many_rotations(rotations: int, calls_each: int) -> None:
    """Call on over so many connections: each call is answered, two connections stand at most, nothing is left."""
    timers = Timers()
    limits = hasten.rpc.Limits(last_stream_id=2 * calls_each - 1)
    rounds = rotations * calls_each // CALLERS
    kinds = ["unary", "unary", "unary", *CALLS] * (rounds // 7 + 1)
    before = len(live_calls())
    async with Serving() as serving, hasten.rpc.Channel(serving.address, limits=limits) as channel:
        numbers = await asyncio.gather(*(call_on(channel, kinds[:rounds]) for _ in range(CALLERS)))
        assert max(numbers) <= 2
        assert serving.service.ended == CALLERS * rounds
        await unary(channel)
        await serving.service.idle()
        assert len(connections_of(channel)) == 1
        assert len(live_calls()) == before
        kept = [each for each in gc.get_objects() if isinstance(each, ClientConnection | ServerConnection)]
        assert len(kept) <= 4
        assert other_tasks() == set()
        assert timers.pending.total() <= 8
    assert not timers.pending


def test_a_day_of_stream_ids(loop_factory: LoopFactory) -> None:
    """Over 400 rotations, where a day under load has 2 to 8, no call fails and nothing piles up."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(many_rotations(400, calls_each=8))


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_year_of_stream_ids(loop_factory: LoopFactory) -> None:
    """The same over 20,000 rotations with more calls each."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(many_rotations(20_000, calls_each=32))


def test_the_last_stream_ids(loop_factory: LoopFactory) -> None:
    """With the real bound: the last calls before it, a stream across it, and those after it all come to their end."""

    async def scenario() -> None:
        last = hasten.rpc.Limits().last_stream_id
        assert LARGEST_STREAM_ID - last < 2**20  # 2^30 calls, less what may be on its way
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            await unary(channel)
            (first,) = connections_of(channel)
            first._next_id = odd_ids_below(last, calls=9)
            stream: Any = channel.stream_stream(f"/{SERVICE}/Both")()
            for number in range(12):
                await stream.write(b"%d" % number)
                assert await stream.read() == b"%d" % number
                await call_on(channel, CALLS)
            assert first._next_id == last - (1 - last % 2) + 2
            assert set(first.streams.values()) == {stream._exchange}
            (second,) = set(connections_of(channel)) - {first}
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            await first.lost
            assert connections_of(channel) == [second]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
