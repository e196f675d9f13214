"""Sessions to break: frames that a peer might send, and ways to spoil them."""

from collections import OrderedDict, deque
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from hasten.rpc import Limits
from hasten.rpc.channel._encoding import RequestEncoder
from hasten.rpc.wire._frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS_ACK,
    ErrorCode,
    frame,
    message_prefix,
    reset_frame,
    settings_frame,
    window_frame,
)
from hasten.rpc.wire._hpack import encode_field

METHODS = ("/test.Service/Unary", "/test.Service/Responses", "/test.Service/Both", "/test.Service/Hang", "/no/such")
ENCODER = RequestEncoder("127.0.0.1:1", secure=False, user_agent="fuzz")
LIMITS = Limits(concurrent_handlers=50, header_cache_entries=64, control_frames=100, held_bytes=1 << 20)
_OPENING = b"\x88" + encode_field(b"content-type", b"application/grpc")

stream_ids = st.one_of(st.integers(0, 12), st.integers(0, 200), st.integers(0, 2**31 - 1))
odd_ids = st.integers(0, 40).map(lambda number: number * 2 + 1)
bodies = st.binary(max_size=200)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request as clients send it, often with a message, sometimes with a metadata field or two."""
    stream_id = draw(odd_ids)
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(["a", "b", "traceparent"]), st.text("xyz", max_size=9)), max_size=3)
    )
    deadline = draw(st.sampled_from([b"", encode_field(b"grpc-timeout", b"1m"), encode_field(b"grpc-timeout", b"5S")]))
    block = ENCODER.prefix(draw(st.sampled_from(METHODS))) + deadline + ENCODER.rest(pairs, "")
    flags = draw(st.sampled_from([END_HEADERS] * 6 + [END_HEADERS | END_STREAM, 0]))
    body = draw(bodies)
    message = message_prefix(draw(st.booleans()), len(body)) + body
    data = frame(DATA, draw(st.sampled_from([END_STREAM, END_STREAM, 0])), stream_id, message)
    return frame(HEADERS, flags, stream_id, block) + (data if draw(st.booleans()) else b"")


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A part of a response: headers, a message, trailers, in whatever order."""
    stream_id = draw(odd_ids)
    status = draw(st.sampled_from([b"0", b"0", b"5", b"99", b"x", b"-1"]))
    trailers = encode_field(b"grpc-status", status) + encode_field(b"grpc-message", draw(bodies))
    body = draw(bodies)
    parts = {
        "headers": frame(HEADERS, END_HEADERS, stream_id, _OPENING),
        "message": frame(DATA, 0, stream_id, message_prefix(draw(st.booleans()), len(body)) + body),
        "trailers": frame(HEADERS, END_HEADERS | END_STREAM, stream_id, trailers),
        "only": frame(HEADERS, END_HEADERS | END_STREAM, stream_id, _OPENING + trailers),
    }
    names = draw(st.sampled_from(["headers message trailers", "headers", "message", "trailers", "only"]))
    return b"".join(parts[name] for name in names.split())


_settings = st.dictionaries(
    st.integers(0, 9), st.one_of(st.sampled_from([0, 1, 16_384, 65_535]), st.integers(0, 2**32 - 1))
)
control = st.one_of(
    _settings.map(settings_frame),
    st.just(SETTINGS_ACK),
    st.binary(min_size=8, max_size=8).map(lambda data: frame(PING, 0, 0, data)),
    st.builds(reset_frame, odd_ids, st.sampled_from(ErrorCode)),
    st.builds(window_frame, stream_ids, st.integers(0, 2**31 - 1)),
    st.builds(lambda last: frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)), st.integers(0, 100)),
    st.builds(lambda stream_id, part: frame(CONTINUATION, 4, stream_id, part), odd_ids, bodies),
)
noise = st.builds(frame, st.integers(0, 12), st.integers(0, 255), stream_ids, bodies)


@st.composite
def spoiled(draw: st.DrawFn, frames: st.SearchStrategy[bytes], opening: bytes) -> list[bytes]:
    """A session in the pieces in which it is read: some bytes changed, frames left out, repeated or moved."""
    session = opening + b"".join(draw(st.lists(frames, max_size=40)))
    changed = bytearray(session)
    for position, byte in draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4)):
        if len(opening) <= position < len(changed):
            changed[position] = byte
    cuts = sorted(draw(st.lists(st.integers(0, len(changed)), max_size=8)))
    edges = [0, *cuts, len(changed)]
    return [bytes(changed[start:end]) for start, end in pairwise(edges)]


server_sessions = spoiled(
    st.one_of(requests(), requests(), control, noise), PREFACE + settings_frame({}) + SETTINGS_ACK
)
client_sessions = spoiled(st.one_of(responses(), responses(), control, noise), settings_frame({}) + SETTINGS_ACK)


def largest_container(*roots: object) -> int:
    """Return the length of the longest container that objects of hasten.rpc below `roots` hold."""
    longest, seen, left = 0, set[int](), list[object](roots)
    while left:
        current: Any = left.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, dict | OrderedDict | set | deque | list | bytearray):
            longest = max(longest, len(current))
        if isinstance(current, dict | OrderedDict):
            left += [*current.keys(), *current.values()]
        elif isinstance(current, set | deque | list | tuple):
            left += current
        elif type(current).__module__.startswith("hasten.rpc"):
            slots = [name for kind in type(current).__mro__ for name in getattr(kind, "__slots__", ())]
            left += [getattr(current, name) for name in slots if hasattr(current, name)]
            left += getattr(current, "__dict__", {}).values()
    return longest
