"""What users give as metadata arrives, and what cannot be sent is refused, as with grpc.aio."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.rpc.channel._raw_server import RawConnection, Request, raw_server
from tests.rpc.channel._service import (
    KINDS,
    Context,
    Service,
    connected,
    every_kind,
    every_stack,
    in_loops,
    make_channel,
    outcome_of,
    unary,
)
from tests.rpc.interop._stacks import Stack

GIVEN: tuple[Any, ...] = (
    (("a", "b"),),
    [("a", "b")],
    [["a", "b"]],
    grpc.aio.Metadata(("a", "b")),
    (("a", b"b"),),
    ((b"a", "b"),),
)
PASSED_ON: tuple[tuple[tuple[str, Any], ...], ...] = (
    (("a", "2"), ("a", "1"), ("b", "3")),
    (("a-bin", b"\x00\xff"), ("a-bin", b"")),
    (("a", ""),),
    (("a", " spaced "),),
    (("a", "x" * 2000),),
    (("a_b-c.d", "~!@#$%^&*()"),),
    (("grpc-custom", "1"),),
    (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
)
REFUSED: tuple[tuple[Any, type[Exception]], ...] = (
    ((("A", "b"),), grpc.aio.InternalError),
    ((("a b", "c"),), grpc.aio.InternalError),
    ((("", "c"),), grpc.aio.InternalError),
    (((":path", "c"),), grpc.aio.InternalError),
    ((("a", "\u00fc"),), grpc.aio.InternalError),
    ((("a", "b\nc"),), grpc.aio.InternalError),
    ((("a-bin", "text"),), TypeError),
    ((("a", 1),), TypeError),
    (5, TypeError),
    ("ab", ValueError),
    ((("a", "b", "c"),), ValueError),
    ({"a": "b"}, ValueError),
)


@every_stack
@pytest.mark.parametrize("given", GIVEN, ids=repr)
@in_loops
async def test_forms(stack: Stack, given: Any) -> None:
    """Metadata is any iterable of pairs, of text or bytes."""
    async with connected(stack, service := Service()) as channel:
        await unary(channel, metadata=given)
    assert service.only.value("a") == "b"


@every_stack
@pytest.mark.parametrize("given", PASSED_ON, ids=repr)
@every_kind
@in_loops
async def test_arrives(stack: Stack, kind: str, given: Any) -> None:
    """Pairs arrive as they were given, the values of a repeated key in order."""
    async with connected(stack, service := Service()) as channel:
        await outcome_of(KINDS[kind](channel, metadata=given))
    assert tuple(pair for pair in service.only.metadata if pair[0] != "user-agent") == given


@every_stack
@pytest.mark.parametrize(("given", "error"), REFUSED, ids=repr)
@in_loops
async def test_refused(stack: Stack, given: Any, error: type[Exception]) -> None:
    """Metadata that cannot be sent raises where grpc.aio raises, what `except` clauses for grpc.aio catch."""
    async with connected(stack, service := Service()) as channel:
        with pytest.raises(error):
            await unary(channel, metadata=given)
        assert await unary(channel) == b"a"  # the connection has not suffered
    assert len(service.calls) == 1


@every_stack
@pytest.mark.parametrize("key", ["te", "content-type", "user-agent", "grpc-timeout", "grpc-encoding"])
@in_loops
async def test_names_of_the_transport(stack: Stack, key: str) -> None:
    """What the transport itself sends is left out of a user's metadata, without a word."""
    async with connected(stack, service := Service()) as channel:
        await unary(channel, metadata=((key, "mine"), ("a", "b")))
    assert service.only.value(key) != "mine"
    assert service.only.value("a") == "b"


@every_stack
@in_loops
async def test_none_is_empty(stack: Stack) -> None:
    """A value None is sent as an empty one."""
    async with connected(stack, service := Service()) as channel:
        await unary(channel, metadata=(("a", None),))
    assert service.only.value("a") == ""


EARLY = [(stack, kind) for stack in Stack for kind in KINDS if stack is Stack.HASTEN or kind in {"responses", "both"}]


@pytest.mark.parametrize(("stack", "kind"), EARLY)
@in_loops
async def test_initial_metadata_comes_early(stack: Stack, kind: str) -> None:
    """What the server sends before its response can be read before it; with grpc.aio only of a stream."""

    async def greet(request: bytes, context: Context) -> bytes:
        await context.send_initial_metadata((("greeting", "early"), ("greeting-bin", b"\x01")))
        return await service.echo(b"hold", context)

    service = Service(greet)
    async with connected(stack, service) as channel:
        call = KINDS[kind](channel)
        initial = await call.initial_metadata()
        assert (initial["greeting"], initial["greeting-bin"]) == ("early", b"\x01")
        assert not call.done()
        service.release()
        await outcome_of(call)


@every_stack
@pytest.mark.parametrize("where", ["initial", "trailing"])
@in_loops
async def test_malformed_binary_value(stack: Stack, where: str) -> None:
    """A -bin value of the server that is no base64 ends the call with INTERNAL, whatever its status says."""

    async def behave(connection: RawConnection) -> None:
        while True:
            _answer(connection, await connection.request(), where)

    async with raw_server(behave) as address, make_channel(stack, address) as channel:
        call = unary(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(call, 5)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "illegal base64" in (caught.value.details() or "")
        await call.trailing_metadata()


def _answer(connection: RawConnection, request: Request, where: str) -> None:
    extra = {"bad-bin": "@@@"}
    head = {":status": "200", "content-type": "application/grpc", **(extra if where == "initial" else {})}
    connection.headers(request.stream_id, head)
    connection.data(request.stream_id, request.body)
    connection.headers(request.stream_id, {"grpc-status": "0", **(extra if where == "trailing" else {})}, ends=True)
