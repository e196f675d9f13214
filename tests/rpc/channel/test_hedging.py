"""Unary calls are sent to several servers at once as the service config's hedgingPolicy says (gRFC A6)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from grpc import StatusCode

import hasten.rpc
from hasten._core.signals import CallFinished, CallSignal, CallStarted
from hasten.resilience import RetryBudget
from tests.rpc.channel._raw_server import RawConnection, Request, raw_server
from tests.rpc.channel._service import (
    FAIL,
    FAILURE,
    HOLD,
    INITIAL,
    KINDS,
    TRAILING,
    Answer,
    Context,
    Service,
    code_of,
    failure_of,
    in_loops,
    outcome_of,
    scripted,
    serve,
    unary,
)
from tests.rpc.interop._stacks import Stack

UNAVAILABLE = StatusCode.UNAVAILABLE
LATER = "1000s"
"""A delay that no test waits for: what is sent is sent for another reason."""


def hedging(*, extra: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a service config that hedges."""
    policy = {"maxAttempts": 3, "hedgingDelay": "0.01s", "nonFatalStatusCodes": ["UNAVAILABLE"], **changes}
    return {"methodConfig": [{"name": [{}], "hedgingPolicy": policy}], **(extra or {})}


@asynccontextmanager
async def replicas(*answers: Answer | None, **settings: Any) -> AsyncIterator[tuple[hasten.rpc.Channel, list[Service]]]:
    """Yield a channel, connected to a server for each answer, and the servers' services."""
    async with AsyncExitStack() as stack:
        services = [Service(answer) for answer in answers]
        addresses = [await stack.enter_async_context(serve(Stack.HASTEN, service)) for service in services]
        config = settings.pop("service_config", hedging())
        channel = hasten.rpc.Channel(addresses, balancing="round_robin", service_config=config, **settings)
        await stack.enter_async_context(channel)
        await all_ready(channel)
        yield channel, services


async def all_ready(channel: hasten.rpc.Channel) -> None:
    """Wait until each address is connected."""
    await channel.channel_ready()
    assert channel._dispatcher is not None
    while not all(each.ready for each in channel._dispatcher._subchannels.values()):
        await asyncio.sleep(0)


def in_turn() -> Answer:
    """Return what holds the first call for ever, and answers the others."""
    first: list[bytes] = []

    async def answer(request: bytes, _: Context) -> bytes:
        if not first:
            first.append(request)
            await asyncio.Event().wait()
        return request

    return answer


@in_loops
async def test_first_answer_wins() -> None:
    """When one server does not answer another is asked too, and the first is told that nobody waits any more."""
    shared = in_turn()
    async with replicas(shared, shared, shared) as (channel, services):
        call = unary(channel)
        assert await call == b"a"
        assert await call == b"a"
        assert (await call.code(), call.done(), call.cancelled(), call.cancel()) == (StatusCode.OK, True, False, False)
        assert sorted(len(service.calls) for service in services) == [0, 1, 1]
        (slow,) = (service for service in services if service.calls and not service.ended)
        await slow.until(lambda service: service.cancelled == 1)


@in_loops
async def test_a_fast_answer_is_not_hedged() -> None:
    """Only what takes longer than the delay is sent again."""
    async with replicas(None, None, service_config=hedging(hedgingDelay=LATER)) as (channel, services):
        for _ in range(10):
            await unary(channel)
    assert [len(service.calls) for service in services] == [5, 5]


@in_loops
async def test_different_servers() -> None:
    """The attempts of one call go to different servers as long as there are some."""
    config = hedging(hedgingDelay="0s")
    async with replicas(None, None, None, service_config=config) as (channel, services):
        call = unary(channel, HOLD)
        for service in services:
            await service.until(lambda service: service.held == 1)
        services[1].release()
        assert await call == HOLD
        for service in (services[0], services[2]):
            await service.until(lambda service: service.cancelled == 1)


@in_loops
async def test_most_attempts() -> None:
    """A call is sent maxAttempts times at most, however long it takes."""
    async with replicas(None, service_config=hedging(maxAttempts=2, hedgingDelay="0s")) as (channel, (service,)):
        call = unary(channel, HOLD, timeout=0.1)
        assert await code_of(call) is StatusCode.DEADLINE_EXCEEDED
        assert call.time_remaining() == 0
    assert len(service.calls) == 2


@in_loops
async def test_fatal_failure() -> None:
    """A failure with a code that the policy does not name is the call's outcome, with all it says."""
    async with replicas(None, None, service_config=hedging(hedgingDelay=LATER)) as (channel, services):
        call = unary(channel, FAIL)
        error = await failure_of(call)
        assert (error.code(), error.details()) == FAILURE
        assert (tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())) == (INITIAL, TRAILING)
        assert await call.debug_error_string() == error.debug_error_string()
        assert FAILURE[0].name in repr(call)
    assert sum(len(service.calls) for service in services) == 1


@in_loops
async def test_a_fatal_failure_cancels_the_others() -> None:
    """With a fatal failure of one attempt the others are cancelled at their servers."""

    async def fail(_: bytes, context: Context) -> bytes:
        await holding.until(lambda service: service.held == 1)
        return await abort(b"", context)

    abort = scripted(StatusCode.ABORTED)

    async with replicas(None, fail, service_config=hedging(hedgingDelay="0s")) as (channel, (holding, _)):
        assert await code_of(unary(channel, HOLD)) is StatusCode.ABORTED
        await holding.until(lambda service: service.cancelled == 1)


@in_loops
async def test_non_fatal_failure() -> None:
    """A failure with a code of the policy sends the next attempt at once, without waiting for the delay."""
    shared = scripted(UNAVAILABLE, UNAVAILABLE, None)
    async with replicas(shared, shared, service_config=hedging(hedgingDelay=LATER)) as (channel, services):
        assert await unary(channel) == b"a"
    assert sum(len(service.calls) for service in services) == 3


@in_loops
async def test_only_failures() -> None:
    """When all attempts have failed, the last failure is the call's."""
    async with replicas(scripted(UNAVAILABLE), service_config=hedging(hedgingDelay=LATER)) as (channel, (service,)):
        error = await failure_of(unary(channel))
        assert (error.code(), error.details()) == (UNAVAILABLE, "scripted")
    assert len(service.calls) == 3


@pytest.mark.parametrize(("asked", "calls"), [("1", 3), ("0", 3), ("-1", 1), ("soon", 1)])
@in_loops
async def test_pushback(asked: str, calls: int) -> None:
    """The server may say when the next attempt is sent, or that none is."""
    answer = scripted(UNAVAILABLE, pairs=(("grpc-retry-pushback-ms", asked),))
    async with replicas(answer, service_config=hedging(hedgingDelay=LATER)) as (channel, (service,)):
        assert await code_of(unary(channel)) is UNAVAILABLE
    assert len(service.calls) == calls


@pytest.mark.parametrize("how", ["cancel", "task", "close"])
@pytest.mark.parametrize("pushback", [False, True])
@in_loops
async def test_cancelled(how: str, *, pushback: bool) -> None:
    """Cancelling a hedged call cancels all of its attempts, also between two of them."""
    pairs = (("grpc-retry-pushback-ms", "500000"),)
    answers = (scripted(UNAVAILABLE, pairs=pairs),) if pushback else (None, None)
    config = hedging(hedgingDelay=LATER if pushback else "0s")
    async with replicas(*answers, service_config=config) as (channel, services):
        call = unary(channel, HOLD)
        waiting = asyncio.ensure_future(call)
        if pushback:
            while call._open:
                await asyncio.sleep(0)
        else:
            for service in services:
                await service.until(lambda service: service.held == 1)
        if how == "cancel":
            assert call.cancel()
        elif how == "task":
            waiting.cancel()
        else:
            await channel.close()
            call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert call.cancelled()
        assert await call.code() is StatusCode.CANCELLED
        for service in services:
            await service.until(lambda service: service.running == 0)


@in_loops
async def test_budget() -> None:
    """Hedges are paid from the channel's budget; without it a call goes on alone."""
    budget = RetryBudget(0.1, minimum_per_second=0.0, reserve=2.0)
    config = hedging(hedgingDelay=LATER)
    async with replicas(scripted(UNAVAILABLE), service_config=config, retry_budget=budget) as (channel, (service,)):
        for _ in range(100):
            assert await code_of(unary(channel)) is UNAVAILABLE
    assert 110 <= len(service.calls) <= 112
    assert budget.statistics().calls == 100


@in_loops
async def test_throttling() -> None:
    """retryThrottling stops hedges as it stops retries; losers that are cancelled cost nothing."""
    extra = {"retryThrottling": {"maxTokens": 4, "tokenRatio": 1}}
    shared = in_turn()
    async with replicas(shared, shared, service_config=hedging(extra=extra)) as (channel, services):
        assert await unary(channel) == b"a"
        for service in services:
            service._answer = scripted(UNAVAILABLE)
            service.calls.clear()
        assert await code_of(unary(channel)) is UNAVAILABLE  # 4 - 1 tokens: a hedge, 4 - 2: none
        assert sum(len(service.calls) for service in services) == 2


@in_loops
async def test_switched_off() -> None:
    """grpc.enable_retries=0 ignores the policy, and calls with streams are never hedged."""
    options = [("grpc.enable_retries", 0)]
    config = hedging(hedgingDelay="0s")
    async with replicas(None, service_config=config, options=options) as (channel, (service,)):
        await unary(channel)
        assert len(service.calls) == 1
    async with replicas(None, service_config=config) as (channel, (service,)):
        for kind in ("responses", "requests", "both"):
            await outcome_of(KINDS[kind](channel))
        assert len(service.calls) == 3


@in_loops
async def test_what_the_server_sees() -> None:
    """Each hedge says how many attempts there were before it."""

    async def behave(connection: RawConnection) -> None:
        seen.append(await connection.request())
        seen.append(await connection.request())
        connection.answer(seen[1])
        resets[seen[0].stream_id] = await connection.reset(seen[0].stream_id)
        done.set()
        await connection.closed()

    seen: list[Request] = []
    resets: dict[int, int] = {}
    done = asyncio.Event()
    async with raw_server(behave) as address, hasten.rpc.Channel(address, service_config=hedging()) as channel:
        assert await unary(channel, metadata=(("a", "b"),)) == b"a"
        await done.wait()
    assert [request.headers.get("grpc-previous-rpc-attempts") for request in seen] == [None, "1"]
    assert [request.headers["a"] for request in seen] == ["b", "b"]
    assert resets == {seen[0].stream_id: 8}


@in_loops
async def test_signals_and_callbacks() -> None:
    """Hooks hear of each attempt; who asked to be told when the call is over is told once, with the call."""
    signals: list[CallSignal] = []
    told: list[object] = []
    shared = in_turn()
    async with replicas(shared, shared, hooks=(signals.append,)) as (channel, _):
        call = unary(channel)
        call.add_done_callback(told.append)
        await call
        call.add_done_callback(told.append)
    assert told == [call, call]
    assert [signal.attempt for signal in signals if isinstance(signal, CallStarted)] == ["first", "hedge"]
    finished = {signal.attempt: signal.code for signal in signals if isinstance(signal, CallFinished)}
    assert finished == {"first": "CANCELLED", "hedge": "OK"}
