"""Streams that are opened only to be reset (CVE-2023-44487), or to make us reset them (CVE-2025-8671)."""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    RST_STREAM,
    ErrorCode,
    frame,
)
from tests.rpc._peers import (
    RawClient,
    RawServer,
    data,
    request,
    request_fields,
    reset,
    response,
    trailers,
    window_update,
)
from tests.rpc._peers import headers as headers_frame
from tests.rpc.limits._serving import CHAT, HOLD, SAY, Serving, code_of, say, until
from tests.rpc.limits.conftest import Run


def held(stream_id: int) -> bytes:
    """Return a request whose handler runs until it is released."""
    return request(stream_id, HOLD) + data(stream_id, b"", END_STREAM)


@pytest.mark.bounds("concurrent_handlers")
def test_more_streams_than_handlers_are_refused(run: Run) -> None:
    """The bound is told to the peer, and a stream beyond it is refused, so that a client may send the call again."""

    async def scenario() -> None:
        async with Serving(concurrent_handlers=2) as serving, RawClient(serving.port) as peer:
            assert peer.settings[MAX_CONCURRENT_STREAMS] == 2
            await peer.send(held(1), held(3), held(5))
            assert (await peer.until(RST_STREAM, 5)).code is ErrorCode.REFUSED_STREAM
            assert serving.begun == 2
            serving.release()
            assert await peer.status(1) == "0"
            assert await peer.status(3) == "0"
            await peer.send(held(7))
            assert await peer.status(7) == "0"

    run(scenario())


@pytest.mark.bounds("concurrent_handlers")
def test_handlers_count_though_their_streams_were_reset(run: Run) -> None:
    """A handler counts until it has ended: resetting its stream gives no room for another."""

    async def scenario() -> None:
        async with Serving(concurrent_handlers=2) as serving, RawClient(serving.port) as peer:
            await peer.send(held(1), held(3))
            await until(lambda: serving.running == 2)
            await peer.send(reset(1), reset(3), *(held(id_) + reset(id_) for id_ in range(5, 105, 2)), held(105))
            assert (await peer.until(RST_STREAM, 105)).code is ErrorCode.REFUSED_STREAM
            assert serving.begun == 2
            serving.release()
            await until(lambda: serving.running == 0)
            await peer.send(held(107))
            assert await peer.status(107) == "0"

    run(scenario())


def test_calls_reset_before_they_began_count_no_more(run: Run) -> None:
    """Calls that are reset in the packet that opens them leave all of `maximum_concurrent_rpcs` to others."""

    async def scenario() -> None:
        async with (
            Serving({"maximum_concurrent_rpcs": 2}) as serving,
            RawClient(serving.port) as peer,
            hasten.rpc.Channel(serving.address) as channel,
        ):
            say_it = [request(id_, SAY) + data(id_, b"", END_STREAM) + reset(id_) for id_ in range(1, 21, 2)]
            chat = [request(id_, CHAT) + reset(id_) for id_ in range(21, 41, 2)]
            await peer.send(*say_it, *chat, request(41, SAY), data(41, b"last", END_STREAM))
            assert await peer.status(41) == "0"
            assert await say(channel) == b"hello"

    run(scenario())


@pytest.mark.bounds("reset_burst")
def test_rapid_reset(run: Run) -> None:
    """Streams that are opened and reset end the connection with ENHANCE_YOUR_CALM after the burst."""

    async def scenario() -> None:
        async with Serving(reset_burst=10, reset_rate=0.0) as serving, RawClient(serving.port) as peer:
            pairs = [request(id_, SAY) + reset(id_) for id_ in range(1, 23, 2)]
            await peer.send(*pairs[:10], request(21, SAY), data(21, b"", END_STREAM))
            assert await peer.status(21) == "0"
            await peer.send(request(23, SAY), reset(23), request(25, SAY), reset(25))
            goaway = await peer.goaway()
            assert (goaway.code, goaway.debug) == (ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    run(scenario())


@pytest.mark.bounds("reset_burst")
def test_resets_beside_calls_that_end_well(run: Run) -> None:
    """Who resets every other call, as hedging may, is never cut off."""

    async def scenario() -> None:
        async with Serving(reset_burst=1, reset_rate=0.0) as serving, RawClient(serving.port) as peer:
            for id_ in range(1, 401, 4):
                await peer.send(request(id_, SAY), data(id_, b"", END_STREAM))
                assert await peer.status(id_) == "0"
                await peer.send(request(id_ + 2, SAY), reset(id_ + 2))

    run(scenario())


@pytest.mark.bounds("reset_burst")
def test_open_streams_give_no_tokens_twice(run: Run) -> None:
    """Streams that are opened together and reset later earn one resetting of so many, not one each time."""

    async def scenario() -> None:
        async with Serving(reset_burst=20, reset_rate=0.0) as serving, RawClient(serving.port) as peer:
            for start in range(1, 100, 20):
                ids = range(start, start + 20, 2)
                await peer.send(*(request(id_, CHAT) for id_ in ids), *(reset(id_) for id_ in ids))
            assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM

    run(scenario())


@pytest.mark.bounds("reset_rate")
def test_resets_are_forgiven_at_a_rate(run: Run) -> None:
    """As many resets a second as the rate says go on for ever."""

    async def scenario() -> None:
        async with Serving(reset_burst=1, reset_rate=1e9) as serving, RawClient(serving.port) as peer:
            pairs = [request(id_, SAY) + reset(id_) for id_ in range(1, 1001, 2)]
            await peer.send(*pairs, request(1001, SAY), data(1001, b"", END_STREAM))
            assert await peer.status(1001) == "0"

    run(scenario())


PROVOCATIONS: dict[str, Callable[[int], bytes]] = {
    "window update of 0": lambda id_: request(id_, CHAT) + window_update(id_, 0),
    "window overflow": lambda id_: request(id_, CHAT) + window_update(id_, 2**31 - 1),
    "data behind the end": lambda id_: request(id_, HOLD) + data(id_, b"", END_STREAM) + data(id_, b""),
    "trailers that do not end": lambda id_: request(id_, CHAT) + headers_frame(id_, [("a", "b")]),
    "malformed head": lambda id_: headers_frame(id_, [*request_fields(SAY), ("Upper", "case")]),
    "connection-specific field": lambda id_: headers_frame(id_, [*request_fields(SAY), ("connection", "close")]),
    "content-length": lambda id_: (
        headers_frame(id_, [*request_fields(SAY), ("content-length", "1")]) + data(id_, b"", END_STREAM)
    ),
    "stream window": lambda id_: request(id_, CHAT) + frame(DATA, 0, id_, bytes(101)),
}
"""Frames after which we reset the stream."""


@pytest.mark.bounds("reset_burst")
@pytest.mark.parametrize("name", PROVOCATIONS)
def test_made_you_reset(name: str, run: Run) -> None:
    """Streams that the peer makes us reset are paid from the same bucket."""
    provoke = PROVOCATIONS[name]

    async def scenario() -> None:
        limits: dict[str, Any] = {"reset_burst": 3, "reset_rate": 0.0, "stream_window_bytes": 100}
        async with Serving(**limits) as serving, RawClient(serving.port) as peer:
            await peer.send(*(provoke(id_) for id_ in (1, 3, 5)))
            assert [(await peer.until(RST_STREAM)).stream_id for _ in range(3)] == [1, 3, 5]
            await peer.send(provoke(7))
            assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM

    run(scenario())


@pytest.mark.bounds("reset_burst", "concurrent_handlers")
def test_refused_streams_are_paid_from_the_same_bucket(run: Run) -> None:
    """A client that goes on opening streams which are refused is cut off."""

    async def scenario() -> None:
        limits: dict[str, Any] = {"reset_burst": 3, "reset_rate": 0.0, "concurrent_handlers": 1}
        async with Serving(**limits) as serving, RawClient(serving.port) as peer:
            await peer.send(*(held(id_) for id_ in range(1, 11, 2)))
            frames = await peer.rest()
            assert {each.stream_id for each in frames if each.kind == RST_STREAM} == {3, 5, 7}
            assert [each.code for each in frames if each.kind == GOAWAY] == [ErrorCode.ENHANCE_YOUR_CALM]

    run(scenario())


@pytest.mark.bounds("reset_burst")
def test_a_server_may_reset_what_a_channel_opened(run: Run) -> None:
    """A channel takes any number of resets, since each is a call of its own that the server does not want."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(reset_burst=1, reset_rate=0.0)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            calls = [asyncio.ensure_future(code_of(say(channel))) for _ in range(10)]
            peer = await server.accept()
            for id_ in range(1, 21, 2):
                await peer.until(DATA, id_)
                await peer.send(reset(id_))
            assert {code for code, _ in await asyncio.gather(*calls)} == {grpc.StatusCode.CANCELLED}
            last = asyncio.ensure_future(say(channel))
            await peer.until(HEADERS, 21)
            await peer.send(response(21), data(21, b"still there"), trailers(21))
            assert await last == b"still there"

    run(scenario())


def test_streams_of_no_known_method_leave_nothing_behind(run: Run) -> None:
    """Requests that are refused and reset in one packet, while the peer takes no data, leave nothing to be sent."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port, {4: 0}) as peer:
            get = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
            ids = range(1, 41, 2)
            await peer.send(
                *chain.from_iterable((headers_frame(id_, get, END_HEADERS | END_STREAM), reset(id_)) for id_ in ids),
                request(41, SAY, flags=END_HEADERS | END_STREAM),
            )
            assert await peer.status(41) == "12"
            assert serving.connection.output.kept_bytes == 0
            assert not serving.connection.streams

    run(scenario())
