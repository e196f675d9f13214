"""Samples of a process, one a second, made once for all who look."""

import asyncio
import logging
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from hasten.monitor import Monitor, Snapshot
from hasten.monitor._live import Live
from hasten.monitor._sample import Holds, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_VIEWERS = 100
PATIENCE = 10.0
_LOOKS_FOR = 60.0
"""Seconds after a question in which the next one is awaited."""
_TICKS_UNSEEN = 5
_logger = logging.getLogger("hasten.admin")


class Feed:
    """Makes the samples of a process, for any number of viewers; of the admin thread's loop.

    While nobody looks there is one in five seconds: what is drawn first has that much detail, and the process has a
    fifth of the work. A viewer that is slow gets the newest sample when it is ready for one, and never those between:
    nothing is kept for it.

    Args:
      monitor: Of the process.
      interval: Seconds between two samples while somebody looks.
      patience: Seconds that a viewer may take nothing; then it is dropped.

    Attributes:
      watchers: Called with each snapshot that is taken, and the monotonic seconds of it.
    """

    def __init__(self, monitor: Monitor, interval: float = 1.0, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._monitor = monitor
        self._interval = interval
        self._live = Live(monitor.objectives)
        self._changed = asyncio.Event()
        self._number = 0
        self._newest = b""
        self._closed = False
        self._failing = False
        self._asked_at = -_LOOKS_FOR
        self.viewers = 0
        self.watchers: list[Callable[[Snapshot, float], None]] = []

    @property
    def number(self) -> int:
        """How many samples there have been."""
        return self._number

    async def run(self) -> None:
        """Make a sample each second, until cancelled; then there is no more for anybody."""
        due = monotonic()
        try:
            for tick in count():
                if self._is_watched() or tick % _TICKS_UNSEEN == 0:
                    self._take()
                due = max(due + self._interval, monotonic())  # what is late is not made up for
                await asyncio.sleep(due - monotonic())
        finally:
            self._closed = True
            self._tell()

    def _is_watched(self) -> bool:
        return self.viewers > 0 or monotonic() - self._asked_at < _LOOKS_FOR

    def _take(self) -> None:
        try:
            self._newest = msgspec.json.encode(self._sample())
        except Exception:
            # Whatever is asked for its numbers may fail, a pool of the user's for example: the next second counts again
            if not self._failing:
                _logger.warning("no live sample could be made", exc_info=True)
            self._failing = True
            return
        self._failing = False
        self._number += 1
        self._tell()

    def _sample(self) -> Sample:
        monitor = self._monitor
        blocked = monitor.runtime.blocked_for()
        snapshot, clock = monitor.snapshot(), monotonic()
        for watcher in self.watchers:
            watcher(snapshot, clock)
        return self._live.add(
            snapshot,
            clock=clock,
            blocked=blocked,
            blocked_at=monitor.blocked_at() if blocked else "",
            checks=[
                Holds(name=one.name, ok=one.ok, reason=one.reason, required=one.required) for one in monitor.checks()
            ],
        )

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def story(self, after: float = 0.0) -> bytes:
        """Return a `Story` as JSON: the points after a Unix time, and the newest sample."""
        self._asked_at = monotonic()
        return msgspec.json.encode(self._live.story(after))

    async def next(self, seen: int) -> tuple[int, bytes]:
        """Return the newest sample as JSON, once it is another than the one with this number; b"" at the end.

        Cancellation: leaves everything as it is.
        """
        while self._number == seen and not self._closed:
            await self._changed.wait()
        return self._number, b"" if self._closed else self._newest
