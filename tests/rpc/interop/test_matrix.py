"""The official interoperability cases end as specified, whichever stack is the client and whichever the server."""

import asyncio

import pytest

from tests.conftest import LoopFactory
from tests.rpc.interop._cases import CASES, Case
from tests.rpc.interop._compression import COMPRESSION_CASES, CompressionCase
from tests.rpc.interop._outcome import Outcome, specified
from tests.rpc.interop._relay import Relay
from tests.rpc.interop._servicer import InteropServicer
from tests.rpc.interop._stacks import Stack, connect, serve

# The status messages that the specification leaves to the implementation, as grpc.aio has them.
WORDS = {
    "cancel_after_begin-iterator": "Locally cancelled by application!",
    "cancel_after_begin-read-write": "Locally cancelled by application!",
    "cancel_after_metadata": "Locally cancelled by application!",
    "cancel_after_first_response-iterator": "Locally cancelled by application!",
    "cancel_after_first_response-read-write": "Locally cancelled by application!",
    "unimplemented_method": "Unexpected <class 'NotImplementedError'>: Method not implemented!",
    "unimplemented_service": "Method not found!",
}

every_client = pytest.mark.parametrize("client", Stack, ids=lambda stack: f"{stack.value}-client")
every_server = pytest.mark.parametrize("server", Stack, ids=lambda stack: f"{stack.value}-server")


async def outcome_of(case: Case, client: Stack, server: Stack) -> Outcome:
    """Run one case; return once the server's handlers have ended too."""
    servicer = InteropServicer()
    async with serve(server, servicer.register) as address, connect(client, address) as channel:
        outcome = await case.run(channel)
        await servicer.idle()
    return outcome


async def relayed_outcome_of(case: Case, client: Stack, server: Stack) -> tuple[Outcome, Relay]:
    """Run one case through a relay."""
    relay = Relay()
    servicer = InteropServicer(relay.came_compressed)
    async with (
        serve(server, servicer.register) as address,
        relay.to(address) as relayed,
        connect(client, relayed) as channel,
    ):
        outcome = await case.run(channel)
        await servicer.idle()
    return outcome, relay


@every_client
@every_server
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, client: Stack, server: Stack, loop_factory: LoopFactory) -> None:
    """Each case ends with the codes, messages, metadata and responses that the specification says."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcome = runner.run(outcome_of(case, client, server))
    assert specified(outcome, case.expected) == case.expected


@every_client
@every_server
@pytest.mark.parametrize("compression", COMPRESSION_CASES, ids=lambda compression: compression.case.name)
def test_compression(compression: CompressionCase, client: Stack, server: Stack, loop_factory: LoopFactory) -> None:
    """Each case ends as specified, and on the wire exactly the messages are compressed that shall be."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcome, relay = runner.run(relayed_outcome_of(compression.case, client, server))
    assert specified(outcome, compression.case.expected) == compression.case.expected
    assert relay.requests == compression.requests
    assert relay.responses == compression.responses


@every_client
@every_server
@pytest.mark.parametrize("name", WORDS)
def test_status_message(name: str, client: Stack, server: Stack, loop_factory: LoopFactory) -> None:
    """Where the specification leaves the status message open, it is grpc.aio's, word for word."""
    (case,) = (case for case in CASES if case.name == name)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        (call,) = runner.run(outcome_of(case, client, server))
    assert call.details == WORDS[name]
