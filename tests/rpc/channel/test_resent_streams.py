"""A stream of requests that is sent again: what was written before, while and after, in order and once."""

import asyncio

import pytest
from grpc import StatusCode
from grpc.aio import EOF
from hyperframe.frame import DataFrame

import hasten.rpc
from tests.rpc.channel._raw_server import OK_HEADERS, RawConnection, Request, message, raw_server
from tests.rpc.channel._service import (
    BOTH,
    Context,
    Service,
    code_of,
    connected,
    in_loops,
    outcome_of,
    requests,
    scripted,
    written,
)
from tests.rpc.channel.test_retries import UNAVAILABLE, retrying
from tests.rpc.interop._stacks import Stack


@in_loops
async def test_conversation() -> None:
    """Writer and reader notice nothing of a retry: the reader gets what the second attempt answers."""
    service = Service(scripted(UNAVAILABLE, None))
    async with connected(Stack.HASTEN, service, service_config=retrying()) as channel:
        call = written(channel)
        reading = asyncio.ensure_future(call.read())
        await call.write(b"a")
        assert await reading == b"a"
        await call.write(b"b")
        assert await call.read() == b"b"
        await call.done_writing()
        assert await call.read() is EOF
    assert [seen.requests for seen in service.calls] == [[b"a"], [b"a", b"b"]]


@in_loops
async def test_written_in_the_pause() -> None:
    """What is written while the call waits for its retry is sent with it, after what was sent before."""
    service = Service(scripted(UNAVAILABLE, None, pairs=(("grpc-retry-pushback-ms", "100"),)))
    async with connected(Stack.HASTEN, service, service_config=retrying(method="Both")) as channel:
        call = written(channel)
        await call.write(b"a")
        await service.until(lambda service: len(service.calls) == 1)
        await service.idle()
        await requests(channel)  # on the same connection: the failure has come
        writing = [asyncio.ensure_future(call.write(request)) for request in (b"b", b"c")]
        assert await call.read() == b"a"
        await asyncio.gather(*writing)
        await call.done_writing()
        assert await outcome_of_reads(call) == [b"b", b"c"]
    assert [seen.requests for seen in service.calls if seen.method == "Both"] == [[b"a"], [b"a", b"b", b"c"]]


async def outcome_of_reads(call: object) -> list[bytes]:
    """Read a call to its end."""
    found: list[bytes] = []
    while (response := await call.read()) is not EOF:  # type: ignore[attr-defined]
        found.append(response)
    return found


@in_loops
async def test_ended_in_the_pause() -> None:
    """The end of the requests, said while the call waits for its retry, is sent with it too."""
    service = Service(scripted(UNAVAILABLE, None, pairs=(("grpc-retry-pushback-ms", "50"),)))
    async with connected(Stack.HASTEN, service, service_config=retrying(method="Both")) as channel:
        call = written(channel)
        await call.write(b"a")
        await service.until(lambda service: len(service.calls) == 1)
        await service.idle()
        await requests(channel)
        await call.done_writing()
        assert await outcome_of_reads(call) == [b"a"]


@pytest.mark.parametrize(("parts", "calls"), [(2, 2), (4, 1)])
@in_loops
async def test_as_long_as_its_requests_are_kept(parts: int, calls: int) -> None:
    """A call is sent again only while its requests are no more than 256 KiB together."""

    async def fail_at_the_end(request: bytes, context: Context) -> bytes:
        if len(service.calls) == 1 and len(service.calls[0].requests) == parts:
            await context.abort(UNAVAILABLE, "now")
        return b""

    service = Service(fail_at_the_end)
    async with connected(Stack.HASTEN, service, service_config=retrying()) as channel:
        call = requests(channel, *(bytes(100_000) for _ in range(parts)))
        assert await code_of(call) is (StatusCode.OK if calls == 2 else UNAVAILABLE)
    assert [len(seen.requests) for seen in service.calls] == [parts] * calls


@in_loops
async def test_refused_in_mid_stream() -> None:
    """When the server goes away without having looked at the call, writer and reader go on with the next one."""

    async def behave(connection: RawConnection) -> None:
        connections.append(connection)
        head = await connection.head()
        if len(connections) == 1:
            await connection.frame()
            connection.goaway(0)
            await connection.closed()
        connection.headers(head.stream_id, OK_HEADERS)
        while isinstance(frame := await connection.frame(), DataFrame):
            bodies.append(frame.data)
            connection.data(head.stream_id, frame.data)

    connections: list[RawConnection] = []
    bodies: list[bytes] = []
    options = [("grpc.initial_reconnect_backoff_ms", 100)]
    async with raw_server(behave) as address, hasten.rpc.Channel(address, options=options) as channel:
        call = written(channel)
        reading = asyncio.ensure_future(call.read())
        await call.write(b"a")
        assert await reading == b"a"
        await call.write(b"b")
        assert await call.read() == b"b"
        call.cancel()
    assert bodies == [message(b"a"), message(b"b")]


@in_loops
async def test_the_loop_is_free_while_a_refused_stream_waits() -> None:
    """A reader whose call waits for another connection lets everybody else work, its own deadline first of all."""

    async def behave(connection: RawConnection) -> None:
        await connection.head()
        connection.goaway(0)
        await connection.closed()

    async with raw_server(behave) as address, hasten.rpc.Channel(address) as channel:
        call = written(channel, timeout=0.3)  # before the backoff of a second
        assert await code_of(call.read()) is StatusCode.DEADLINE_EXCEEDED


@in_loops
async def test_requests_are_sent_once_more_to_nobody_else() -> None:
    """A call of an iterator that is refused takes no request twice from it."""

    async def behave(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            if len(seen) == 1:
                connection.refuse(seen[0].stream_id)
            else:
                connection.answer(seen[-1])

    seen: list[Request] = []
    async with raw_server(behave) as address, hasten.rpc.Channel(address) as channel:
        call = channel.stream_stream(BOTH)(iter([b"a", b"b"]))
        assert await outcome_of(call) == [b"a", b"b"]
    assert [request.body for request in seen] == [message(b"a") + message(b"b")] * 2
