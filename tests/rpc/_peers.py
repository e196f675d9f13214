"""Peers that speak raw HTTP/2 frames on a socket: they send what no library would, and read only when told to.

    async with RawClient(port) as peer:                       # of a server under test
        await peer.send(request(1, "/echo.Echo/Say"), data(1, b"hello", END_STREAM))
        head, message, trailers = [await peer.next() for _ in range(3)]

    async with RawServer() as server:                         # for a channel under test, Channel(server.address)
        peer = await server.accept()
        await peer.until(HEADERS)
        await peer.send(response(1), data(1, b"hello"), trailers(1))

Header blocks are made and read by the `hpack` package, frames are cut by a few lines here: what the tests see does not
depend on the code under test.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import NamedTuple, Self

from hpack import Decoder, Encoder

from hasten.rpc.wire._frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings_frame,
)

_FRAME_HEADER = 9
_NAMES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE")
Fields = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    """A frame that was received."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> ErrorCode:
        """The error code of an RST_STREAM or a GOAWAY."""
        return ErrorCode(int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big"))

    @property
    def last_stream_id(self) -> int:
        """Of a GOAWAY."""
        return int.from_bytes(self.payload[:4], "big")

    @property
    def debug(self) -> str:
        """Of a GOAWAY: its reason."""
        return self.payload[8:].decode()

    @property
    def increment(self) -> int:
        """Of a WINDOW_UPDATE."""
        return int.from_bytes(self.payload, "big")

    @property
    def settings(self) -> dict[int, int]:
        """Of a SETTINGS frame."""
        return dict(Struct(">HI").iter_unpack(self.payload))

    def __repr__(self) -> str:
        name = _NAMES[self.kind] if self.kind < len(_NAMES) else f"type {self.kind}"
        return f"<{name} flags={self.flags:#x} stream={self.stream_id} {self.payload[:40]!r}>"


def cut(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the frames in `data`, and what is left of an incomplete one."""
    frames, position = [], 0
    while len(data) - position >= _FRAME_HEADER:
        length = int.from_bytes(data[position : position + 3], "big")
        end = position + _FRAME_HEADER + length
        if end > len(data):
            break
        stream_id = int.from_bytes(data[position + 5 : position + 9], "big") & 0x7FFF_FFFF
        frames.append(Frame(data[position + 3], data[position + 4], stream_id, data[position + _FRAME_HEADER : end]))
        position = end
    return frames, data[position:]


def block(fields: Fields, *, huffman: bool = False) -> bytes:
    """Return a header block that needs no dynamic table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(list(fields), huffman=huffman))


def headers(stream_id: int, fields: Fields, flags: int = END_HEADERS, *, huffman: bool = False) -> bytes:
    """Return a HEADERS frame."""
    return frame(HEADERS, flags, stream_id, block(fields, huffman=huffman))


def request_fields(path: str, metadata: Fields = ()) -> list[tuple[str, str]]:
    """Return what a gRPC client sends, in the order of a gRPC client."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *metadata,
    ]


def request(stream_id: int, path: str, metadata: Fields = (), flags: int = END_HEADERS) -> bytes:
    """Return a request's HEADERS."""
    return headers(stream_id, request_fields(path, metadata), flags)


def response(stream_id: int, metadata: Fields = ()) -> bytes:
    """Return a response's first HEADERS."""
    return headers(stream_id, [(":status", "200"), ("content-type", "application/grpc"), *metadata])


def trailers(stream_id: int, status: int = 0, metadata: Fields = ()) -> bytes:
    """Return the HEADERS that end a response after its messages."""
    return headers(stream_id, [("grpc-status", str(status)), *metadata], END_HEADERS | END_STREAM)


def failure(stream_id: int, status: int) -> bytes:
    """Return the only HEADERS of a response without messages."""
    fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", str(status))]
    return headers(stream_id, fields, END_HEADERS | END_STREAM)


def message(payload: bytes, *, compressed: int = 0) -> bytes:
    """Return a message with its prefix."""
    return bytes((compressed,)) + len(payload).to_bytes(4, "big") + payload


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    """Return a DATA frame with one whole message."""
    return frame(DATA, flags, stream_id, message(payload))


def reset(stream_id: int, code: ErrorCode = ErrorCode.CANCEL) -> bytes:
    """Return an RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame, with any increment."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


class RawPeer:
    """One end of a connection. Nothing is read before somebody asks for a frame.

    Attributes:
      settings: What the other side's first SETTINGS say, after the handshake.
    """

    def __init__(self, own: socket.socket) -> None:
        self.settings: dict[int, int] = {}
        self._socket = own
        # What is sent in pieces goes at once: otherwise each piece waits for a delayed acknowledgement, 40 ms.
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._frames: deque[Frame] = deque()
        self._decoder = Decoder()

    async def send(self, *frames: bytes) -> None:
        """Send bytes, all in one write where the socket takes them."""
        await asyncio.get_running_loop().sock_sendall(self._socket, b"".join(frames))

    async def next(self) -> Frame:
        """Return the next frame.

        Raises:
          EOFError: the other side has closed, or cut the connection.
        """
        while not self._frames:
            if not await self._receive():
                raise EOFError
            frames, self._received = cut(self._received)
            self._frames += frames
        return self._frames.popleft()

    async def _receive(self) -> bool:
        try:
            received = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
        except ConnectionError:
            return False
        self._received += received
        return bool(received)

    async def until(self, kind: int, stream_id: int | None = None) -> Frame:
        """Return the next frame of a kind, and of a stream if given; what comes before is passed over.

        Raises:
          EOFError: the other side has closed before.
        """
        while True:
            frame = await self.next()
            if frame.kind == kind and stream_id in {None, frame.stream_id}:
                return frame

    async def rest(self) -> list[Frame]:
        """Return all frames up to the end of the connection, which the other side must close."""
        frames = []
        with contextlib.suppress(EOFError):
            while True:
                frames.append(await self.next())
        return frames

    async def goaway(self) -> Frame:
        """Return the last GOAWAY before the end of the connection, which the other side must close."""
        return [frame for frame in await self.rest() if frame.kind == GOAWAY][-1]

    async def status(self, stream_id: int) -> str:
        """Read up to the end of a stream; return its grpc-status, or the name of the code it was reset with."""
        while True:
            frame = await self.next()
            if frame.kind == HEADERS:
                fields = self.fields(frame)
            if frame.stream_id == stream_id and frame.kind == RST_STREAM:
                return frame.code.name
            if frame.stream_id == stream_id and frame.kind == HEADERS and frame.flags & END_STREAM:
                return fields["grpc-status"]

    def fields(self, frame: Frame) -> dict[str, str]:
        """Return the fields of a HEADERS frame; each must be read once and in order, as HPACK asks."""
        fields: Iterable[tuple[str | bytes, str | bytes]] = self._decoder.decode(frame.payload)
        return {str(name): str(value) for name, value in fields}

    async def take_preface(self) -> None:
        """Read a client's preface."""
        while len(self._received) < len(PREFACE):
            if not await self._receive():
                raise EOFError
        assert self._received.startswith(PREFACE)
        self._received = self._received[len(PREFACE) :]

    async def exchange_settings(self, settings: Mapping[int, int]) -> None:
        """Send our SETTINGS, take the other side's, acknowledge them."""
        await self.send(settings_frame(dict(settings)))
        theirs = await self.until(SETTINGS)
        self.settings = theirs.settings
        await self.send(SETTINGS_ACK)

    async def acknowledged(self) -> None:
        """Wait until the other side has acknowledged our SETTINGS."""
        while not (await self.until(SETTINGS)).flags & ACK:
            pass

    def close(self) -> None:
        self._socket.close()


class RawClient(RawPeer):
    """A client: `async with RawClient(port) as peer`.

    Args:
      port: On 127.0.0.1.
      settings: What it announces.
      handshake: Whether to send the preface and exchange SETTINGS before the block.
      receive_buffer: Bytes that the system keeps for it; None is the system's choice.
    """

    def __init__(
        self,
        port: int,
        settings: Mapping[int, int] | None = None,
        *,
        handshake: bool = True,
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(socket.socket())
        self._port = port
        self._announced = settings or {}
        self._shakes_hands = handshake
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    async def __aenter__(self) -> Self:
        self._socket.settimeout(0.0)
        await asyncio.get_running_loop().sock_connect(self._socket, ("127.0.0.1", self._port))
        if self._shakes_hands:
            await self.send(PREFACE)
            await self.exchange_settings(self._announced)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class RawServer:
    """A listener: `async with RawServer() as server`; a channel connects to `server.address`.

    Attributes:
      address: Where it listens, `127.0.0.1:` and a port.
    """

    def __init__(self, *, receive_buffer: int | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.0)
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._peers: list[RawPeer] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()
        self._listener.close()

    async def accept(self, settings: Mapping[int, int] | None = None, *, handshake: bool = True) -> RawPeer:
        """Return the next connection, its preface read and SETTINGS exchanged unless `handshake` is false."""
        peer = RawPeer(await self._accept())
        self._peers.append(peer)
        if handshake:
            await peer.take_preface()
            await peer.exchange_settings(settings or {})
        return peer

    async def _accept(self) -> socket.socket:
        """Accept a connection. uvloop's `sock_accept` loses the one that comes when it is cancelled; this does not."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._listener, readable.set)
        try:
            while True:
                with contextlib.suppress(BlockingIOError):
                    own, _ = self._listener.accept()
                    own.settimeout(0.0)
                    return own
                readable.clear()
                await readable.wait()
        finally:
            loop.remove_reader(self._listener)
