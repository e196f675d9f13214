"""The header blocks of requests.

What is the same in all calls of a method comes first and is made once; the deadline and the metadata follow, so that
a server which remembers header blocks finds the first part whatever follows (`wire._hpack`).
"""

import math
import time
from typing import Any

from hasten.rpc.wire._compression import ACCEPT_ENCODING, IDENTITY
from hasten.rpc.wire._hpack import encode_field, encode_string
from hasten.rpc.wire._metadata import encode_metadata
from hasten.rpc.wire._timeout import encode_timeout

_POST, _HTTP, _HTTPS, _PATH, _AUTHORITY = b"\x83", b"\x86", b"\x87", b"\x04", b"\x01"  # RFC 7541 appendix A
_TIMEOUT_NAME = encode_field(b"grpc-timeout", b"")[:-1]
_TRACEPARENT = b"traceparent"
_TRACEPARENT_NAME = encode_field(_TRACEPARENT, b"")[:-1]
_MOST_TIMEOUTS = 4096  # three digits in eight units, as good as

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
        self._start = _POST + (_HTTPS if secure else _HTTP)
        self._rest = (
            _AUTHORITY
            + encode_string(authority.encode())
            + encode_field(b"te", b"trailers")
            + encode_field(b"content-type", b"application/grpc")
            + encode_field(b"user-agent", user_agent.encode())
            + encode_field(b"grpc-accept-encoding", ACCEPT_ENCODING)
        )
        self._timeouts: dict[bytes, bytes] = {}

    def prefix(self, path: str, encoding: str = IDENTITY) -> bytes:
        """Return the part of a block that all calls of a method share."""
        block = self._start + _PATH + encode_string(path.encode()) + self._rest
        return block if encoding == IDENTITY else block + encode_field(b"grpc-encoding", encoding.encode())

    def timeout(self, deadline: float) -> bytes:
        """Return the grpc-timeout field for a deadline by `time.monotonic()`, nothing without one."""
        if deadline == math.inf:
            return b""
        value = encode_timeout(deadline - time.monotonic())
        field = self._timeouts.get(value)
        if field is None:
            if len(self._timeouts) >= _MOST_TIMEOUTS:
                self._timeouts.clear()
            field = self._timeouts[value] = _TIMEOUT_NAME + encode_string(value)
        return field


def encode_rest(metadata: Metadata, traceparent: str) -> bytes:
    """Return the fields for a user's metadata, and for the ambient trace unless the metadata has one.

    Raises:
      TypeError, InvalidMetadata: a key or a value cannot be sent.
    """
    if metadata:
        fields = encode_metadata(metadata)
        rest = b"".join([b"\x00" + encode_string(name) + encode_string(value) for name, value in fields])
        if not traceparent or any(name == _TRACEPARENT for name, _ in fields):
            return rest
    elif not traceparent:
        return b""
    else:
        rest = b""
    return rest + _TRACEPARENT_NAME + encode_string(traceparent.encode("latin-1"))
