"""Every bound of the gRPC transport, in one place.

A bound that a peer crosses ends its stream or its connection with the code that the protocol has for it, never the
process; each has a test with hostile frames in tests/rpc/limits.
"""

import math
from dataclasses import dataclass, fields

from hasten._core.errors import ConfigurationError

KIB = 1024
MIB = 1024 * KIB
LARGEST_WINDOW = 2**31 - 1
"""RFC 9113 section 6.9.1."""
LARGEST_STREAM_ID = 2**31 - 1
"""RFC 9113 section 5.1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one connection, the same for servers and channels unless said.

    Attributes:
      concurrent_handlers: Handlers that may run at once on a server's connection, told to the peer as
        SETTINGS_MAX_CONCURRENT_STREAMS. A stream that was reset counts until its handler has ended, so that opening
        and resetting streams cannot start more (CVE-2023-44487; Go x/net/http2 counts the same way).
      reset_burst, reset_rate: Token bucket for streams that the peer resets, or makes us reset: so many at once, and
        so many a second (nghttp2's values since 1.57); beyond that the connection ends with ENHANCE_YOUR_CALM. Each
        call that is not reset gives a token back, so that hedging and cancelling up to half of the calls cost nothing.
      header_list_bytes: Size of a header list (RFC 9113 section 6.5.2) above which a call gets RESOURCE_EXHAUSTED
        (grpc-core's soft limit).
      header_list_hard_bytes: Size above which the connection ends (grpc-core's absolute limit).
      header_cache_entries, header_cache_block_bytes: Header blocks remembered per connection, and the largest of them.
      decoded_header_bytes_per_second: Header bytes a second that need Huffman decoding or a dynamic table; a peer that
        sends more is read more slowly. They cost 0.5 µs each, so this bounds them to an eighth of a core. A stream
        that a change of SETTINGS_INITIAL_WINDOW_SIZE wakes counts like 4 of them.
      continuation_frames: CONTINUATION frames of one header block (nghttp2; CVE-2024-27316).
      settings_per_frame: Settings in one SETTINGS frame.
      ping_strikes, ping_seconds: PINGs that may come sooner than `ping_seconds` after the last one while no call is
        open or moves; one more ends the connection with ENHANCE_YOUR_CALM "too_many_pings" (grpc-core's rule with a
        floor of 10 s instead of its 5 min, at which well-meant keepalives fail).
      control_frames: Replies (SETTINGS and PING acknowledgements, RST_STREAM, ends of calls) that may wait for a peer
        who does not read, while `write_high_bytes` are waiting; then nothing more is read from it.
      write_high_bytes: Bytes waiting to be sent at which writers wait and control replies stop. 64 KiB would do, but
        uvloop counts what it sends at the end of the pass, and 16 messages of 10 KB are more than that.
      message_bytes: Largest message received, before and after decompression (grpc's default).
      sent_message_bytes: Largest message sent; 0 is no bound (grpc's default).
      held_bytes: Bytes of messages received on one connection that are incomplete or unread, and 96 for each unread
        one; a stream that brings more is reset with ENHANCE_YOUR_CALM.
      frame_bytes: Largest frame received, told to the peer as SETTINGS_MAX_FRAME_SIZE; 16 KiB to 16 MiB - 1.
      stream_window_bytes, connection_window_bytes: What the peer may send before we widen the window. A stream's is
        widened as its messages are read (and at once for a message that is longer than the window), the connection's
        as bytes come in.
      preface_seconds: Until TLS must be complete on a server, and then once more until the client's preface must.
      settings_seconds: Until the client's first SETTINGS must follow its preface (Go's values, both).
      last_stream_id: Highest stream id a channel uses before it moves to a new connection.
      flush_messages: Writes that are joined at most before they go out: 8 to 16 keeps the peer busy while we work.
      keepalive_seconds, keepalive_timeout_seconds: A PING is sent when nothing came for so long while calls are open;
        without an answer within the second the connection is lost. 0 sends none.
      keepalive_without_calls: Send them also while no call is open.
      connection_age_seconds, connection_age_grace_seconds: A server's connection is drained at this age (with a tenth
        of jitter) and cut after the grace; 0 never.
      connection_idle_seconds: A server's connection without calls for so long is drained; 0 never.
    """

    concurrent_handlers: int = 1000
    reset_burst: int = 1000
    reset_rate: float = 33.0
    header_list_bytes: int = 8 * KIB
    header_list_hard_bytes: int = 16 * KIB
    header_cache_entries: int = 1024
    header_cache_block_bytes: int = 512
    decoded_header_bytes_per_second: int = 256 * KIB
    continuation_frames: int = 8
    settings_per_frame: int = 32
    ping_strikes: int = 2
    ping_seconds: float = 10.0
    control_frames: int = 1000
    write_high_bytes: int = 256 * KIB
    message_bytes: int = 4 * MIB
    sent_message_bytes: int = 0
    held_bytes: int = 128 * MIB
    frame_bytes: int = 1 * MIB
    stream_window_bytes: int = 1 * MIB
    connection_window_bytes: int = 16 * MIB
    preface_seconds: float = 10.0
    settings_seconds: float = 2.0
    last_stream_id: int = LARGEST_STREAM_ID - 2**17
    flush_messages: int = 16
    keepalive_seconds: float = 0.0
    keepalive_timeout_seconds: float = 20.0
    keepalive_without_calls: bool = False
    connection_age_seconds: float = 0.0
    connection_age_grace_seconds: float = 30.0
    connection_idle_seconds: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            low, high = _RANGES.get(each.name, _NOT_NEGATIVE)
            value = getattr(self, each.name)
            if not low <= value <= high:
                raise ConfigurationError(f"Limits({each.name}={value})", f"must be from {low} to {high}")
        if self.header_list_hard_bytes < self.header_list_bytes:
            raise ConfigurationError("Limits", "header_list_hard_bytes must not be below header_list_bytes")


_NOT_NEGATIVE = (0, math.inf)
_RANGES = {
    "concurrent_handlers": (1, LARGEST_STREAM_ID),
    "frame_bytes": (16 * KIB, 2**24 - 1),
    "stream_window_bytes": (1, LARGEST_WINDOW),
    "connection_window_bytes": (65_535, LARGEST_WINDOW),
    "message_bytes": (0, 2**32 - 1),
    "last_stream_id": (1, LARGEST_STREAM_ID),
    "flush_messages": (1, 10_000),
    "continuation_frames": (0, 10_000),
}
