"""Frames that we build, read by hyperframe."""

from typing import Any

import pytest
from hyperframe.frame import ContinuationFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from hyperframe.frame import WindowUpdateFrame as WindowUpdate
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.wire._frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    MESSAGE_PREFIX,
    SETTINGS_ACK,
    ErrorCode,
    frame,
    goaway_frame,
    headers_frames,
    message_prefix,
    pack_message_header,
    reset_frame,
    settings_frame,
    window_frame,
)

STREAM_IDS = st.integers(1, 2**31 - 1)


def parse(data: bytes) -> list[Any]:
    """Return the frames that hyperframe finds, which must be all of the bytes."""
    frames = []
    while data:
        found, length = Frame.parse_frame_header(memoryview(data[:9]))
        found.parse_body(memoryview(data[9 : 9 + length]))
        frames.append(found)
        data = data[9 + length :]
    return frames


@given(STREAM_IDS, st.binary(max_size=70_000))
def test_data(stream_id: int, payload: bytes) -> None:
    """A DATA frame of any size has the length in its 24 bits."""
    (found,) = parse(frame(DATA, END_STREAM, stream_id, payload))
    assert (found.stream_id, found.data, set(found.flags)) == (stream_id, payload, {"END_STREAM"})


@given(STREAM_IDS, st.binary(max_size=70_000), st.booleans())
def test_a_message(stream_id: int, payload: bytes, compressed: bool) -> None:  # noqa: FBT001
    """The header of a frame with one message is that of the frame and the message's prefix."""
    size = len(payload) + MESSAGE_PREFIX
    header = pack_message_header(size >> 8, size & 0xFF, DATA, 0, stream_id, compressed, len(payload))
    (found,) = parse(header + payload)
    assert found.stream_id == stream_id
    assert found.data == message_prefix(compressed, len(payload)) + payload


def test_settings() -> None:
    """SETTINGS has each setting; an acknowledgement has none."""
    (found,) = parse(settings_frame({1: 0, 4: 2**31 - 1, 0x99: 5}))
    assert isinstance(found, SettingsFrame)
    assert found.settings == {1: 0, 4: 2**31 - 1, 0x99: 5}
    (acknowledgement,) = parse(SETTINGS_ACK)
    assert set(acknowledgement.flags) == {"ACK"}


@given(STREAM_IDS, st.sampled_from(ErrorCode))
def test_resets(stream_id: int, code: ErrorCode) -> None:
    """RST_STREAM names its stream and code."""
    (found,) = parse(reset_frame(stream_id, code))
    assert isinstance(found, RstStreamFrame)
    assert (found.stream_id, found.error_code) == (stream_id, code)


@given(st.integers(0, 2**31 - 1), st.sampled_from(ErrorCode), st.text(max_size=3000))
def test_goaway(last_stream_id: int, code: ErrorCode, reason: str) -> None:
    """GOAWAY names the last stream, the code, and at most 1,024 bytes of the reason."""
    (found,) = parse(goaway_frame(last_stream_id, code, reason))
    assert isinstance(found, GoAwayFrame)
    assert (found.last_stream_id, found.error_code) == (last_stream_id, code)
    assert found.additional_data == reason.encode()[:1024]


@given(st.integers(0, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_window_updates(stream_id: int, increment: int) -> None:
    """WINDOW_UPDATE names its stream, 0 for the connection, and the increment."""
    (found,) = parse(window_frame(stream_id, increment))
    assert isinstance(found, WindowUpdate)
    assert (found.stream_id, found.window_increment) == (stream_id, increment)


@given(STREAM_IDS, st.binary(max_size=200), st.integers(1, 60))
def test_long_header_blocks(stream_id: int, block: bytes, frame_size: int) -> None:
    """A block longer than a frame goes on in CONTINUATION frames; the last ends it, the first ends the stream."""
    first, *others = parse(headers_frames(stream_id, END_HEADERS | END_STREAM, block, frame_size))
    assert isinstance(first, HeadersFrame)
    assert "END_STREAM" in first.flags
    assert all(isinstance(each, ContinuationFrame) and each.stream_id == stream_id for each in others)
    assert b"".join([first.data, *(each.data for each in others)]) == block
    assert [("END_HEADERS" in each.flags) for each in (first, *others)] == [False] * len(others) + [True]
    assert all(len(each.data) <= frame_size for each in (first, *others))


@pytest.mark.parametrize("code", ErrorCode)
def test_error_codes(code: ErrorCode) -> None:
    """Each code is RFC 9113's, one byte of it."""
    assert 0 <= code <= 0xD
