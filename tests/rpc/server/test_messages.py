"""Requests and responses between handlers and the wire, the same on grpc.aio and on hasten."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from hasten import rpc
from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected, patience
from tests.rpc.server.serving import (
    UNARY,
    Context,
    Ending,
    MakeServer,
    Stub,
    both_stacks,
    ending,
    ending_of,
    run,
    serving,
)

MIB = 1 << 20
UNEXPECTED_TYPE = "Unexpected <class 'TypeError'>: "


async def echo(request: bytes, _: Context) -> bytes:
    return request


async def count(each: AsyncIterator[bytes], _: Context) -> bytes:
    return str(sum([len(request) async for request in each])).encode()


def bound(name: str, size_bytes: int) -> list[tuple[str, int]]:
    return [(f"grpc.max_{name}_message_length", size_bytes)]


@both_stacks
@pytest.mark.parametrize("count", [0, 2])
def test_number_of_requests(count: int, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A unary method takes one request."""
    requests = iter([b"1", b"2"][:count])
    seconds = 30 if count else patience(make_server)

    def call(stub: Stub) -> Any:
        as_stream: Any = stub.channel.stream_unary(UNARY)
        return as_stream(requests, timeout=seconds)

    ended = ending_of(make_server, loop_factory, call, unary=echo)
    subject = "a unary request of two messages" if count else "a unary request that is missing"
    assert ended == expected(subject, make_server)


@both_stacks
@pytest.mark.parametrize(
    ("response", "sent"),
    [
        (None, Ending(responses=(b"",))),
        ("\u00fc", Ending(responses=(b"\xc3\xbc",))),
        (5, Ending(StatusCode.UNKNOWN, UNEXPECTED_TYPE + "Expected bytes, got int")),
        (bytearray(b"x"), Ending(StatusCode.UNKNOWN, UNEXPECTED_TYPE + "Expected bytes, got bytearray")),
    ],
    ids=["None", "str", "int", "bytearray"],
)
def test_response_of_another_type(
    response: Any, sent: Ending, make_server: MakeServer, loop_factory: LoopFactory
) -> None:
    """Without a serialiser None is an empty message, and text is UTF-8; anything else is an error, as in streams."""

    async def unary(_: bytes, context: Context) -> Any:
        return response

    async def responses(_: bytes, context: Context) -> AsyncIterator[Any]:
        yield response

    def in_thread(_: Any, context: Context) -> Any:
        return response

    async def conversation() -> list[Ending]:
        async with serving(make_server, unary=unary, responses=responses, requests=in_thread) as stub:
            calls = (stub.unary(b""), stub.responses(b""), stub.requests(iter([b""])))
            return [await ending(call) for call in calls]

    assert run(conversation(), loop_factory) == [sent] * 3


def test_serialiser_that_returns_text(loop_factory: LoopFactory) -> None:
    """Text from a serialiser fails its own call, and none of those whose responses leave with it."""

    def serialize(message: bytes) -> Any:
        return message.decode() if message == b"text" else message

    async def conversation() -> None:
        async with serving(rpc.Server, unary=echo, serialize=serialize, connect=rpc.Channel) as stub:
            calls = [stub.unary(request) for request in (b"1", b"2", b"text", b"3")]
            answers = [await ending(call) for call in calls]
            assert [answer.responses for answer in answers] == [(b"1",), (b"2",), (), (b"3",)]
            assert answers[2].details == UNEXPECTED_TYPE + "Expected bytes, got str"

    run(conversation(), loop_factory)


@both_stacks
@pytest.mark.parametrize("kind", ["unary", "requests"])
@pytest.mark.parametrize("side", ["deserialize", "serialize"])
def test_serialiser_that_raises(side: str, kind: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Its error is the call's."""

    def fail(_: bytes) -> bytes:
        raise LookupError("no such field")

    ended = ending_of(
        make_server,
        loop_factory,
        lambda stub: stub.unary(b"") if kind == "unary" else stub.requests(iter([b""])),
        unary=echo,
        requests=count,
        **{side: fail},
    )
    assert ended == Ending(StatusCode.UNKNOWN, "Unexpected <class 'LookupError'>: no such field")


@both_stacks
def test_read_in_a_unary_handler(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """There is no second request to read."""

    async def handle(request: bytes, context: Context) -> bytes:
        assert await context.read() is grpc.aio.EOF
        return request

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b"x", timeout=5), unary=handle)
    assert ended == Ending(responses=(b"x",))


@both_stacks
def test_reading_both_ways(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The iterator of requests and read take from the same stream, of which both see the end."""
    seen: list[Any] = []

    async def handle(each: AsyncIterator[bytes], context: Context) -> bytes:
        async for request in each:
            seen.append(request)
            break
        seen.append(await context.read())
        seen.extend([request async for request in each])
        seen.append(await context.read())
        seen.extend([request async for request in each])
        return b"".join(seen[:3])

    requests = iter([b"1", b"2", b"3"])
    ended = ending_of(make_server, loop_factory, lambda stub: stub.requests(requests), requests=handle)
    assert ended == Ending(responses=(b"123",))
    assert seen == [b"1", b"2", b"3", grpc.aio.EOF]


@both_stacks
def test_writing_both_ways(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A generator may write, too; what it yields and writes arrives in order."""

    async def handle(_: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"1"
        await context.write(b"2")
        yield b"3"

    ended = ending_of(make_server, loop_factory, lambda stub: stub.responses(b""), responses=handle)
    assert ended == Ending(responses=(b"1", b"2", b"3"))


@both_stacks
def test_coroutine_that_returns_an_iterator(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What a coroutine function returns for a stream is not sent: it writes for itself."""

    async def handle(_: bytes, context: Context) -> Any:
        await context.write(b"written")
        return [b"returned"]

    ended = ending_of(make_server, loop_factory, lambda stub: stub.responses(b""), responses=handle)
    assert ended == Ending(responses=(b"written",))


@both_stacks
def test_requests_that_are_not_read(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A handler may answer before it has read all (grpc.aio's client now and then makes INTERNAL of it: ours calls)."""

    async def handle(each: AsyncIterator[bytes], _: Context) -> bytes:
        async for request in each:
            return request
        return b"none"

    requests = iter([b"first"] + [bytes(1000)] * 20)
    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.requests(requests), requests=handle, connect=rpc.Channel
    )
    assert ended == Ending(responses=(b"first",))


@both_stacks
@pytest.mark.parametrize("kind", ["unary", "requests"])
@pytest.mark.parametrize(
    ("options", "size_bytes", "limit"),
    [
        ((), 4 * MIB + 1, 4 * MIB),
        (bound("receive", 100), 101, 100),
        (bound("receive", 100), 100, 0),
        (bound("receive", -1), 4 * MIB + 1, 0),
    ],
    ids=["default", "set", "at the limit", "none"],
)
def test_request_size(
    kind: str, options: Any, size_bytes: int, limit: int, make_server: MakeServer, loop_factory: LoopFactory
) -> None:
    """A request above grpc.max_receive_message_length, 4 MiB without, is RESOURCE_EXHAUSTED."""
    request = bytes(size_bytes)

    async def size(request: bytes, _: Context) -> bytes:
        return str(len(request)).encode()

    ended = ending_of(
        make_server,
        loop_factory,
        lambda stub: stub.unary(request) if kind == "unary" else stub.requests(iter([request])),
        unary=size,
        requests=count,
        options=options,
    )
    too_large = f"SERVER: Received message larger than max ({size_bytes} vs. {limit})"
    refused = Ending(StatusCode.RESOURCE_EXHAUSTED, too_large)
    assert ended == (refused if limit else Ending(responses=(str(size_bytes).encode(),)))


@both_stacks
def test_size_of_a_compressed_request(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The limit holds for what comes out of compression."""
    ended = ending_of(
        make_server,
        loop_factory,
        lambda stub: stub.unary(bytes(1000), compression=grpc.Compression.Gzip),
        unary=echo,
        options=bound("receive", 100),
    )
    details = expected("a message that is too large once decompressed", make_server)
    assert ended == Ending(StatusCode.RESOURCE_EXHAUSTED, details)


@both_stacks
@pytest.mark.parametrize("kind", ["unary", "responses", "written", "thread"])
def test_response_size(kind: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A response above grpc.max_send_message_length is not sent, and the call is RESOURCE_EXHAUSTED."""

    async def responses(_: bytes, context: Context) -> AsyncIterator[bytes]:
        yield bytes(100)
        yield bytes(101)

    async def written(_: Any, context: Context) -> None:
        await context.write(bytes(100))
        await context.write(bytes(101))

    def in_thread(_: Any, context: Context) -> bytes:
        return bytes(101)

    async def conversation() -> Ending:
        handlers: dict[str, Any] = {"unary": echo, "responses": responses, "both": written, "requests": in_thread}
        async with serving(make_server, options=bound("send", 100), **handlers) as stub:
            if kind == "unary":
                return await ending(stub.unary(bytes(101)))
            if kind == "responses":
                return await ending(stub.responses(b""))
            return await ending((stub.both if kind == "written" else stub.requests)(iter([b""])))

    sent = (bytes(100),) if kind in {"responses", "written"} else ()
    details = "SERVER: Sent message larger than max (101 vs. 100)"
    assert run(conversation(), loop_factory) == Ending(StatusCode.RESOURCE_EXHAUSTED, details, sent)
