"""The relay's reader of compressed flags."""

from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from tests.rpc.interop._relay import PREFACE_BYTES, MessageFlags

MESSAGES = st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), min_size=1, max_size=5)


def frames_of(stream: int, messages: list[tuple[bool, bytes]], size: int, padding: int) -> list[Frame]:
    """Return a stream's messages in DATA frames of at most `size` bytes, between frames of other kinds."""
    data = b"".join(bytes([flag]) + len(body).to_bytes(4, "big") + body for flag, body in messages)
    frames: list[Frame] = [HeadersFrame(stream, b"block"), PingFrame(0)]
    for start in range(0, len(data), size):
        frame = DataFrame(stream, data[start : start + size], pad_length=padding)
        if padding:
            frame.flags.add("PADDED")
        frames.append(frame)
    return frames


@given(MESSAGES, MESSAGES, st.integers(1, 60), st.integers(0, 9), st.integers(1, 50))
def test_flags(
    first: list[tuple[bool, bytes]], second: list[tuple[bool, bytes]], size: int, padding: int, step: int
) -> None:
    """Each message's flag is found, however frames are cut, padded and mixed, and however the bytes come in."""
    streams = [frames_of(1, first, size, padding), frames_of(3, second, size, 0)]
    mixed = [frames[index] for index in range(max(map(len, streams))) for frames in streams if index < len(frames)]
    sent = bytes(PREFACE_BYTES) + b"".join(frame.serialize() for frame in mixed)
    reader = MessageFlags(from_client=True)
    for start in range(0, len(sent), step):
        reader.feed(sent[start : start + step])
    assert reader.streams == {1: [flag for flag, _ in first], 3: [flag for flag, _ in second]}
