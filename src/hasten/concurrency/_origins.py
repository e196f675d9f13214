"""The lines that coroutines were made in: Python remembers them while they are wanted, for that is not cheap."""

import sys
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter
from math import inf

_MOST_WINDOWS = 5
_MOST_PLACES = 1000


class Origins:
    """Has Python remember where the loop's thread makes coroutines, for a while after somebody has wanted to know.

    Remembering takes 0.1 µs a coroutine in a short function and 1 µs in a long one, whose table of lines is decoded up
    to that point: 15 µs of a FastAPI request of 57. So it is done when a stray was found of which nobody knows the
    line, and the next one of its kind has it.

    In the loop's thread, of which it is a setting.

    Args:
      seconds: That it is done each time, five times for each place; 0 never, infinite from the start to the end.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._wanted: Counter[str] = Counter()
        self._loop: AbstractEventLoop | None = None
        self._before = 0
        self._timer: TimerHandle | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Begin to be of use to a loop."""
        self._loop = loop
        self._before = sys.get_coroutine_origin_tracking_depth()
        if self._seconds == inf:
            self._remember()

    def stop(self) -> None:
        """Put back what was set before."""
        if self._timer is not None:
            self._timer.cancel()
        self._forget()
        self._loop = None

    def want(self, place: str) -> None:
        """Remember for a while, since the line that made what is defined at a place is not known."""
        if self._loop is None or not 0.0 < self._seconds < inf or self._timer is not None:
            return
        if self._wanted[place] < _MOST_WINDOWS and len(self._wanted) <= _MOST_PLACES:
            self._wanted[place] += 1
            self._remember()
            self._timer = self._loop.call_later(self._seconds, self._forget)

    def _remember(self) -> None:
        sys.set_coroutine_origin_tracking_depth(max(1, self._before))

    def _forget(self) -> None:
        self._timer = None
        sys.set_coroutine_origin_tracking_depth(self._before)
