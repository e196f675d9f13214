"""A bare HTTP/2 connection for counting a server's memory: it opens calls and leaves them open.

Blocking, and the same for every server, so that what is counted is the server's. Frames and headers are hyperframe's
and hpack's.
"""

import socket
from typing import Self

from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_MESSAGE = bytes(5)  # not compressed, length 0
_TIMEOUT = 20.0
_HEAD_BYTES = 9


class Probe:
    """One connection, its handshake done; use it in a `with` block."""

    def __init__(self, address: str) -> None:
        """Connect to `host:port`.

        Raises:
          OSError: the server closed the connection, or did not answer for 20 s.
        """
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), _TIMEOUT)
        self._encoder = Encoder()
        self._encoder.header_table_size = 0  # whatever the server's table is, none is used
        self._authority = address
        self._last_stream = -1
        ping = PingFrame(opaque_data=b"settled?").serialize()
        self._socket.sendall(_PREFACE + SettingsFrame().serialize() + ping)
        while not self._is_answer(self._read()):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, path: str, count: int) -> None:
        """Open `count` calls and return when the response headers of all have come."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        for _ in range(count):
            self._last_stream += 2
            opened = HeadersFrame(self._last_stream, self._encoder.encode(headers), flags=["END_HEADERS"])
            asked = DataFrame(self._last_stream, _EMPTY_MESSAGE, flags=["END_STREAM"])
            self._socket.sendall(opened.serialize() + asked.serialize())
        answered = 0
        while answered < count:
            frame = self._read()
            if isinstance(frame, HeadersFrame):
                if "END_STREAM" in frame.flags:
                    raise ConnectionError(f"{path} ended at once")
                answered += 1

    @staticmethod
    def _is_answer(frame: Frame) -> bool:
        """Tell whether it is the answer to our PING: the server has then read the settings that came before."""
        return isinstance(frame, PingFrame) and "ACK" in frame.flags

    def _read(self) -> Frame:
        """Return the next frame; those that want an answer have got it."""
        frame, length = Frame.parse_frame_header(memoryview(self._receive(_HEAD_BYTES)))
        frame.parse_body(memoryview(self._receive(length)))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._socket.sendall(SettingsFrame(flags=["ACK"]).serialize())
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._socket.sendall(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        return frame

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            data += part
        return data
