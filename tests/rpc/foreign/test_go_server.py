"""Our client against grpc-go's official interoperability server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import pytest

from tests.conftest import LoopFactory
from tests.rpc.foreign._metadata import without
from tests.rpc.foreign._processes import listening
from tests.rpc.foreign._serving import connected
from tests.rpc.interop._cases import CASES, Case, unary
from tests.rpc.interop._outcome import Outcome, specified
from tests.rpc.interop._streams import large_request

LOAD_REPORT = "endpoint-load-metrics-bin"  # this server measures itself (ORCA); grpc.aio does not show it


@contextlib.asynccontextmanager
async def go_server(executable: str) -> AsyncIterator[grpc.aio.Channel]:
    """Run the server; yield a channel to it."""
    logging = {"GRPC_GO_LOG_SEVERITY_LEVEL": "info"}  # else it does not say which port it took
    announcement = r"interop server listening on \S+:(\d+)"
    async with (
        listening(executable, "-port", "0", announcement=announcement, environment=logging) as port,
        connected(port) as channel,
    ):
        yield channel


async def outcome_of(case: Case, executable: str) -> Outcome:
    async with go_server(executable) as channel:
        return without(await case.run(channel), LOAD_REPORT)


async def compressed_call(executable: str) -> grpc.StatusCode:
    """Return how a call ends whose request is compressed."""
    async with go_server(executable) as channel:
        return (await unary(channel, large_request(), grpc.Compression.Gzip)).code


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """Each case ends with the codes, messages, metadata and responses that the specification says."""
    executable = peer("go-interop-server")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcome = runner.run(outcome_of(case, executable))
    assert specified(outcome, case.expected) == case.expected


def test_server_without_gzip(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """A compressed request to a server that does not know gzip, as this one, ends with UNIMPLEMENTED."""
    executable = peer("go-interop-server")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(compressed_call(executable)) is grpc.StatusCode.UNIMPLEMENTED
