"""The header blocks of requests.

What is the same in all calls of a method comes first and is made once; the deadline and the metadata follow, so that
a server which remembers header blocks finds the first part whatever follows (`wire._hpack`).
"""

import time
from typing import Any

from hasten._core.tracing import checked_tracestate
from hasten.rpc.wire._compression import ACCEPT_ENCODING, IDENTITY
from hasten.rpc.wire._hpack import encode_field, encode_string
from hasten.rpc.wire._metadata import TRANSPORT_FIELDS, encode_pair
from hasten.rpc.wire._timeout import encode_timeout

_POST, _HTTP, _HTTPS, _PATH, _AUTHORITY = b"\x83", b"\x86", b"\x87", b"\x04", b"\x01"  # RFC 7541 appendix A
_TIMEOUT_NAME = encode_field(b"grpc-timeout", b"")[:-1]
_TRACEPARENT_NAME = encode_field(b"traceparent", b"")[:-1]
_MOST_NAMES = 256
_LONG = 0x7F  # a string's length no longer fits the first byte's seven bits
_LENGTHS = tuple(bytes((length,)) for length in range(_LONG))

Metadata = Any
"""What users give as metadata: a `grpc.aio.Metadata` or pairs of a key and a str or bytes."""


class RequestEncoder:
    """Makes the header blocks of one channel's requests.

    Args:
      authority: `:authority`.
      secure: Whether the connection is TLS.
      user_agent: The user-agent field.
    """

    def __init__(self, authority: str, *, secure: bool, user_agent: str) -> None:
        self.authority = authority
        self._start = _POST + (_HTTPS if secure else _HTTP)
        self._rest = (
            _AUTHORITY
            + encode_string(authority.encode())
            + encode_field(b"te", b"trailers")
            + encode_field(b"content-type", b"application/grpc")
            + encode_field(b"user-agent", user_agent.encode())
            + encode_field(b"grpc-accept-encoding", ACCEPT_ENCODING)
        )
        self._timeouts: dict[int, bytes] = {}
        self._names: dict[str, bytes] = {}

    def prefix(self, path: str, encoding: str = IDENTITY) -> bytes:
        """Return the part of a block that all calls of a method share."""
        block = self._start + _PATH + encode_string(path.encode()) + self._rest
        return block if encoding == IDENTITY else block + encode_field(b"grpc-encoding", encoding.encode())

    def timeout(self, deadline: float) -> bytes:
        """Return the grpc-timeout field for a deadline by `time.monotonic()`: 0.25 µs for a second or more."""
        seconds = deadline - time.monotonic()
        key = int(seconds * 100)  # what three digits tell apart from 1 to 10 s
        if not 100 <= key < 1000:
            return _TIMEOUT_NAME + encode_string(encode_timeout(seconds))
        field = self._timeouts.get(key)
        if field is None:
            field = self._timeouts[key] = _TIMEOUT_NAME + encode_string(encode_timeout(seconds))
        return field

    def rest(self, metadata: Metadata, traceparent: str, tracestate: str = "") -> bytes:
        """Return the fields for a user's metadata, and for the ambient trace unless the metadata has one.

        0.3 µs a pair whose key was sent before and whose value is short printable ASCII.

        Raises:
          TypeError, InvalidMetadata: a key or a value cannot be sent.
        """
        rest = b""
        names = self._names
        for key, value in metadata or ():
            name = names.get(key)
            if (
                name is not None
                and type(value) is str
                and len(value) < _LONG
                and value.isascii()
                and value.isprintable()
            ):
                rest += name + _LENGTHS[len(value)] + value.encode()
            else:
                rest += self._encode(key, value)
            if key == "traceparent":
                traceparent = ""
        return rest + trace_field(traceparent) + state_field(tracestate) if traceparent else rest

    def _encode(self, key: str | bytes, value: str | bytes) -> bytes:
        """Return the field for a pair of metadata, nothing for one that is not the user's to send."""
        if isinstance(key, bytes):
            key = key.decode("latin-1")
        if key in TRANSPORT_FIELDS:
            return b""
        name, encoded = encode_pair(key, value)
        if not key.endswith("-bin") and len(self._names) < _MOST_NAMES:
            self._names[key] = encode_field(name, b"")[:-1]
        return encode_field(name, encoded)


def trace_field(traceparent: str) -> bytes:
    """Return the field for a trace."""
    return _TRACEPARENT_NAME + encode_string(traceparent.encode("latin-1"))


def state_field(tracestate: str) -> bytes:
    """Return the field for what is carried on beside a trace; nothing where that is nothing, or cannot be sent."""
    state = checked_tracestate(tracestate)
    return encode_field(b"tracestate", state.encode()) if state else b""


def has_trace(rest: bytes) -> bool:
    """Whether fields that were encoded here have a trace among them; also where a value contains its name."""
    return _TRACEPARENT_NAME in rest
