"""Cancellations at random moments, in random ways, leave nothing behind."""

import asyncio
import contextlib
import random

import grpc

import hasten.rpc
from tests.conftest import LoopFactory
from tests.rpc.faults._remains import Timers, filled_containers, live_calls, other_tasks
from tests.rpc.faults._service import CALLS, CANCEL, HOLD, Serving, code_of, unary
from tests.rpc.test_cancellation import begin, passes, run

CANCELLATIONS = 1000
KEPT = (
    "._connections",
    "._handlers.registered",
    "._methods",
    "._open",
    "._ports",
    "._ports[]._servers",
    "._ports[]._sockets",
    "._resolver._known",
    "._service_config._found",
    "._subchannels",
    "._timers",
    ".auth_context",
    ".auth_context[]",
    ".encoder._timeouts",
)
"""What a server and a channel keep between calls, each bounded by something else than calls."""
CACHES = "._blocks."
"""Header blocks, bounded by Limits."""

OF_CONNECTIONS = {
    "CallDispatcher._connect_next",
    "CallDispatcher._rest_if_idle",
    "Connection._settings_late",
    "Deadlines._sweep",  # one for all calls of a connection, or of a channel while it has none
}
"""Timers of a server's and a channel's one connection."""


class Canceller:
    """Makes calls and cancels each at a random moment, in a random way.

    Attributes:
      codes: With what the calls ended.
    """

    def __init__(self, address: str, seed: int) -> None:
        self.codes: set[grpc.StatusCode] = set()
        self._address = address
        self._random = random.Random(seed)

    async def cancel(self, count: int) -> None:
        """Cancel so many calls, the first of each ten on a new channel."""
        while count > 0:
            options = [("grpc.initial_reconnect_backoff_ms", 100)]
            async with hasten.rpc.Channel(self._address, options=options) as channel:
                for _ in range(10):
                    await self._cancel_one(channel)
                    count -= 1

    async def _cancel_one(self, channel: hasten.rpc.Channel) -> None:
        source = self._random
        kind = source.choice(list(CALLS))
        request = source.choice([HOLD, b"answer", CANCEL, bytes(100_000)])
        way = source.choice(["task", "cancel", "drop"])
        if way == "task":
            waiting = asyncio.create_task(CALLS[kind](channel, request))
            await passes(source.randrange(60))
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.codes.add(await code_of(waiting))
            return
        call = begin(channel, kind, request)
        await passes(source.randrange(60))
        if way == "cancel" or kind == "unary":
            call.cancel()
            self.codes.add(await call.code())


async def left_after_calls(serving: Serving, channel: hasten.rpc.Channel) -> dict[str, int]:
    """Return what a server and a channel keep that a call could have left there."""
    await unary(channel)  # the last frames of earlier calls have been read, then
    for connection in (*serving.server._connections, *channel._dispatcher.connections()):  # type: ignore[union-attr]
        assert connection.streams == {}
        assert connection.held_bytes == 0
        assert connection.output.kept_bytes == 0
    filled = filled_containers(serving.server, channel)
    return {path: size for path, size in filled.items() if not path.endswith(KEPT) and CACHES not in path}


def test_a_thousand_random_cancellations(loop_factory: LoopFactory) -> None:
    """1,000 calls of all kinds, cancelled at random moments in random ways, leave no stream, task, timer or byte."""

    async def scenario() -> None:
        timers = Timers()
        before = len(live_calls())
        async with Serving() as serving:
            cancellers = [Canceller(serving.address, seed) for seed in range(20)]
            async with hasten.rpc.Channel(serving.address) as channel:
                await unary(channel)
                count = CANCELLATIONS // len(cancellers)
                await asyncio.gather(*(canceller.cancel(count) for canceller in cancellers))
                await serving.service.idle()
                for _ in range(100):
                    await Canceller(serving.address, 100)._cancel_one(channel)
                await serving.service.idle()
                assert await left_after_calls(serving, channel) == {}
                assert other_tasks() == set()
                assert timers.pending.keys() <= OF_CONNECTIONS
                assert timers.pending.total() <= 6
            service = serving.service
            assert service.begun == service.ended + service.cancelled
            assert service.cancelled > CANCELLATIONS / 10
        assert {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED} == set().union(*(each.codes for each in cancellers))
        assert other_tasks() == set()
        assert not timers.pending
        assert len(live_calls()) == before

    run(loop_factory, scenario)
