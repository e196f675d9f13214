"""HTTP/2 frames (RFC 9113 section 4 and 6): numbers, packers, and the violation.

Everything that is sent is built here; what is received is parsed in place by `transport.Connection`, because a
function call a field would cost more than the parsing.
"""

from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

DEFAULT_WINDOW = 65_535
"""Both windows before any SETTINGS or WINDOW_UPDATE (RFC 9113 section 6.9.2)."""
DEFAULT_FRAME_SIZE = 16_384
"""SETTINGS_MAX_FRAME_SIZE before any SETTINGS (RFC 9113 section 6.5.2)."""
MESSAGE_PREFIX = 5
"""Bytes before each gRPC message: one of flags, four of length (gRPC over HTTP/2, Length-Prefixed-Message)."""


class ErrorCode(IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionViolation(Exception):
    """Raised when the peer broke a rule that ends the connection (RFC 9113 section 5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


# A frame's header: 24 bits of length as two numbers, type, flags, stream.
unpack_header = Struct(">HBBBI").unpack_from
pack_header = Struct(">HBBBI").pack
# A DATA frame's header and the prefix of the one message in it.
pack_message_header = Struct(">HBBBIBI").pack
pack_u32 = Struct(">I").pack
unpack_u32 = Struct(">I").unpack_from
pack_setting = Struct(">HI").pack
unpack_setting = Struct(">HI").iter_unpack


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame; `payload` must fit the peer's SETTINGS_MAX_FRAME_SIZE."""
    length = len(payload)
    return pack_header(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def settings_frame(settings: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(pack_setting(key, value) for key, value in settings.items()))


def reset_frame(stream_id: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream_id, pack_u32(code))


def window_frame(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, pack_u32(increment))


def goaway_frame(last_stream_id: int, code: ErrorCode, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, pack_u32(last_stream_id) + pack_u32(code) + reason.encode()[:1024])


def message_prefix(compressed: bool, length: int) -> bytes:  # noqa: FBT001 - the flag is the wire's first byte
    return bytes((compressed,)) + pack_u32(length)


def headers_frames(stream_id: int, flags: int, block: bytes, frame_size: int) -> bytes:
    """Return a HEADERS frame, with CONTINUATION frames where the block is longer than the peer takes at once."""
    if len(block) <= frame_size:
        return frame(HEADERS, flags, stream_id, block)
    parts = [block[at : at + frame_size] for at in range(0, len(block), frame_size)]
    first = frame(HEADERS, flags & ~END_HEADERS, stream_id, parts[0])
    middle = [frame(CONTINUATION, 0, stream_id, part) for part in parts[1:-1]]
    return b"".join((first, *middle, frame(CONTINUATION, END_HEADERS, stream_id, parts[-1])))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)
