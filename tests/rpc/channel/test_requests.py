"""What a channel puts on the wire: serialised messages, compression, sizes, user agent, authority."""

import zlib
from typing import Any

import grpc
import grpc.aio
import pytest

import hasten.rpc
from tests.rpc.channel._raw_server import RawConnection, Request, message, raw_server
from tests.rpc.channel._service import (
    BOTH,
    KINDS,
    REQUESTS,
    RESPONSES,
    UNARY,
    Service,
    code_of,
    connected,
    every_kind,
    every_stack,
    failure_of,
    in_loops,
    make_channel,
    outcome_of,
    requests,
    responses,
    unary,
    written,
)
from tests.rpc.interop._stacks import Stack

Compression = grpc.Compression
LARGE = bytes(5 * 2**20)
COMPRESSIBLE = b"a" * 5000


@every_stack
@in_loops
async def test_serialisers(stack: Stack) -> None:
    """Each request goes through the serialiser, each response through the deserialiser, in all four kinds."""

    def encode(number: int) -> bytes:
        return b"%d" % number

    async with connected(stack, Service()) as channel:
        stream: Any = iter([1, 2])
        again: Any = iter([3, 4])
        calls = (
            channel.unary_unary(UNARY, encode, int)(5),
            channel.unary_stream(RESPONSES, encode, int)(6),
            channel.stream_unary(REQUESTS, encode, bytes.split)(stream),
            channel.stream_stream(BOTH, encode, int)(again),
        )
        outcomes: list[Any] = [await outcome_of(call) for call in calls]
    assert outcomes == [[5], [6], [[b"1", b"2"]], [3, 4]]


@in_loops
async def test_a_serialiser_that_raises() -> None:
    """Its error is the caller's, and no call is made; grpc.aio sends an empty message instead."""

    def fail(_: Any) -> bytes:
        raise LookupError("mine")

    async with connected(Stack.HASTEN, service := Service()) as channel:
        with pytest.raises(LookupError):
            channel.unary_unary(UNARY, fail)(b"a")
        with pytest.raises(LookupError):
            channel.unary_stream(RESPONSES, fail)(b"a")
        call: Any = channel.stream_stream(BOTH, fail)()
        with pytest.raises(LookupError):
            await call.write(b"a")
        assert await unary(channel) == b"a"
        assert [seen.method for seen in service.calls if seen.requests] == ["Unary"]


@in_loops
async def test_a_deserialiser_that_raises() -> None:
    """Its error is the caller's, however often it is asked; grpc.aio returns None instead."""

    def fail(_: bytes) -> Any:
        raise LookupError("mine")

    async with connected(Stack.HASTEN, Service()) as channel:
        method: Any = channel.unary_unary(UNARY, None, fail)
        call = method(b"a")
        for _ in range(2):
            with pytest.raises(LookupError):
                await call
        method = channel.unary_stream(RESPONSES, None, fail)
        with pytest.raises(LookupError):
            await outcome_of(method(b"a"))
        assert await unary(channel) == b"a"


@every_stack
@in_loops
async def test_requests_that_are_no_bytes(stack: Stack) -> None:
    """Without a serialiser requests are bytes; anything else is a TypeError, and the channel goes on."""
    text: Any = "text"
    async with connected(stack, Service()) as channel:
        for make in (unary, responses):
            with pytest.raises(TypeError):
                await outcome_of(make(channel, text))
        call = written(channel)
        with pytest.raises(TypeError):
            await call.write(text)
        call.cancel()
        assert await unary(channel) == b"a"


@in_loops
async def test_requests_that_are_no_bytes_before_there_is_a_connection() -> None:
    """The TypeError comes where the mistake was made, and not where the connection is."""
    text: Any = "text"
    async with connected(Stack.HASTEN, Service()) as channel:
        with pytest.raises(TypeError, match="must be bytes, not str"):
            unary(channel, text)
        assert await unary(channel) == b"a"


@every_stack
@every_kind
@pytest.mark.parametrize("per", ["call", "channel", "option"])
@in_loops
async def test_compressed(stack: Stack, kind: str, per: str) -> None:
    """Requests are compressed when the call, the channel or its option says so, and say how."""
    call: dict[str, Any] = {"compression": Compression.Gzip} if per == "call" else {}
    settings: dict[str, Any] = {}
    if per == "channel":
        settings = {"compression": Compression.Gzip}
    elif per == "option":
        settings = {"options": [("grpc.default_compression_algorithm", 2)]}
    (request,) = await _recorded(stack, kind, call, settings)
    assert request.headers["grpc-encoding"] == "gzip"
    assert request.body[0] == 1
    assert zlib.decompress(request.body[5:], 31) == COMPRESSIBLE


@every_stack
@every_kind
@in_loops
async def test_not_compressed(stack: Stack, kind: str) -> None:
    """Nothing is compressed that nobody asked for."""
    (request,) = await _recorded(stack, kind, {}, {})
    assert request.headers.get("grpc-encoding", "identity") == "identity"
    assert request.body == message(COMPRESSIBLE)


@every_kind
@in_loops
async def test_a_call_leaves_compression_out(kind: str) -> None:
    """A call may say no to its channel's compression; grpc.aio takes its NoCompression for nothing said."""
    settings = {"compression": Compression.Gzip}
    (request,) = await _recorded(Stack.HASTEN, kind, {"compression": Compression.NoCompression}, settings)
    assert "grpc-encoding" not in request.headers
    assert request.body == message(COMPRESSIBLE)


@in_loops
async def test_deflate() -> None:
    """Compression.Deflate is zlib's format, and what would grow is sent as it is."""
    (request,) = await _recorded(Stack.HASTEN, "unary", {"compression": Compression.Deflate}, {})
    assert request.headers["grpc-encoding"] == "deflate"
    assert zlib.decompress(request.body[5:]) == COMPRESSIBLE
    (short,) = await _recorded(Stack.HASTEN, "unary", {"compression": Compression.Gzip}, {}, b"a")
    assert short.body == b"\0\0\0\0\x01a"


async def _recorded(
    stack: Stack, kind: str, call: dict[str, Any], settings: dict[str, Any], payload: bytes = COMPRESSIBLE
) -> list[Request]:
    """Return the requests that one call of a kind sends."""

    async def behave(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            connection.answer(seen[-1])

    seen: list[Request] = []
    async with raw_server(behave) as address, make_channel(stack, address, **settings) as channel:
        await outcome_of_any(KINDS[kind](channel, payload, **call))
    return seen


async def outcome_of_any(call: Any) -> None:
    """Let a call end, whatever it makes of its own compressed request as a response without an encoding."""
    await call.code() if not hasattr(call, "__aiter__") else await code_of(outcome_of(call))


@every_stack
@every_kind
@in_loops
async def test_received_message_size(stack: Stack, kind: str) -> None:
    """A response above grpc.max_receive_message_length fails its call with RESOURCE_EXHAUSTED, and no other."""
    unlimited = [("grpc.max_receive_message_length", -1)]
    server = {"options": unlimited}
    async with connected(stack, Service(), server=server, options=[("grpc.max_receive_message_length", 10)]) as channel:
        error = await failure_of(outcome_of(KINDS[kind](channel, b"a" * 11)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Received message larger than max (11 vs. 10)" in (error.details() or "")
        assert await outcome_of(KINDS[kind](channel, b"a" * 10)) == [b"a" * 10]


@every_stack
@every_kind
@in_loops
async def test_default_message_size(stack: Stack, kind: str) -> None:
    """Without options 4 MiB may be received on each side, and any size sent."""
    async with connected(stack, Service()) as channel:
        assert await code_of(outcome_of(KINDS[kind](channel, LARGE))) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await outcome_of(KINDS[kind](channel, bytes(4 * 2**20))) == [bytes(4 * 2**20)]


@every_stack
@every_kind
@in_loops
async def test_without_bounds(stack: Stack, kind: str) -> None:
    """-1 takes the bounds away."""
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with connected(stack, Service(), server={"options": unlimited}, options=unlimited) as channel:
        assert await outcome_of(KINDS[kind](channel, LARGE)) == [LARGE]


@every_stack
@every_kind
@in_loops
async def test_sent_message_size(stack: Stack, kind: str) -> None:
    """A request above grpc.max_send_message_length fails its call with RESOURCE_EXHAUSTED, and is not sent.

    grpc.aio ends calls with streams both ways with INTERNAL, "Internal error from Core".
    """
    options = [("grpc.max_send_message_length", 10)]
    async with connected(stack, service := Service(), options=options) as channel:
        error = await failure_of(outcome_of(KINDS[kind](channel, b"a" * 11)))
        if stack is Stack.HASTEN or kind != "both":
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "Sent message larger than max (11 vs. 10)" in (error.details() or "")
        assert await outcome_of(KINDS[kind](channel, b"a" * 10)) == [b"a" * 10]
        assert all(request == b"a" * 10 for seen in service.calls for request in seen.requests)


@in_loops
async def test_a_written_request_that_is_too_large() -> None:
    """The writer of a request that is too large hears it, and who reads too."""
    options = [("grpc.max_send_message_length", 10)]
    async with connected(Stack.HASTEN, Service(), options=options) as channel:
        call = written(channel)
        assert await code_of(call.write(b"a" * 11)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await code_of(call.read()) is grpc.StatusCode.RESOURCE_EXHAUSTED


@every_stack
@in_loops
async def test_user_agent(stack: Stack) -> None:
    """The user agent tells the stack, between what options put before and after it."""
    options = [("grpc.primary_user_agent", "before"), ("grpc.secondary_user_agent", "after")]
    async with connected(stack, service := Service(), options=options) as channel:
        await unary(channel)
    agent = str(service.only.value("user-agent"))
    assert agent.endswith("after")
    assert ("grpc-python-hasten/" if stack is Stack.HASTEN else "grpc-python-asyncio/") in agent
    if stack is Stack.HASTEN:  # grpc.aio puts its own in place of the user's
        assert agent == f"before grpc-python-hasten/{hasten.__version__} after"


@every_stack
@in_loops
async def test_authority(stack: Stack) -> None:
    """`:authority` is the target, or what the option says; the path is the method's, the scheme http without TLS."""

    async def behave(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            connection.answer(seen[-1])

    seen: list[Request] = []
    async with raw_server(behave) as address:
        for options in ((), (("grpc.default_authority", "stock.example"),)):
            async with make_channel(stack, address, options=options) as channel:
                await requests(channel)
    assert [request.headers[":authority"] for request in seen] == [address, "stock.example"]
    expected = {":path": REQUESTS, ":method": "POST", ":scheme": "http", "te": "trailers"}
    assert all(expected.items() <= request.headers.items() for request in seen)
