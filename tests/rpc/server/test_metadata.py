"""Metadata as handlers see and send it, the same on grpc.aio and on hasten."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected, patience
from tests.rpc.server.serving import Context, Ending, MakeServer, both_stacks, ending_of

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ALREADY_SENT = "UsageError: Send initial metadata failed: already sent"
UNSENDABLE = (("Upper", "case"),)
OF_USERS = (
    *(("k", "1,2"), ("k", "3"), ("b-bin", b"\x00\xff"), ("b-bin", b"x"), ("empty", ""), ("empty-bin", b"")),
    *(("accept", "*"), ("accept-encoding", "br"), ("host", "stock"), ("authorization", "token"), ("cookie", "c")),
    *(("grpc-foo", "1"), ("grpc-retry-pushback-ms", "5"), ("lb-token", "t"), ("traceparent", TRACE)),
    *(("via", "proxy"), ("x-forwarded-for", "10.0.0.1")),
)
OF_THE_TRANSPORT = (
    *(("content-length", "5"), ("content-type", "text"), ("grpc-encoding", "gzip"), ("grpc-timeout", "1S")),
    *(
        ("grpc-internal-encoding-request", "gzip"),
        ("grpc-previous-rpc-attempts", "2"),
        ("te", "x"),
        ("user-agent", "u"),
    ),
)
OPEN_CENSUS = (("grpc-tags-bin", b"tags"), ("grpc-trace-bin", b"trace"))


def metadata_seen(make_server: MakeServer, loop_factory: LoopFactory, sent: Any, **options: Any) -> list[Any]:
    """Return the metadata that a handler sees of a call with `sent`."""
    seen: list[Any] = []

    async def handle(request: bytes, context: Context) -> bytes:
        seen.extend(context.invocation_metadata())
        return request

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b"", metadata=sent, **options), unary=handle)
    assert ended.code is StatusCode.OK
    return seen


@both_stacks
def test_fields_that_a_handler_sees(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """All that are the user's, and of the transport's own the user agent alone, as pairs with names."""
    options: dict[str, Any] = {"timeout": 50, "compression": grpc.Compression.Gzip}
    seen = metadata_seen(make_server, loop_factory, OF_USERS + OF_THE_TRANSPORT, **options)
    pairs = [(pair.key, pair.value) for pair in seen]
    agents = [value for key, value in pairs if key == "user-agent"]
    assert len(agents) == 1
    assert agents[0].startswith("grpc-python-asyncio/")
    assert sorted(pairs) == sorted((*OF_USERS, ("user-agent", agents[0])))
    assert [value for key, value in pairs if key == "k"] == ["1,2", "3"]
    assert [value for key, value in pairs if key == "b-bin"] == [b"\x00\xff", b"x"]


@both_stacks
def test_open_census(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """OpenCensus' own keys."""
    seen = [pair for pair in metadata_seen(make_server, loop_factory, OPEN_CENSUS) if pair[0] != "user-agent"]
    assert tuple(sorted(seen)) == expected("grpc-trace-bin and grpc-tags-bin", make_server)


@both_stacks
def test_initial_metadata_too_late(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """After the first response, or an abort, it is refused."""
    raised: list[str] = []

    async def handle(_: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"1"
        for _attempt in range(2):
            try:
                await context.send_initial_metadata((("late", "yes"),))
            except Exception as error:
                raised.append(f"{type(error).__name__}: {error}")
            try:
                await context.abort(StatusCode.ABORTED, "end")
            except grpc.aio.AbortError:
                continue

    ended = ending_of(make_server, loop_factory, lambda stub: stub.responses(b""), responses=handle)
    assert ended == Ending(StatusCode.ABORTED, "end", (b"1",))
    assert raised == [ALREADY_SENT, "AbortError: Locally aborted."]


@both_stacks
def test_initial_metadata_before_an_error(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It arrives although no response follows."""

    async def handle(_: bytes, context: Context) -> None:
        await context.send_initial_metadata((("early", "yes"), ("early-bin", b"\xff")))
        context.set_trailing_metadata((("late", "yes"),))
        raise LookupError("nothing there")

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle)
    details = "Unexpected <class 'LookupError'>: nothing there"
    initial = (("early", "yes"), ("early-bin", b"\xff"))
    assert ended == Ending(StatusCode.UNKNOWN, details, initial=initial, trailing=(("late", "yes"),))


@both_stacks
@pytest.mark.parametrize(
    "trailing",
    [{"ab": "value"}, [["key", "value"]], (("key",),), (("key", None),), ((b"key", "value"),), 5],
    ids=["dict", "lists", "no value", "None", "bytes as key", "int"],
)
def test_trailing_metadata_of_another_type(trailing: Any, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It is refused where it is set, and what was set before stands."""

    async def handle(_: bytes, context: Context) -> None:
        context.set_trailing_metadata((("before", "yes"),))
        context.set_trailing_metadata(trailing)

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle)
    details = "Invalid trailing metadata type, expected Tuple[Tuple[str, Union[str, bytes]]...]: "
    assert ended.details == f"Unexpected <class 'TypeError'>: {details}{trailing}"
    assert ended.trailing == (("before", "yes"),)


@both_stacks
@pytest.mark.parametrize("kind", ["list", "Metadata"])
def test_types_of_trailing_metadata(kind: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Any collection of pairs will do."""
    pairs = (("key", "value"), ("key", "again"))
    given = list(pairs) if kind == "list" else grpc.aio.Metadata(*pairs)

    async def handle(request: bytes, context: Context) -> bytes:
        context.set_trailing_metadata(given)
        return request

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle)
    assert ended == Ending(responses=(b"",), trailing=pairs)


@both_stacks
def test_initial_metadata_that_cannot_be_sent(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The call fails at once."""

    async def handle(request: bytes, context: Context) -> bytes:
        await context.send_initial_metadata(UNSENDABLE)
        return request

    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.unary(b"", timeout=patience(make_server)), unary=handle
    )
    assert ended == expected("initial metadata that cannot be sent", make_server)


@both_stacks
def test_trailing_metadata_that_cannot_be_sent(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The call fails."""

    async def handle(request: bytes, context: Context) -> bytes:
        context.set_trailing_metadata(UNSENDABLE)
        return request

    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.unary(b"", timeout=patience(make_server)), unary=handle
    )
    assert ended == expected("trailing metadata that cannot be sent", make_server)


@both_stacks
@pytest.mark.parametrize("size_bytes", [100, 6_000])
def test_large_metadata(size_bytes: int, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What is below the limit arrives, in both directions."""
    value = "v" * size_bytes

    async def handle(request: bytes, context: Context) -> bytes:
        await context.send_initial_metadata((("initial", value),))
        context.set_trailing_metadata((("trailing", value),))
        sent: str = dict(context.invocation_metadata())["sent"]
        return sent.encode()

    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.unary(b"", metadata=(("sent", value),)), unary=handle
    )
    assert ended == Ending(responses=(value.encode(),), initial=(("initial", value),), trailing=(("trailing", value),))
