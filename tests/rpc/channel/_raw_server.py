"""A server that says what a test wants, frame by frame: HTTP/2 by hyperframe and hpack, not by our own code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE_BYTES = 24
OK_HEADERS = {":status": "200", "content-type": "application/grpc"}
OK_TRAILERS = {"grpc-status": "0"}


@dataclass(slots=True)
class Request:
    """A request: its stream, its header fields, and its messages as they came, framed."""

    stream_id: int
    headers: dict[str, str]
    body: bytes = b""


def message(payload: bytes) -> bytes:
    """Return one gRPC message, not compressed."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


class RawConnection:
    """One client's connection.

    Attributes:
      resets: Streams that the client has reset, and with what code.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.resets: dict[int, int] = {}
        self._begun: dict[int, Request] = {}
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._encoder.header_table_size = 0

    async def open(self, settings: Mapping[int, int]) -> None:
        """Take the client's preface and send our settings."""
        await self._reader.readexactly(PREFACE_BYTES)
        self.send(SettingsFrame(0, dict(settings)))

    def send(self, *frames: Frame) -> None:
        """Send frames, or nothing when the client has gone."""
        if not self._writer.is_closing():
            self._writer.write(b"".join(frame.serialize() for frame in frames))

    async def frame(self) -> Frame:
        """Return the next frame of a stream, or GOAWAY; settings are acknowledged, windows and PINGs passed over.

        Raises:
          IncompleteReadError: the client has closed the connection.
        """
        while True:
            frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
            frame.parse_body(memoryview(await self._reader.readexactly(length)))
            if isinstance(frame, SettingsFrame):
                if "ACK" not in frame.flags:
                    self.send(SettingsFrame(0, flags=["ACK"]))
            elif isinstance(frame, RstStreamFrame):
                self.resets[frame.stream_id] = frame.error_code
                return frame
            elif not isinstance(frame, WindowUpdateFrame | PingFrame):
                return frame

    async def request(self) -> Request:
        """Return the next request that is complete."""
        while True:
            frame = await self.frame()
            if isinstance(frame, HeadersFrame):
                self._begin(frame)
            elif isinstance(frame, DataFrame) and frame.stream_id in self._begun:
                self._begun[frame.stream_id].body += frame.data
                if "END_STREAM" in frame.flags:
                    return self._begun.pop(frame.stream_id)

    async def head(self) -> Request:
        """Return the next request as soon as its headers are there."""
        while True:
            frame = await self.frame()
            if isinstance(frame, HeadersFrame):
                return self._begin(frame)

    def _begin(self, frame: HeadersFrame) -> Request:
        fields = self._decoder.decode(frame.data)
        request = Request(frame.stream_id, {str(name): str(value) for name, value in fields})
        self._begun[frame.stream_id] = request
        return request

    async def closed(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.frame()

    async def reset(self, stream_id: int) -> int:
        """Wait until the client resets a stream; return its code."""
        while stream_id not in self.resets:
            await self.frame()
        return self.resets[stream_id]

    def headers(self, stream_id: int, fields: Mapping[str, str], *, ends: bool = False) -> None:
        """Send a header block."""
        frame = HeadersFrame(stream_id, self._encoder.encode(list(fields.items()), huffman=False))
        frame.flags.add("END_HEADERS")
        if ends:
            frame.flags.add("END_STREAM")
        self.send(frame)

    def data(self, stream_id: int, data: bytes, *, ends: bool = False) -> None:
        """Send DATA."""
        self.send(DataFrame(stream_id, data, flags=["END_STREAM"] if ends else []))

    def answer(self, request: Request) -> None:
        """Echo a request's messages with status OK."""
        self.headers(request.stream_id, OK_HEADERS)
        self.data(request.stream_id, request.body)
        self.headers(request.stream_id, OK_TRAILERS, ends=True)

    def fail(self, stream_id: int, code: int, **fields: str) -> None:
        """Send an error without a response before it; underscores of names are hyphens."""
        extra = {name.replace("_", "-"): value for name, value in fields.items()}
        self.headers(stream_id, {**OK_HEADERS, "grpc-status": str(code), **extra}, ends=True)

    def refuse(self, stream_id: int, code: int = 7) -> None:
        """Send RST_STREAM; REFUSED_STREAM without a code."""
        self.send(RstStreamFrame(stream_id, code))

    def goaway(self, last_stream_id: int, code: int = 0) -> None:
        """Send GOAWAY."""
        self.send(GoAwayFrame(0, last_stream_id, code))

    def allow(self, streams: int) -> None:
        """Send another SETTINGS_MAX_CONCURRENT_STREAMS."""
        self.send(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: streams}))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()


Behaviour = Callable[[RawConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(behave: Behaviour, *, settings: Mapping[int, int] | None = None) -> AsyncIterator[str]:
    """Serve each connection with `behave`, then close it; yield the address.

    An error of `behave` is raised at the end of the block, unless the client had closed the connection.
    """
    errors: list[Exception] = []
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connection = RawConnection(reader, writer)
        try:
            await connection.open(settings or {})
            await behave(connection)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # it is the test's: it must not be lost in a task
            errors.append(error)
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if errors:
        raise errors[0]
