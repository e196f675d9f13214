"""Calls are spread over several servers as the balancing says, end to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from grpc import StatusCode

import hasten.rpc
from tests.rpc.channel._dispatching import subchannels, until_ready
from tests.rpc.channel._service import (
    HOLD,
    KINDS,
    Answer,
    Service,
    code_of,
    every_kind,
    in_loops,
    outcome_of,
    responses,
    scripted,
    serve,
    unary,
)
from tests.rpc.channel.test_retries import retrying
from tests.rpc.interop._stacks import Stack

Spread = tuple[hasten.rpc.Channel, list[Service]]


@asynccontextmanager
async def spread(*answers: Answer | None, **settings: Any) -> AsyncIterator[Spread]:
    """Yield a channel that is connected to a server for each answer, and the servers' services."""
    async with AsyncExitStack() as stack:
        services = [Service(answer) for answer in answers]
        addresses = [await stack.enter_async_context(serve(Stack.HASTEN, service)) for service in services]
        channel = await stack.enter_async_context(hasten.rpc.Channel(addresses, **settings))
        await until_ready(channel)
        yield channel, services


def shares(services: list[Service]) -> list[int]:
    """Return how many calls each server has had."""
    return [len(service.calls) for service in services]


@every_kind
@in_loops
async def test_round_robin(kind: str) -> None:
    """round_robin gives each server the same number of calls."""
    async with spread(None, None, None, balancing="round_robin") as (channel, services):
        for _ in range(30):
            await outcome_of(KINDS[kind](channel))
    assert shares(services) == [10, 10, 10]


@pytest.mark.parametrize("how", ["option", "policy", "configs"])
@in_loops
async def test_chosen_elsewhere(how: str) -> None:
    """The balancing may come from an option or the service config as well."""
    choices: dict[str, dict[str, Any]] = {
        "option": {"options": [("grpc.lb_policy_name", "round_robin")]},
        "policy": {"service_config": {"loadBalancingPolicy": "ROUND_ROBIN"}},
        "configs": {"service_config": {"loadBalancingConfig": [{"unheard_of": {}}, {"round_robin": {}}]}},
    }
    async with spread(None, None, **choices[how]) as (channel, services):
        for _ in range(4):
            await unary(channel)
    assert shares(services) == [2, 2]


@every_kind
@in_loops
async def test_p2c_avoids_who_does_not_answer(kind: str) -> None:
    """p2c sends no more calls to a server whose answers are awaited than it must to know."""
    async with spread(None, None, balancing="p2c") as (channel, services):
        held = [asyncio.ensure_future(outcome_of(unary(channel, HOLD))) for _ in range(2)]
        for service in services:
            await service.until(lambda service: service.held == 1)
        services[0].release()
        await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(50):
            await outcome_of(KINDS[kind](channel))
        assert shares(services) == [51, 1]
        services[1].release()
        await asyncio.gather(*held)


@in_loops
async def test_p2c_prefers_the_faster() -> None:
    """p2c leaves a server whose answers took long, also when it is idle again."""
    async with spread(None, None, balancing="p2c") as (channel, services):
        held = [asyncio.ensure_future(outcome_of(unary(channel, HOLD))) for _ in range(2)]
        for service in services:
            await service.until(lambda service: service.held == 1)
        services[0].release()
        await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(100):
            await unary(channel)
        services[1].release()
        await asyncio.gather(*held)
        for _ in range(50):
            await unary(channel)
    assert shares(services)[1] <= 3


@pytest.mark.parametrize("code", [StatusCode.RESOURCE_EXHAUSTED, StatusCode.UNAVAILABLE])
@in_loops
async def test_p2c_avoids_who_rejects(code: StatusCode) -> None:
    """A server that rejects at once is not taken for a fast one."""
    async with spread(None, scripted(code), balancing="p2c") as (channel, services):
        codes = [await code_of(unary(channel)) for _ in range(100)]
    assert codes.count(code) == shares(services)[1] <= 3


@pytest.mark.parametrize("balancing", ["round_robin", "p2c"])
@in_loops
async def test_nothing_stays_counted(balancing: Any) -> None:
    """Calls that are cancelled, time out or fail are no longer outstanding at their servers."""
    async with spread(None, None, balancing=balancing) as (channel, services):
        for _ in range(10):
            call = responses(channel, HOLD)
            assert await call.read() == b"first"
            call.cancel()
            assert await code_of(unary(channel, HOLD, timeout=0.01)) is StatusCode.DEADLINE_EXCEEDED
            await code_of(unary(channel, b"fail"))
        assert [each.outstanding for each in subchannels(channel)] == [0, 0]
        for service in services:
            await service.idle()


@in_loops
async def test_a_lost_server_is_left_out() -> None:
    """When one of several servers stops, calls go to the others; when it is back it has its share again."""
    async with serve(Stack.HASTEN, stays := Service()) as one, AsyncExitStack() as stack:
        other = await stack.enter_async_context(serve(Stack.HASTEN, Service()))
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
        async with hasten.rpc.Channel([one, other], balancing="round_robin", options=options) as channel:
            await until_ready(channel)
            await stack.aclose()
            for _ in range(20):
                await unary(channel)
            assert len(stays.calls) == 20
            async with serve(Stack.HASTEN, back := Service(), other):
                await until_ready(channel)
                for _ in range(4):
                    await unary(channel)
                assert len(back.calls) == 2


@in_loops
async def test_consecutive_failures_eject() -> None:
    """A server that fails five times in a row gets no more calls, while another answers."""
    async with spread(None, scripted(StatusCode.INTERNAL), balancing="round_robin") as (channel, services):
        codes = [await code_of(unary(channel)) for _ in range(40)]
    assert codes.count(StatusCode.INTERNAL) == 5
    assert shares(services) == [35, 5]


@in_loops
async def test_ejected_and_taken_back() -> None:
    """The service config's outlier detection ejects a server that fails, and takes it back when its time is over."""
    detection = {
        "interval": "0.02s",
        "baseEjectionTime": "0.05s",
        "maxEjectionPercent": 50,
        "failurePercentageEjection": {"threshold": 50, "minimumHosts": 2, "requestVolume": 2},
        "childPolicy": [{"round_robin": {}}],
    }
    config = {"loadBalancingConfig": [{"outlier_detection_experimental": detection}]}
    async with spread(None, scripted(StatusCode.INTERNAL), service_config=config) as (channel, services):
        bad = subchannels(channel)[1]
        while not bad.ejected:
            await code_of(unary(channel))
        before = shares(services)[1]
        services[1]._answer = services[1].echo
        while shares(services)[1] == before:
            await unary(channel)


@every_kind
@in_loops
async def test_a_retry_goes_elsewhere(kind: str) -> None:
    """A call that failed at one server is retried at another."""
    settings: dict[str, Any] = {"balancing": "round_robin", "service_config": retrying(maxAttempts=2)}
    async with spread(None, scripted(StatusCode.UNAVAILABLE), **settings) as (channel, services):
        for _ in range(8):
            await outcome_of(KINDS[kind](channel))
    assert services[0].ended == 8
    assert shares(services)[1] <= 8
