"""A relay between client and server that notes which gRPC messages pass compressed.

No API of grpc.aio shows a message's compressed flag, on either side; on the wire it is the first of the five bytes
before each message.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

from tests.load.servers import serving

PREFACE_BYTES = 24  # RFC 9113 section 3.4
FRAME_HEADER_BYTES = 9  # RFC 9113 section 4.1
DATA = 0
PADDED = 0x8


class MessageFlags:
    """The compressed flags of the messages that pass in one direction of one HTTP/2 connection.

    Attributes:
      streams: The flags of each stream's messages, in the order in which they came.
    """

    def __init__(self, *, from_client: bool) -> None:
        self.streams: dict[int, list[bool]] = {}
        self._bytes = bytearray()
        self._skip = PREFACE_BYTES if from_client else 0
        self._data: dict[int, bytearray] = {}

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._bytes += data[skipped:]
        while len(self._bytes) >= FRAME_HEADER_BYTES:
            length = int.from_bytes(self._bytes[:3], "big")
            kind, flags, stream = struct.unpack_from(">BBI", self._bytes, 3)
            end = FRAME_HEADER_BYTES + length
            if len(self._bytes) < end:
                return
            payload = bytes(self._bytes[FRAME_HEADER_BYTES:end])
            del self._bytes[:end]
            if kind == DATA:
                self._feed_stream(stream, payload[1 : length - payload[0]] if flags & PADDED else payload)

    def _feed_stream(self, stream: int, data: bytes) -> None:
        """Take the next bytes of a stream; a message counts once all of it is there."""
        waiting = self._data.setdefault(stream, bytearray())
        waiting += data
        while len(waiting) >= 5 and len(waiting) >= (end := 5 + int.from_bytes(waiting[1:5], "big")):
            self.streams.setdefault(stream, []).append(bool(waiting[0]))
            del waiting[:end]


class Relay:
    """What has passed between one client and its server.

    Attributes:
      requests, responses: The compressed flags of each call's messages, in the order of the calls that have any.
    """

    def __init__(self) -> None:
        self._from_client = MessageFlags(from_client=True)
        self._from_server = MessageFlags(from_client=False)

    @property
    def requests(self) -> list[list[bool]]:
        return list(self._from_client.streams.values())

    @property
    def responses(self) -> list[list[bool]]:
        return list(self._from_server.streams.values())

    def came_compressed(self, index: int) -> bool:
        """Tell whether the message of this index in the newest call is compressed; it must have passed."""
        return self.requests[-1][index]

    @contextlib.asynccontextmanager
    async def to(self, address: str) -> AsyncIterator[str]:
        """Relay to the server at `address`; yield the relay's own address, for one client connection."""

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            host, _, port = address.rpartition(":")
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
            try:
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(_pass_on(reader, server_writer, self._from_client.feed))
                    directions.create_task(_pass_on(server_reader, writer, self._from_server.feed))
            finally:
                server_writer.close()

        async with serving(connection) as url:
            yield url.removeprefix("http://")


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None]) -> None:
    """Pass bytes on until the sender closes, each noted before the receiver has it."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            note(data)
            writer.write(data)
            await writer.drain()
    writer.close()
