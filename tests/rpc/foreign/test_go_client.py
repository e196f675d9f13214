"""grpc-go's official interoperability client against our server.

It has no compression cases; test_grpcurl.py has grpc-go read compressed responses.
"""

import asyncio
from collections.abc import Callable

import pytest

from tests.conftest import LoopFactory
from tests.rpc.foreign._processes import Ended, run
from tests.rpc.foreign._serving import serving

CASES = (
    "cancel_after_begin",
    "cancel_after_first_response",
    "client_streaming",
    "custom_metadata",
    "empty_stream",
    "empty_unary",
    "large_unary",
    "ping_pong",
    "server_streaming",
    "special_status_message",
    "status_code_and_message",
    "timeout_on_sleeping_server",
    "unimplemented_method",
    "unimplemented_service",
)


async def go_client(executable: str, case: str) -> Ended:
    async with serving() as port:
        return await run(executable, "-server_host", "127.0.0.1", "-server_port", str(port), "-test_case", case)


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """The official Go client finds our server's behaviour right, and leaves no handler running."""
    executable = peer("go-interop-client")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        ended = runner.run(go_client(executable, case))
    assert ended.code == 0, ended.messages


def test_client_can_find_fault(peer: Callable[[str], str]) -> None:
    """The client's exit code is no constant: a case that our server cannot satisfy fails."""
    ended = asyncio.run(go_client(peer("go-interop-client"), "orca_per_rpc"))
    assert ended.code != 0
