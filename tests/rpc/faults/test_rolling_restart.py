"""Servers that are replaced one after the other while calls keep coming: no call fails."""

import asyncio
import contextlib
import signal
from collections import Counter

import grpc
import pytest

import hasten.rpc
from hasten._core.signals import CallFinished, CallSignal
from hasten.rpc.channel._balancing import Policy
from tests.conftest import LoopFactory
from tests.rpc.faults._load import OpenLoad
from tests.rpc.faults._processes import ServerProcess

RATE = 2000.0  # calls a second, the issue's
QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]


class Answers:
    """Counts the good answers of each server: a hook."""

    def __init__(self) -> None:
        self.by_peer: Counter[str] = Counter()

    def __call__(self, signal: CallSignal) -> None:
        if isinstance(signal, CallFinished) and signal.code == "OK":
            self.by_peer[signal.peer] += 1


async def rolling_restart(balancing: Policy, rounds: int) -> Counter[grpc.StatusCode]:
    """Restart each of two servers so many times, under load; return how the calls ended.

    The next server's turn comes when its predecessor has answered again, as an orchestrator waits for readiness.
    """
    answers = Answers()
    async with ServerProcess() as first, ServerProcess() as second:
        channel = hasten.rpc.Channel(
            [first.address, second.address], balancing=balancing, options=QUICKLY_BACK, hooks=[answers]
        )
        async with channel, OpenLoad(channel, RATE) as load:
            for server in (first, second) * rounds:
                peer = f"ipv4:{server.address}"
                await load.until(lambda peer=peer: answers.by_peer[peer] >= 100)  # type: ignore[misc]
                await server.restart()
                answers.by_peer.clear()
                await load.until(lambda peer=peer: answers.by_peer[peer] >= 100)  # type: ignore[misc]
    print(f"\n{balancing}: {dict(load.outcomes)} {dict(load.problems)}")
    return load.outcomes


@pytest.mark.parametrize("balancing", ["round_robin", "p2c"])
def test_a_rolling_restart_of_two_servers(balancing: Policy, loop_factory: LoopFactory) -> None:
    """Two servers are restarted in turn, twice each, under 2,000 calls a second, and no call fails."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcomes = runner.run(rolling_restart(balancing, rounds=2))
    assert set(outcomes) == {grpc.StatusCode.OK}


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("balancing", ["round_robin", "p2c"])
def test_many_rolling_restarts_of_two_servers(balancing: Policy, loop_factory: LoopFactory) -> None:
    """The same for ten rounds."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcomes = runner.run(rolling_restart(balancing, rounds=10))
    assert set(outcomes) == {grpc.StatusCode.OK}


def test_a_successor_on_the_same_port(loop_factory: LoopFactory) -> None:
    """With one address only, a process listens on the port (SO_REUSEPORT) while its predecessor drains: none fails."""

    async def scenario() -> Counter[grpc.StatusCode]:
        old = ServerProcess(0, "--reuse-port")
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(old)
            channel = await stack.enter_async_context(hasten.rpc.Channel(old.address, options=QUICKLY_BACK))
            async with OpenLoad(channel, RATE) as load:
                await load.more(1000)
                await stack.enter_async_context(ServerProcess(old.port, "--reuse-port"))
                old.send(signal.SIGTERM)
                assert await old.ended() == 0
                await load.more(1000)
        return load.outcomes

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcomes = runner.run(scenario())
    assert set(outcomes) == {grpc.StatusCode.OK}
