"""Sessions that real peers have had: grpc.aio (grpc-core), grpclib (hyper-h2) and hasten, each as client and server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio
import grpclib.client
import grpclib.const
import grpclib.server
from hypothesis import strategies as st

from hasten import rpc
from hasten.rpc.wire._frames import PREFACE

SERVICE = "test.Service"
KINDS = ("Unary", "Responses", "Requests", "Both")
_LARGE = bytes(70_000)  # more than a window
_PAIRS = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("k-bin", "AAEC"))
Serve = Callable[[], "contextlib.AbstractAsyncContextManager[int]"]


async def _unary(request: bytes, _: Any) -> bytes:
    return request


async def _responses(request: bytes, _: Any) -> AsyncIterator[bytes]:
    for _number in range(3):
        yield request


async def _requests(requests: AsyncIterator[bytes], _: Any) -> bytes:
    return b"".join([each async for each in requests])


async def _both(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


HANDLERS: dict[str, Any] = {
    "Unary": grpc.unary_unary_rpc_method_handler(_unary),
    "Responses": grpc.unary_stream_rpc_method_handler(_responses),
    "Requests": grpc.stream_unary_rpc_method_handler(_requests),
    "Both": grpc.stream_stream_rpc_method_handler(_both),
}
"""One handler of each kind."""


async def call_all(channel: grpc.aio.Channel) -> None:
    """Call each kind once or twice, and a method that is not there."""
    made: Any = channel
    path = f"/{SERVICE}/"
    for payload in (b"small", _LARGE):
        await made.unary_unary(path + "Unary")(payload, timeout=5, metadata=(("k", "v"),))
    assert [each async for each in made.unary_stream(path + "Responses")(b"x", timeout=5)] == [b"x"] * 3
    assert await made.stream_unary(path + "Requests")(iter([b"a", b"b"]), timeout=5) == b"ab"
    assert [each async for each in made.stream_stream(path + "Both")(iter([b"a", _LARGE]), timeout=5)] == [b"a", _LARGE]
    with contextlib.suppress(grpc.aio.AioRpcError):
        await made.unary_unary("/no/such")(b"")


class _Bytes:
    """A codec for grpclib that leaves bytes as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


async def grpc_aio_client(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await call_all(channel)


async def hasten_client(port: int) -> None:
    async with rpc.Channel(f"127.0.0.1:{port}") as channel:
        await call_all(channel)


async def grpclib_client(port: int) -> None:
    codec: Any = _Bytes()
    async with grpclib.client.Channel("127.0.0.1", port, codec=codec) as channel:
        for kind in KINDS:
            method: Any = grpclib.const.Cardinality[
                {"Unary": "UNARY_UNARY", "Responses": "UNARY_STREAM", "Requests": "STREAM_UNARY"}.get(
                    kind, "STREAM_STREAM"
                )
            ]
            request = channel.request(f"/{SERVICE}/{kind}", method, bytes, bytes, timeout=5, metadata=dict(_PAIRS[:1]))
            async with request as stream:
                await stream.send_message(b"hello", end=True)
                assert [each async for each in stream] == [b"hello"] * (3 if kind == "Responses" else 1)


CLIENTS: dict[str, Callable[[int], Awaitable[None]]] = {
    "grpc.aio": grpc_aio_client,
    "grpclib": grpclib_client,
    "hasten": hasten_client,
}


@contextlib.asynccontextmanager
async def serving(server: grpc.aio.Server) -> AsyncIterator[int]:
    server.add_registered_method_handlers(SERVICE, HANDLERS)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


class _Tap:
    """Passes the bytes of one connection on, and keeps what came from each side."""

    def __init__(self, port: int) -> None:
        self.from_client = bytearray()
        self.from_server = bytearray()
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        yield listener.sockets[0].getsockname()[1]
        listener.close()
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        for source, target, kept in ((reader, to_server, self.from_client), (from_server, writer, self.from_server)):
            self._tasks.append(asyncio.create_task(self._pass_on(source, target, kept)))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 16):
                kept += data
                target.write(data)
        target.close()


def record(client: Callable[[int], Awaitable[None]], make_server: Callable[[], grpc.aio.Server]) -> tuple[bytes, bytes]:
    """Return what a client and a server have sent to each other."""

    async def session() -> tuple[bytes, bytes]:
        async with serving(make_server()) as port:
            tap = _Tap(port)
            async with tap.listening() as tapped:
                await client(tapped)
            return bytes(tap.from_client), bytes(tap.from_server)

    return asyncio.run(session())


def frames_of(session: bytes) -> list[bytes]:
    """Return a session's frames, the preface alone in front if there is one."""
    position = len(PREFACE) if session.startswith(PREFACE) else 0
    frames = [session[:position]] if position else []
    while position < len(session):
        end = position + 9 + int.from_bytes(session[position : position + 3], "big")
        frames.append(session[position:end])
        position = end
    return frames


@st.composite
def spoiled(draw: st.DrawFn, session: bytes) -> list[bytes]:
    """A session in the pieces in which it is read: frames dropped, repeated and moved, bits flipped."""
    frames = frames_of(session)
    places = st.integers(0, len(frames) - 1)
    changes = st.tuples(st.sampled_from(["drop", "repeat", "swap"]), places, places)
    for change, first, second in draw(st.lists(changes, max_size=6)):
        one, other = first % len(frames), second % len(frames)
        if change == "drop" and len(frames) > 1:
            del frames[one]
        elif change == "repeat":
            frames.insert(other, frames[one])
        else:
            frames[one], frames[other] = frames[other], frames[one]
    words = bytearray(b"".join(frames))
    for position, bit in draw(st.lists(st.tuples(st.integers(0, len(words) - 1), st.integers(0, 7)), max_size=6)):
        words[position] ^= 1 << bit
    words = words[: draw(st.one_of(st.just(len(words)), st.integers(0, len(words))))]
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(words)), max_size=10))), len(words)]
    return [bytes(words[start:end]) for start, end in pairwise(edges)]
