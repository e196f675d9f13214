"""What stands in the payloads of received frames."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.wire._frames import PADDED, PRIORITISED, ConnectionViolation, ErrorCode
from hasten.rpc.wire._payloads import (
    check_priority,
    check_settings_ack,
    goaway,
    header_block,
    ping_data,
    reset_code,
    settings,
    unpadded,
    window_increment,
)

PROTOCOL, SIZE = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR
BROKEN: list[tuple[str, Callable[[], object], ErrorCode]] = [
    ("settings of a stream", lambda: settings(1, b"", 32), PROTOCOL),
    ("settings of seven bytes", lambda: settings(0, bytes(7), 32), SIZE),
    ("many settings", lambda: settings(0, bytes(6 * 33), 32), ErrorCode.ENHANCE_YOUR_CALM),
    ("acknowledgement of a stream", lambda: check_settings_ack(1, b""), PROTOCOL),
    ("acknowledgement with settings", lambda: check_settings_ack(0, bytes(6)), SIZE),
    ("ping of a stream", lambda: ping_data(1, bytes(8)), PROTOCOL),
    ("ping of nine bytes", lambda: ping_data(0, bytes(9)), SIZE),
    ("goaway of a stream", lambda: goaway(1, bytes(8)), PROTOCOL),
    ("goaway of seven bytes", lambda: goaway(0, bytes(7)), SIZE),
    ("window update of three bytes", lambda: window_increment(bytes(3)), SIZE),
    ("reset of five bytes", lambda: reset_code(bytes(5)), SIZE),
    ("priority of four bytes", lambda: check_priority(1, bytes(4)), SIZE),
    ("priority of stream 0", lambda: check_priority(0, bytes(5)), PROTOCOL),
    ("priority of itself", lambda: check_priority(7, b"\x80\x00\x00\x07\x00"), PROTOCOL),
    ("padding as long as the frame", lambda: unpadded(b"\x02ab"[:2]), PROTOCOL),
    ("padding of nothing", lambda: unpadded(b""), PROTOCOL),
]


@pytest.mark.parametrize(("name", "read", "code"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_broken_payloads(name: str, read: Callable[[], object], code: ErrorCode) -> None:
    """A payload of another size, of a wrong stream or with too much in it is a violation with the code for it."""
    with pytest.raises(ConnectionViolation) as raised:
        read()
    assert raised.value.code is code
    assert raised.value.reason


@given(st.binary(max_size=60), st.integers(0, 255))
def test_padded_data(payload: bytes, padding: int) -> None:
    """Padding is taken off data, up to all of it."""
    assert unpadded(bytes((padding,)) + payload + bytes(padding)) == payload


@given(st.binary(max_size=60), st.integers(0, 255), st.booleans(), st.booleans(), st.binary(max_size=9))
def test_header_blocks(block: bytes, padding: int, padded: bool, prioritised: bool, before: bytes) -> None:  # noqa: FBT001
    """A block is found between its priority and its padding, wherever the frame stands in what was read."""
    payload = (
        (bytes((padding,)) if padded else b"")
        + (b"\x80\x00\x00\x01\x10" if prioritised else b"")
        + block
        + (bytes(padding) if padded else b"")
    )
    data = before + payload + b"behind"
    flags = (PADDED if padded else 0) | (PRIORITISED if prioritised else 0)
    start, end = header_block(data, len(before), len(before) + len(payload), flags, 3)
    assert data[start:end] == block


@given(st.binary(max_size=20), st.sampled_from([PADDED, PRIORITISED, PADDED | PRIORITISED]))
def test_any_header_payload(payload: bytes, flags: int) -> None:
    """Any bytes give a block within the frame, or a violation; a frame's neighbours are never read."""
    data = b"before" + payload + b"\xff" * 20
    try:
        start, end = header_block(data, 6, 6 + len(payload), flags, 3)
    except ConnectionViolation:
        return
    assert 6 <= start <= end <= 6 + len(payload)


@given(st.integers(0, 2**32 - 1))
def test_window_increments(value: int) -> None:
    """The reserved bit of an increment is ignored."""
    assert window_increment(value.to_bytes(4, "big")) == value & 0x7FFF_FFFF


@given(st.integers(0, 2**32 - 1))
def test_reset_codes(value: int) -> None:
    """A code that the protocol does not know is INTERNAL_ERROR."""
    assert reset_code(value.to_bytes(4, "big")) == (value if value <= 13 else ErrorCode.INTERNAL_ERROR)


def test_settings() -> None:
    """Settings come in order, also when one comes twice; what is unknown comes too."""
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in [(4, 1), (99, 2), (4, 3)])
    assert list(settings(0, payload, 3)) == [(4, 1), (99, 2), (4, 3)]


@given(st.integers(0, 2**31 - 1), st.integers(0, 20), st.binary(max_size=2000))
def test_goaway(last_stream_id: int, code: int, reason: bytes) -> None:
    """Of a GOAWAY's reason 1,024 bytes are taken, whatever they are."""
    payload = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + reason
    last, known, text = goaway(0, payload)
    assert (last, known) == (last_stream_id, code if code <= 13 else ErrorCode.INTERNAL_ERROR)
    assert text == reason[:1024].decode("utf-8", "replace")
