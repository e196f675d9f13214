"""Work that a thread does bit by bit, so that the event loop never waits long for the interpreter's lock.

OpenTelemetry's encoders run Python for 80 to 100 µs a span. A loop that wakes meanwhile gets the lock after 5 ms
(`sys.getswitchinterval`), and waits as long after its next system call. With a pause, in which the lock is free, before
that time is over, one wake in ten was 2.5 ms late or more while 2,048 spans were sent, without it 5.3 (medians of five
interleaved rounds on two busy cores; 0.4 where nothing was sent).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

Raw = TypeVar("Raw")
Made = TypeVar("Made")
_AT_ONCE = 8
"""Items between two pauses: less than a millisecond of work."""
_PAUSE = 0.0005
"""Seconds; shorter ones end before the loop's thread has woken."""


class Patient(Sequence[Made], Generic[Raw, Made]):
    """Things that are made when they are looked at, with a pause after every few of them.

    Args:
      things: What they are made of.
      make: Makes one.
    """

    def __init__(self, things: Sequence[Raw], make: Callable[[Raw], Made]) -> None:
        self._things = things
        self._make = make

    def __len__(self) -> int:
        return len(self._things)

    def __getitem__(self, index: int) -> Made:  # type: ignore[override]  # nobody asks for slices
        return self._make(self._things[index])

    def __iter__(self) -> Iterator[Made]:
        for number, thing in enumerate(self._things):
            if number and not number % _AT_ONCE:
                time.sleep(_PAUSE)
            yield self._make(thing)
