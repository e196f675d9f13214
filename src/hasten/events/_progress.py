"""Whether a consumer gets anywhere.

A consumer is stuck when it is at work on messages, and for a while none of them has come to an end: no handler has
returned or raised, nothing was settled. So it takes no more work, or soon will not: who is to be asked for messages is
somebody else. One handler that hangs beside others that end is no reason to send work elsewhere; it takes one of
`concurrency` places, and when all of them hang nothing ends any more.

What only waits is not counted: a message behind another one of its key, for its batch, for its retry in place.
"""

import time

from hasten.events._broker import Delivery


class Progress:
    """What one consumer is at, and since when nothing has come to an end. No timer, one look at the clock a message.

    Begin and end take 0.4 µs together. It is asked in any thread, also while the loop stands still.

    Args:
      stuck_after: Seconds in which something must come to an end; infinite if nothing need.
    """

    __slots__ = ("_at_work", "_ended_at", "stuck_after")

    def __init__(self, stuck_after: float) -> None:
        self.stuck_after = stuck_after
        self._at_work: dict[Delivery, None] = {}  # in the order of their beginning
        self._ended_at = 0.0  # or begun to work after there was nothing to do; by time.monotonic()

    def begin(self, delivery: Delivery) -> None:
        """Note that a message is worked on."""
        if not self._at_work:
            self._ended_at = time.monotonic()
        self._at_work[delivery] = None

    def end(self, delivery: Delivery) -> None:
        """Note that it is not any more, for now."""
        self._at_work.pop(delivery, None)
        self._ended_at = time.monotonic()

    def stuck(self, now: float) -> tuple[float, tuple[Delivery, ...]] | None:
        """Return for how many seconds nothing has ended, and what is worked on, the oldest first; None if all is well.

        Args:
          now: By `time.monotonic()`.
        """
        if not self._at_work:  # looked at before the time, which `begin` sets first
            return None
        seconds = now - self._ended_at
        if seconds < self.stuck_after:
            return None
        at_work = tuple(self._at_work)  # copied in one go: the loop's thread may change it
        return (seconds, at_work) if at_work else None
