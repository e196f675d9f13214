"""A header block that comes in several frames (RFC 9113 section 6.10)."""

from hasten.rpc._limits import Limits
from hasten.rpc.wire._frames import ConnectionViolation, ErrorCode


class PartedBlock:
    """Joins HEADERS and its CONTINUATION frames; no other frame may come in between.

    Attributes:
      stream_id, ends_stream: Of the HEADERS frame.

    Raises:
      ConnectionViolation: by `begin` and `add`: it has too many frames or bytes, or belongs to no stream.
    """

    def __init__(self, limits: Limits) -> None:
        self.stream_id = 0
        self.ends_stream = False
        self._most_frames = limits.continuation_frames
        self._most_bytes = limits.header_list_hard_bytes
        self._parts = bytearray()
        self._frames = 0

    def begin(self, stream_id: int, part: bytes, *, ends_stream: bool) -> None:
        """Take the part that stands in a HEADERS frame without END_HEADERS."""
        if not stream_id:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        self.stream_id = stream_id
        self.ends_stream = ends_stream
        self._frames = 0
        self._append(part)

    def add(self, part: bytes) -> None:
        """Take the part that stands in a CONTINUATION frame."""
        self._frames += 1
        if self._frames > self._most_frames:
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        self._append(part)

    def _append(self, part: bytes) -> None:
        self._parts += part
        if len(self._parts) > self._most_bytes:
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")

    def take(self) -> bytes:
        """Return the block; the next one may begin."""
        block = bytes(self._parts)
        self._parts.clear()
        return block
