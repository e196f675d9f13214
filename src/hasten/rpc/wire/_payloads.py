"""What stands in the payloads of received frames (RFC 9113 section 6); each function raises `ConnectionViolation`."""

from collections.abc import Iterator

from hasten.rpc._limits import LARGEST_STREAM_ID, LARGEST_WINDOW
from hasten.rpc.wire._frames import (
    PADDED,
    PRIORITISED,
    ConnectionViolation,
    ErrorCode,
    unpack_setting,
    unpack_u32,
)


def header_block(data: bytes, start: int, end: int, flags: int, stream_id: int) -> tuple[int, int]:
    """Return where a HEADERS frame's block stands between its priority and its padding."""
    padding = 0
    if flags & PADDED and start < end:
        padding = data[start]
        start += 1
    if flags & PRIORITISED:
        check_priority(stream_id, data[start : min(end, start + 5)])
        start += 5
    if start + padding > end:
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
    return start, end - padding


def unpadded(payload: bytes) -> bytes:
    """Return the data of a padded DATA frame."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def check_priority(stream_id: int, payload: bytes) -> None:
    """Check what is otherwise ignored (section 5.3.2 deprecates priorities)."""
    _check_size("PRIORITY", payload, 5)
    if not stream_id:
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
    if unpack_u32(payload)[0] & LARGEST_STREAM_ID == stream_id:
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "stream depends on itself")


def window_increment(payload: bytes) -> int:
    """Return a WINDOW_UPDATE's increment; 0 is for the caller to refuse."""
    _check_size("WINDOW_UPDATE", payload, 4)
    increment: int = unpack_u32(payload)[0]
    return increment & LARGEST_WINDOW


def reset_code(payload: bytes) -> ErrorCode:
    """Return an RST_STREAM's code; unknown ones are INTERNAL_ERROR (section 7)."""
    _check_size("RST_STREAM", payload, 4)
    return _known(unpack_u32(payload)[0])


def ping_data(stream_id: int, payload: bytes) -> bytes:
    """Return the eight bytes of a PING."""
    _check_size("PING", payload, 8)
    _check_connection("PING", stream_id)
    return payload


def settings(stream_id: int, payload: bytes, most: int) -> Iterator[tuple[int, int]]:
    """Return the settings of a SETTINGS frame, at most `most`."""
    _check_connection("SETTINGS", stream_id)
    if len(payload) % 6:
        raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken size")
    if len(payload) > 6 * most:
        raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "too many settings")
    pairs: Iterator[tuple[int, int]] = unpack_setting(payload)
    return pairs


def check_settings_ack(stream_id: int, payload: bytes) -> None:
    """Check the acknowledgement of our SETTINGS."""
    _check_connection("SETTINGS", stream_id)
    _check_size("SETTINGS acknowledgement", payload, 0)


def goaway(stream_id: int, payload: bytes) -> tuple[int, ErrorCode, str]:
    """Return a GOAWAY's last stream, its code, and its reason, of which 1,024 bytes are taken."""
    _check_connection("GOAWAY", stream_id)
    if len(payload) < 8:
        raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
    last_stream_id: int = unpack_u32(payload)[0] & LARGEST_STREAM_ID
    return last_stream_id, _known(unpack_u32(payload, 4)[0]), payload[8:1032].decode("utf-8", "replace")


def _known(code: int) -> ErrorCode:
    return ErrorCode(code) if code <= ErrorCode.HTTP_1_1_REQUIRED else ErrorCode.INTERNAL_ERROR


def _check_size(name: str, payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, f"{name} of another size than {size}")


def _check_connection(name: str, stream_id: int) -> None:
    if stream_id:
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"{name} on a stream")
