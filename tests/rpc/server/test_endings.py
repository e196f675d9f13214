"""Calls end, and answers are what they should be, whatever a handler does wrong and however many calls there are."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc.aio import AbortError

from hasten import rpc
from hasten.rpc.wire._frames import DATA, END_STREAM
from tests.conftest import LoopFactory
from tests.rpc._peers import RawClient, data, request
from tests.rpc.server.serving import failure, serving

UNSENDABLE = (("key", "a line\nbreak"),)
SAY = "/test.Service/Unary"


async def _initial(context: Any) -> None:
    await context.send_initial_metadata(UNSENDABLE)


async def _trailing(context: Any) -> None:
    context.set_trailing_metadata(UNSENDABLE)


async def _abort(context: Any) -> None:
    await context.abort(grpc.StatusCode.NOT_FOUND, "no", UNSENDABLE)


async def _abort_alone(_: Any) -> None:
    raise AbortError("raised by the handler itself")


MISTAKES: dict[str, Callable[[Any], Awaitable[None]]] = {
    "initial metadata": _initial,
    "trailing metadata": _trailing,
    "metadata of abort": _abort,
    "AbortError without abort": _abort_alone,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_its_call(name: str, loop_factory: LoopFactory) -> None:
    """A handler that would send what cannot be sent fails its call, and no other; the client does not wait."""

    async def unary(request: bytes, context: Any) -> bytes:
        if request == b"wrong":
            await MISTAKES[name](context)
        return request

    async def scenario() -> None:
        async with serving(rpc.Server, unary=unary) as stub:
            assert (await failure(stub.unary(b"wrong"))).code() is grpc.StatusCode.UNKNOWN
            assert await stub.unary(b"right") == b"right"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_all_responses_are_compressed(loop_factory: LoopFactory) -> None:
    """A server with a compression compresses each response to a client that can read it, not only the first."""
    large = bytes(1000)

    async def unary(request: bytes, _: Any) -> bytes:
        return large

    async def scenario() -> None:
        server = rpc.Server(compression=grpc.Compression.Gzip)
        handler: Any = grpc.unary_unary_rpc_method_handler(unary)
        server.add_registered_method_handlers("test.Service", {"Unary": handler})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with RawClient(port) as peer:
            for id_ in range(1, 9, 2):
                await peer.send(request(id_, SAY, [("grpc-accept-encoding", "gzip")]), data(id_, b"", END_STREAM))
                answer = await peer.until(DATA, id_)
                assert answer.payload[0] == 1
                assert gzip.decompress(answer.payload[5:]) == large
            await peer.send(request(9, SAY), data(9, b"", END_STREAM))
            assert (await peer.until(DATA, 9)).payload[5:] == large
        await server.stop(None)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_line_breaks_reach_no_handler(loop_factory: LoopFactory) -> None:
    """Metadata with a line break or a NUL is malformed; behind a remembered beginning the field is left out."""
    seen: list[Any] = []

    async def unary(request: bytes, context: Any) -> bytes:
        seen.append([value for key, value in context.invocation_metadata() if key == "x"])
        return request

    async def scenario() -> None:
        server = rpc.Server()
        handler: Any = grpc.unary_unary_rpc_method_handler(unary)
        server.add_registered_method_handlers("test.Service", {"Unary": handler})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with RawClient(port) as peer:
            for number, value in enumerate(["a\nb", "fine", "fine too", "a\r\nb", "\0", "fine again"]):
                id_ = 2 * number + 1
                await peer.send(request(id_, SAY, [("x", value)]), data(id_, b"", END_STREAM))
                assert await peer.status(id_) in {"0", "PROTOCOL_ERROR"}
        await server.stop(None)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
    assert [values[0] for values in seen if values] == ["fine", "fine too", "fine again"]
