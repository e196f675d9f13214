"""What the service config says of a method holds for its calls, unless the call itself says otherwise."""

import json
from typing import Any

import pytest
from grpc import StatusCode

import hasten.rpc
from hasten.resilience import deadline
from tests.rpc.channel._service import (
    HOLD,
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
    serve,
    unary,
)
from tests.rpc.channel.test_state import QUICKLY_BACK, free_port
from tests.rpc.interop._stacks import Stack


def configured(*names: dict[str, str], **config: Any) -> dict[str, Any]:
    """Return a service config for these names, for all methods without one."""
    return {"methodConfig": [{"name": list(names) or [{}], **config}]}


@every_kind
@in_loops
async def test_timeout(kind: str) -> None:
    """A configured timeout bounds calls without one and with a longer one; a shorter one of the call holds."""
    async with connected(Stack.HASTEN, service := Service(), service_config=configured(timeout="0.05s")) as channel:
        for given in ({}, {"timeout": 100.0}):
            call = KINDS[kind](channel, HOLD, **given)
            assert call.time_remaining() <= 0.05
            assert await code_of(outcome_of(call)) is StatusCode.DEADLINE_EXCEEDED
        assert KINDS[kind](channel, HOLD, timeout=0.01).time_remaining() <= 0.01
    assert service.ended == 0


@every_kind
@in_loops
async def test_the_ambient_deadline_holds_too(kind: str) -> None:
    """The shortest of the configured timeout, the call's and the ambient deadline is the call's."""
    async with connected(Stack.HASTEN, Service(), service_config=configured(timeout="50s")) as channel:
        async with deadline(10.0):
            call = KINDS[kind](channel, timeout=100.0)
            assert 9.0 < call.time_remaining() <= 10.0
            await outcome_of(call)
        assert KINDS[kind](channel, timeout=20.0).time_remaining() <= 20.0


@in_loops
async def test_of_one_method() -> None:
    """What is said of one method says nothing of the others."""
    config = configured({"service": SERVICE, "method": "Unary"}, timeout="50s")
    async with connected(Stack.HASTEN, Service(), service_config=config) as channel:
        assert unary(channel).time_remaining() is not None
        assert requests(channel).time_remaining() is None


@every_kind
@in_loops
async def test_wait_for_ready(kind: str) -> None:
    """A configured waitForReady lets calls wait for the server; one that says False does not wait."""
    port = free_port()
    config = configured(waitForReady=True)
    async with hasten.rpc.Channel(f"127.0.0.1:{port}", service_config=config, options=QUICKLY_BACK) as channel:
        impatient = KINDS[kind](channel, wait_for_ready=False)
        assert await code_of(outcome_of(impatient)) is StatusCode.UNAVAILABLE
        patient = KINDS[kind](channel, b"a")
        async with serve(Stack.HASTEN, Service(), f"127.0.0.1:{port}"):
            assert await outcome_of(patient) == [b"a"]


@every_kind
@in_loops
async def test_message_sizes(kind: str) -> None:
    """Configured sizes bound requests and responses of a method; the channel's own bounds hold beside them."""
    sent = configured(maxRequestMessageBytes=10)
    async with connected(Stack.HASTEN, service := Service(), service_config=sent) as channel:
        error = await failure_of(outcome_of(KINDS[kind](channel, b"a" * 11)))
        assert (error.code(), error.details()) == (
            StatusCode.RESOURCE_EXHAUSTED,
            "Sent message larger than max (11 vs. 10)",
        )
        assert await outcome_of(KINDS[kind](channel, b"a" * 10)) == [b"a" * 10]
    received = configured(maxResponseMessageBytes=10)
    async with connected(Stack.HASTEN, service, service_config=received) as channel:
        error = await failure_of(outcome_of(KINDS[kind](channel, b"a" * 11)))
        assert (error.code(), error.details()) == (
            StatusCode.RESOURCE_EXHAUSTED,
            "Received message larger than max (11 vs. 10)",
        )
        assert await outcome_of(KINDS[kind](channel, b"a" * 10)) == [b"a" * 10]


@pytest.mark.parametrize("how", ["mapping", "text", "option"])
@in_loops
async def test_given_in_several_ways(how: str) -> None:
    """A service config is a mapping, JSON text, or grpc's option."""
    config = configured(timeout="50s")
    given: dict[str, dict[str, Any]] = {
        "mapping": {"service_config": config},
        "text": {"service_config": json.dumps(config)},
        "option": {"options": [("grpc.service_config", json.dumps(config))]},
    }
    async with connected(Stack.HASTEN, Service(), **given[how]) as channel:
        assert unary(channel).time_remaining() is not None
