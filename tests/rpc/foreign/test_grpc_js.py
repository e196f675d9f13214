"""grpc-js (Node's own HTTP/2) against our server, and our client against it.

The programs lie in scripts/peers/grpc_js. Node's server does not compress responses.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from tests.conftest import LoopFactory
from tests.rpc.foreign._metadata import without
from tests.rpc.foreign._processes import PROJECT, listening, run
from tests.rpc.foreign._serving import connected, serving
from tests.rpc.interop._cases import CASES, Case, unary
from tests.rpc.interop._outcome import Outcome, specified
from tests.rpc.interop._servicer import INITIAL_KEY, TRAILING_KEY
from tests.rpc.interop._streams import LARGE_RESPONSE, large_request

PROGRAMS = PROJECT / "scripts" / "peers" / "grpc_js"
SCHEMA = (str(PROJECT), "tests/rpc/interop/protos/service.proto")
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"


def ended(code: StatusCode = StatusCode.OK, details: str | None = None, *results: int, **more: Any) -> dict[str, Any]:
    """Return what client.js says of a call; details of None may be anything."""
    return {"code": code.value[0], "details": details, "results": list(results), "initial": [], "trailing": [], **more}


OK = StatusCode.OK
ECHOED = {
    "initial": [[INITIAL_KEY, "test_initial_metadata_value"]],
    "trailing": [[TRAILING_KEY, "ababab"]],
}
LARGE = [ended(OK, None, LARGE_RESPONSE)]
FOUR_RESPONSES = [ended(OK, None, 31_415, 9, 2_653, 58_979)]
EXPECTED = {
    "empty_unary": [ended(OK, None, 0)],
    "large_unary": LARGE,
    "client_streaming": [ended(OK, None, 74_922)],
    "server_streaming": FOUR_RESPONSES,
    "ping_pong": FOUR_RESPONSES,
    "empty_stream": [ended(OK)],
    "custom_metadata": [ended(OK, None, LARGE_RESPONSE, **ECHOED), ended(OK, None, 1, **ECHOED)],
    "status_code_and_message": [ended(StatusCode.UNKNOWN, "test status message")] * 2,
    "special_status_message": [ended(StatusCode.UNKNOWN, SPECIAL_MESSAGE)],
    "cancel_after_begin": [ended(StatusCode.CANCELLED)],
    "cancel_after_first_response": [ended(StatusCode.CANCELLED, None, 31_415)],
    "timeout_on_sleeping_server": [ended(StatusCode.DEADLINE_EXCEEDED)],
    "unimplemented_method": [ended(StatusCode.UNIMPLEMENTED)],
    "unimplemented_service": [ended(StatusCode.UNIMPLEMENTED)],
    "client_compressed_unary": LARGE,
    "client_compressed_streaming": [ended(OK, None, 74_922)],
    "server_compressed_unary": LARGE,
}


@pytest.fixture
def node(peer: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return Node's executable, which then finds grpc-js."""
    monkeypatch.setenv("NODE_PATH", f"{peer('grpc-js')}/node_modules")
    executable = shutil.which("node")
    assert executable, "grpc-js is there and node is not"
    return executable


async def js_client(node: str) -> dict[str, Any]:
    async with serving() as port:
        done = await run(node, str(PROGRAMS / "client.js"), str(port), *SCHEMA)
    assert done.code == 0, done.messages
    outcomes: dict[str, Any] = json.loads(done.output)
    return outcomes


def js_server(node: str) -> Any:
    """Return a context in which grpc-js's server runs; it gives the port."""
    return listening(node, str(PROGRAMS / "server.js"), *SCHEMA, announcement=r"listening on 127.0.0.1:(\d+)")


async def outcomes_of(cases: tuple[Case, ...], node: str) -> dict[str, Outcome]:
    """Run cases against grpc-js's server, each over a channel of its own."""
    outcomes = {}
    async with js_server(node) as port:
        for case in cases:
            async with connected(port) as channel:
                outcomes[case.name] = without(specified(await case.run(channel), case.expected), "date")
    return outcomes


async def compressed_call(node: str) -> StatusCode:
    async with js_server(node) as port, connected(port) as channel:
        return (await unary(channel, large_request(), grpc.Compression.Gzip)).code


def test_client(node: str, loop_factory: LoopFactory) -> None:
    """Every case of grpc-js's client ends with the codes, messages, metadata and responses that gRPC specifies."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcomes = runner.run(js_client(node))
    for name, expected in EXPECTED.items():
        for call, expectation in zip(outcomes[name], expected, strict=True):
            if expectation["details"] is None:
                call["details"] = None
    assert outcomes == EXPECTED


def test_server(node: str, loop_factory: LoopFactory) -> None:
    """Every case of our client against grpc-js's server ends as the specification says."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        outcomes = runner.run(outcomes_of(CASES, node))
    assert outcomes == {case.name: case.expected for case in CASES}


def test_compressed_request(node: str, loop_factory: LoopFactory) -> None:
    """grpc-js's server reads a request that our client compressed."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(compressed_call(node)) is OK
