"""What the Memcached store writes under a key: a value, a value under a lease, or a lease alone; see `memcached`.

    value               b"v", until when it counts, bytes
    value under lease   b"s", until when it counts, token, when the lease is over, bytes
    lease alone         b"l", 0, token, when the lease is over

Moments are doubles of `time.time()`, big-endian; a token has 16 bytes.
"""

import math
import struct
from dataclasses import dataclass

TOKEN_BYTES = 16
_LONGEST_RELATIVE = 30 * 24 * 3600  # a larger exptime is a moment since the epoch
_LATEST = 2**31 - 1  # what the server can count up to: later is never
_NEVER = 0
_STATES = _VALUE, _VALUE_LEASED, _LEASED = b"v", b"s", b"l"
_EXPIRES = struct.Struct("!cd")
_LEASE = struct.Struct(f"!{TOKEN_BYTES}sd")
_VALUE_AT = _EXPIRES.size
_LEASED_VALUE_AT = _EXPIRES.size + _LEASE.size


@dataclass(frozen=True, slots=True)
class Item:
    """What Memcached has under a key; moments by `time.time()`.

    Attributes:
      payload: The value; None in a lease alone.
      expires_at: When the value is over.
      token: Of a lease, which may be over; empty without one.
      lease_until: When the lease is over.
    """

    payload: bytes | None = None
    expires_at: float = 0.0
    token: bytes = b""
    lease_until: float = 0.0

    def pack(self) -> bytes:
        """Return the item's bytes."""
        if self.payload is None:
            return _EXPIRES.pack(_LEASED, 0.0) + _LEASE.pack(self.token, self.lease_until)
        if not self.token:
            return _EXPIRES.pack(_VALUE, self.expires_at) + self.payload
        lease = _LEASE.pack(self.token, self.lease_until)
        return b"".join((_EXPIRES.pack(_VALUE_LEASED, self.expires_at), lease, self.payload))

    def exptime(self, now: float) -> int:
        """Return when the server may forget the item."""
        return exptime(max(self.expires_at, self.lease_until) - now, now)


def unpack_item(data: bytes, now: float) -> Item:
    """Return an item from its bytes, without a value that is over; an empty one from what no store has written."""
    state = data[:1]
    offset = _VALUE_AT if state == _VALUE else _LEASED_VALUE_AT
    if state not in _STATES or len(data) < offset:
        return Item()
    (_, expires_at), token, lease_until = _EXPIRES.unpack_from(data), b"", 0.0
    if state != _VALUE:
        token, lease_until = _LEASE.unpack_from(data, _EXPIRES.size)
    if state == _LEASED or not now < expires_at:
        return Item(None, 0.0, token, lease_until)
    return Item(data[offset:], expires_at, token, lease_until)


def payload_of(data: bytes | None, now: float) -> bytes | None:
    """Return the value of an item's bytes, if it has one that is not over: what `unpack_item` gives, in 0.4 µs."""
    if data is None:
        return None
    state = data[:1]
    offset = _VALUE_AT if state == _VALUE else _LEASED_VALUE_AT
    if (state != _VALUE and state != _VALUE_LEASED) or len(data) < offset:
        return None
    return data[offset:] if now < _EXPIRES.unpack_from(data)[1] else None


def exptime(seconds: float, now: float) -> int:
    """Return Memcached's exptime for a duration: not less than that, and less than 2 s more.

    The server counts whole seconds, in which the first one may be nearly over: hence one more. Beyond 30 days an
    exptime is a moment since the epoch, and 0 is never.
    """
    if not now + seconds < _LATEST - 1:
        return _NEVER
    whole = max(math.ceil(seconds), 0) + 1
    return whole if whole <= _LONGEST_RELATIVE else math.ceil(now + seconds) + 1
