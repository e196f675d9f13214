"""Calls are sent again as the service config's retryPolicy says (gRFC A6), within the channel's budget."""

import asyncio
from collections.abc import Mapping
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
    KINDS,
    SERVICE,
    Service,
    code_of,
    connected,
    every_kind,
    failure_of,
    in_loops,
    outcome_of,
    requests,
    responses,
    scripted,
    serve,
    unary,
)
from tests.rpc.interop._stacks import Stack

UNAVAILABLE = StatusCode.UNAVAILABLE


def retrying(*, extra: Mapping[str, Any] | None = None, method: str = "", **changes: Any) -> dict[str, Any]:
    """Return a service config that retries UNAVAILABLE, at once as far as that goes."""
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.001s",
        "maxBackoff": "1000s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
        **changes,
    }
    name = {"service": SERVICE, "method": method} if method else {}
    return {"methodConfig": [{"name": [name], "retryPolicy": policy}], **(extra or {})}


@every_kind
@in_loops
async def test_retried(kind: str) -> None:
    """A call of each kind is sent again until it does not fail with a code of the policy."""
    service = Service(scripted(UNAVAILABLE, UNAVAILABLE, None))
    async with connected(Stack.HASTEN, service, service_config=retrying()) as channel:
        assert await outcome_of(KINDS[kind](channel, b"a")) == [b"a"]
    assert [seen.requests for seen in service.calls] == [[b"a"]] * 3


@every_kind
@in_loops
async def test_most_attempts(kind: str) -> None:
    """A call is sent maxAttempts times; the last outcome is its own."""
    service = Service(scripted(UNAVAILABLE, pairs=(("which", "every"),)))
    async with connected(Stack.HASTEN, service, service_config=retrying(maxAttempts=4)) as channel:
        error = await failure_of(outcome_of(KINDS[kind](channel)))
    assert (error.code(), error.details()) == (UNAVAILABLE, "scripted")
    assert tuple(error.trailing_metadata() or ()) == (("which", "every"),)
    assert len(service.calls) == 4


@in_loops
async def test_other_codes() -> None:
    """A failure with a code that is not in the policy is final."""
    service = Service(scripted(UNAVAILABLE, StatusCode.ABORTED, None))
    async with connected(Stack.HASTEN, service, service_config=retrying(maxAttempts=5)) as channel:
        assert await code_of(unary(channel)) is StatusCode.ABORTED
    assert len(service.calls) == 2


@every_kind
@in_loops
async def test_committed(kind: str) -> None:
    """Once a response's headers have come, the call is not sent again."""
    config = retrying(retryableStatusCodes=[FAILURE[0].name])
    async with connected(Stack.HASTEN, service := Service(), service_config=config) as channel:
        assert await code_of(outcome_of(KINDS[kind](channel, FAIL))) is FAILURE[0]
    assert len(service.calls) == 1


@in_loops
async def test_switched_off() -> None:
    """grpc.enable_retries=0 ignores the policy."""
    service, options = Service(scripted(UNAVAILABLE, None)), [("grpc.enable_retries", 0)]
    async with connected(Stack.HASTEN, service, service_config=retrying(), options=options) as channel:
        assert await code_of(unary(channel)) is UNAVAILABLE
    assert len(service.calls) == 1


@in_loops
async def test_what_the_server_sees() -> None:
    """Each further attempt says how many there were, and what is left of the one deadline over all of them."""

    async def behave(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            connection.fail(seen[-1].stream_id, 14, grpc_retry_pushback_ms="20")

    seen: list[Request] = []
    async with raw_server(behave) as address, hasten.rpc.Channel(address, service_config=retrying()) as channel:
        assert await code_of(unary(channel, timeout=0.9)) is UNAVAILABLE
    assert [request.headers.get("grpc-previous-rpc-attempts") for request in seen] == [None, "1", "2"]
    timeouts = [int(request.headers["grpc-timeout"].removesuffix("m")) for request in seen]
    assert 900 >= timeouts[0] >= timeouts[1] + 19 >= timeouts[2] + 38


@pytest.mark.parametrize(("asked", "calls"), [("1", 3), ("0", 3), ("-1", 1), ("soon", 1), ("", 1), ("9" * 20, 1)])
@in_loops
async def test_pushback(asked: str, calls: int) -> None:
    """The server may name the pause by grpc-retry-pushback-ms; what is no number of milliseconds forbids the retry."""
    service = Service(scripted(UNAVAILABLE, pairs=(("grpc-retry-pushback-ms", asked),)))
    async with connected(Stack.HASTEN, service, service_config=retrying(initialBackoff="1000s")) as channel:
        assert await code_of(unary(channel)) is UNAVAILABLE
    assert len(service.calls) == calls


@every_kind
@in_loops
async def test_a_pause_that_ends_after_the_deadline(kind: str) -> None:
    """When the deadline leaves no time for another attempt, the call fails at once, as the last one did."""
    service = Service(scripted(UNAVAILABLE))
    async with connected(Stack.HASTEN, service, service_config=retrying(initialBackoff="1000s")) as channel:
        assert await code_of(outcome_of(KINDS[kind](channel, timeout=30.0))) is UNAVAILABLE
    assert len(service.calls) == 1


@every_kind
@pytest.mark.parametrize("how", ["cancel", "close"])
@in_loops
async def test_cancelled_in_the_pause(kind: str, how: str) -> None:
    """A call that waits for its retry is cancelled at once, by itself and by closing the channel."""
    config = retrying(initialBackoff="1000s", method=KINDS[kind].__name__.capitalize())
    service = Service(scripted(UNAVAILABLE, None))
    async with connected(Stack.HASTEN, service, service_config=config) as channel:
        call = KINDS[kind](channel)
        outcome = asyncio.ensure_future(outcome_of(call))
        await service.until(lambda service: len(service.calls) == 1)
        await service.idle()
        other = requests if kind == "unary" else unary
        assert await other(channel) == b"a"  # on the same connection: the failure has come
        assert not call.done()
        if how == "cancel":
            assert call.cancel()
        else:
            await channel.close(30)
        with pytest.raises(asyncio.CancelledError):
            await outcome
        assert await call.code() is StatusCode.CANCELLED
    assert len(service.calls) == 2


@in_loops
async def test_budget() -> None:
    """A server that fails every call gets a tenth more of them and the reserve, not three times as many."""
    budget = RetryBudget(0.1, minimum_per_second=0.0, reserve=5.0)
    service = Service(scripted(UNAVAILABLE))
    async with connected(Stack.HASTEN, service, service_config=retrying(), retry_budget=budget) as channel:
        for make in (unary, responses):
            for _ in range(100):
                assert await code_of(outcome_of(make(channel))) is UNAVAILABLE
    assert 220 < len(service.calls) <= 200 + 20 + 5
    assert budget.statistics().calls == 200


@in_loops
async def test_own_failures_cost_nothing() -> None:
    """A deadline or a cancellation of ours takes nothing from the budget, whatever codes the policy names."""
    budget = RetryBudget()
    config = retrying(retryableStatusCodes=["DEADLINE_EXCEEDED", "CANCELLED"])
    async with connected(Stack.HASTEN, service := Service(), service_config=config, retry_budget=budget) as channel:
        for make in (unary, responses):
            timed_out = make(channel, b"hold", timeout=0.02)
            assert await code_of(outcome_of(timed_out)) is StatusCode.DEADLINE_EXCEEDED
            cancelled = make(channel, b"hold")
            assert cancelled.cancel()
        await service.idle()
    assert budget.statistics().granted == budget.statistics().refused == 0


@in_loops
async def test_throttling() -> None:
    """At half of retryThrottling's tokens there are no more retries, until successes have brought them back."""
    extra = {"retryThrottling": {"maxTokens": 4, "tokenRatio": 1}}
    script = (UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, None, None, UNAVAILABLE, None)
    service = Service(scripted(*script))
    async with connected(Stack.HASTEN, service, service_config=retrying(extra=extra)) as channel:
        assert await code_of(unary(channel)) is UNAVAILABLE  # 4 - 1 tokens: a retry; 4 - 2: none
        assert len(service.calls) == 2
        assert await code_of(unary(channel)) is UNAVAILABLE  # 1 token
        assert len(service.calls) == 3
        await unary(channel)
        await unary(channel)  # 3 tokens
        assert await code_of(unary(channel)) is UNAVAILABLE  # 2
        assert len(service.calls) == 6
        await unary(channel)
        await unary(channel)  # 4
        service._answer = scripted(UNAVAILABLE, None)
        await unary(channel)  # 3: a retry
    assert len(service.calls) == 10


@in_loops
async def test_told_not_to_retry_counts_for_throttling() -> None:
    """A server that forbids a retry takes a token as one that fails does, whatever its code (gRFC A6)."""
    extra = {"retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}}
    service = Service(scripted(StatusCode.ABORTED, pairs=(("grpc-retry-pushback-ms", "-1"),)))
    async with connected(Stack.HASTEN, service, service_config=retrying(extra=extra)) as channel:
        await code_of(unary(channel))
        service._answer = scripted(UNAVAILABLE)
        await code_of(unary(channel))
    assert len(service.calls) == 2


@every_kind
@in_loops
async def test_signals(kind: str) -> None:
    """Hooks hear of each attempt: what it is, how it ended, and the bytes that it sent and received."""
    signals: list[CallSignal] = []
    service = Service(scripted(UNAVAILABLE, None))
    hooks = (signals.append,)
    async with connected(Stack.HASTEN, service, service_config=retrying(), hooks=hooks) as channel:
        await outcome_of(KINDS[kind](channel, b"abc"))
    started = [signal.attempt for signal in signals if isinstance(signal, CallStarted)]
    finished = [signal for signal in signals if isinstance(signal, CallFinished)]
    assert started == ["first", "retry"]
    assert [(end.attempt, end.code, end.received_bytes) for end in finished] == [
        ("first", "UNAVAILABLE", 0),
        ("retry", "OK", 3),
    ]
    assert {end.sent_bytes for end in finished} == {3}


@every_kind
@in_loops
async def test_no_connection(kind: str) -> None:
    """An attempt for which there is no connection fails like others, and is retried."""
    async with serve(Stack.HASTEN, Service()) as address:
        pass
    options = [("grpc.initial_reconnect_backoff_ms", 100)]
    config = retrying(initialBackoff="0.3s", maxAttempts=5, backoffMultiplier=1)
    async with hasten.rpc.Channel(address, service_config=config, options=options) as channel:
        assert await code_of(unary(channel, timeout=0.1)) is UNAVAILABLE
        call = KINDS[kind](channel, b"a")
        async with serve(Stack.HASTEN, Service(), address):
            assert await outcome_of(call) == [b"a"]
