"""grpcurl (grpc-go) through our server's reflection: it learns the schema from the server and then calls it."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import grpc.aio
from grpc_reflection.v1alpha import reflection

from tests.conftest import LoopFactory
from tests.rpc.foreign._processes import Ended, run
from tests.rpc.foreign._serving import serving
from tests.rpc.interop._relay import Relay
from tests.rpc.interop.protos import service_pb2  # reflection shows what has been imported

SERVICE = service_pb2.DESCRIPTOR.services_by_name["TestService"].full_name
DATA_LOSS = 15
FAILED_WITH = 64  # grpcurl's exit code for a call's status is this plus the status code


def add_reflection(server: grpc.aio.Server) -> None:
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)


async def _grpcurl(executable: str, options: tuple[str, ...], request: tuple[str, ...], relay: Relay) -> Ended:
    async with serving(add_reflection) as port, relay.to(f"127.0.0.1:{port}") as address:
        return await run(executable, "-plaintext", *options, address, *request)


def grpcurl(
    executable: str,
    loop_factory: LoopFactory,
    *request: str,
    options: tuple[str, ...] = (),
    relay: Relay | None = None,
) -> Ended:
    """Run grpcurl against a server with reflection, with options before the address and a request after it."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_grpcurl(executable, options, request, relay or Relay()))


def call(
    executable: str, loop_factory: LoopFactory, method: str, *messages: dict[str, Any], relay: Relay | None = None
) -> Ended:
    """Call a method with messages in JSON."""
    data = " ".join(map(json.dumps, messages))
    return grpcurl(executable, loop_factory, f"{SERVICE}/{method}", options=("-v", "-d", data), relay=relay)


def test_list(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """`grpcurl list` names the services."""
    ended = grpcurl(peer("grpcurl"), loop_factory, "list")
    assert ended.output.split() == [reflection.SERVICE_NAME, SERVICE]


def test_describe(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """`grpcurl describe` shows a service's methods with their message types, streams marked."""
    ended = grpcurl(peer("grpcurl"), loop_factory, "describe", SERVICE)
    methods = set(re.findall(r"rpc (\w+) \( (stream)?.* \) returns \( (stream)?.* \);", ended.output))
    assert {("EmptyCall", "", ""), ("StreamingInputCall", "stream", "")} < methods
    assert {("StreamingOutputCall", "", "stream"), ("FullDuplexCall", "stream", "stream")} < methods


def test_unary_call(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """A unary call gives the response and the headers that gRPC asks for."""
    ended = call(peer("grpcurl"), loop_factory, "UnaryCall", {"responseSize": 3})
    assert ended.code == 0, ended.messages
    assert '"body": "AAAA"' in ended.output
    assert "content-type: application/grpc" in ended.output


def test_compressed_response(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """grpc-go reads a response that our server compressed."""
    relay = Relay()
    request = {"responseSize": 30_000, "responseCompressed": {"value": True}}
    ended = call(peer("grpcurl"), loop_factory, "UnaryCall", request, relay=relay)
    assert ended.code == 0, ended.messages
    assert f'"body": "{"AAAA" * 10_000}"' in ended.output
    assert relay.responses[-1] == [True]


def test_bidirectional_stream(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """Each message of a stream is answered."""
    messages = [{"responseParameters": [{"size": size}]} for size in (3, 6)]
    ended = call(peer("grpcurl"), loop_factory, "FullDuplexCall", *messages)
    assert ended.code == 0, ended.messages
    assert [line.strip() for line in ended.output.splitlines() if '"body"' in line] == [
        '"body": "AAAA"',
        '"body": "AAAAAAAA"',
    ]


def test_status(peer: Callable[[str], str], loop_factory: LoopFactory) -> None:
    """A status other than OK comes with its code and its message, non-ASCII characters and all."""
    status = {"code": DATA_LOSS, "message": "no more \u263a"}
    ended = call(peer("grpcurl"), loop_factory, "UnaryCall", {"responseStatus": status})
    assert ended.code == FAILED_WITH + DATA_LOSS
    assert "Code: DataLoss" in ended.messages
    assert "Message: no more \u263a" in ended.messages
