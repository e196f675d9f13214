"""What the peer's SETTINGS say about what we may send."""

from collections.abc import Iterable

from hasten.rpc._limits import LARGEST_STREAM_ID, LARGEST_WINDOW
from hasten.rpc.transport._output import Output
from hasten.rpc.wire._frames import (
    DEFAULT_FRAME_SIZE,
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    ConnectionViolation,
    ErrorCode,
)


class PeerSettings:
    """Takes the peer's settings over into an output (RFC 9113 section 6.5.2).

    Attributes:
      concurrent_streams: How many streams of ours may be open.
    """

    def __init__(self, output: Output) -> None:
        self.concurrent_streams = LARGEST_STREAM_ID
        self._output = output

    def take(self, given: Iterable[tuple[int, int]]) -> int:
        """Take the settings of one frame in their order; return how many streams a wider window has woken.

        Raises:
          ConnectionViolation: a value is out of its range.
        """
        stuck = self._output.stuck_streams
        for key, value in given:
            self._take_one(key, value)
        return stuck - self._output.stuck_streams

    def _take_one(self, key: int, value: int) -> None:
        if key == INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW or not self._output.set_initial_window(value):
                raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE {value}")
        elif key == MAX_FRAME_SIZE:
            if not DEFAULT_FRAME_SIZE <= value < 1 << 24:
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE {value}")
            self._output.frame_size = value
        elif key == MAX_CONCURRENT_STREAMS:
            self.concurrent_streams = value
        elif key == ENABLE_PUSH and value > 1:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH {value}")
