"""Writes that are joined."""

import asyncio

import pytest

from hasten.rpc._limits import Limits
from hasten.rpc.wire._frames import DATA, END_STREAM, PREFACE, SETTINGS_ACK, settings_frame
from tests.rpc._fakes import MemoryTransport
from tests.rpc._peers import cut, data, request
from tests.rpc.limits._serving import SAY, Serving
from tests.rpc.limits.conftest import Run


@pytest.mark.bounds("flush_messages")
@pytest.mark.parametrize(("most", "writes"), [(1, 20), (8, 3), (16, 2), (10_000, 1)])
def test_answers_are_joined(most: int, writes: int, run: Run) -> None:
    """Answers made in one pass of the loop go out together, as many in a write as the bound says, and in order."""

    async def scenario() -> None:
        serving = Serving(flush_messages=most)
        async with serving:
            connection = serving.server._connection()
            transport = MemoryTransport(asyncio.get_running_loop(), connection)
            transport.feed(PREFACE + settings_frame({}) + SETTINGS_ACK + request(1, SAY) + data(1, b"", END_STREAM))
            while connection.streams:
                await asyncio.sleep(0)
            transport.take()
            before = transport.writes
            ids = range(3, 43, 2)
            transport.feed(b"".join(request(id_, SAY) + data(id_, b"%d" % id_, END_STREAM) for id_ in ids))
            while connection.streams:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            frames, rest = cut(transport.take())
            assert not rest
            assert [each.stream_id for each in frames if each.kind == DATA] == list(ids)
            assert transport.writes - before <= writes + 1  # the last answer finds no other stream open
            transport.close()
            await connection.lost

    assert Limits().flush_messages == 16
    run(scenario())
