"""One capture at a time, and a pause behind each: what the admin port, alerts and commands ask for alike.

A capture costs the service something, so whoever asks while one is under way, or right after one, is refused and told
when to ask again.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.monitor import Monitor
from hasten.profiling._ledger import capture as capture_ledger
from hasten.profiling._options import CaptureOptions
from hasten.profiling._profile import Profile

_NO_LABELS: Mapping[str, str] = {}


class CaptureRefused(Exception):
    """Raised when a capture is under way, or the pause after the last one is not over; ask again later.

    Attributes:
      reason: In one line.
      retry_after: Seconds until one may be asked for.
      busy: One is under way; False in the pause.
    """

    def __init__(self, reason: str, retry_after: float, *, busy: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.busy = busy


class Desk:
    """Makes profiles of the process that it is in.

    Args:
      monitor: Of the process: knows its loop, its ledger, its routes and its name.
      pause: Seconds between the end of a capture and the beginning of the next.
      clock: Monotonic seconds.
    """

    def __init__(self, monitor: Monitor, *, pause: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._monitor = monitor
        self._pause = pause
        self._clock = clock
        self._ends_at = 0.0
        self._under_way = False
        self._free_at = -math.inf

    @property
    def busy(self) -> bool:
        """Whether a capture is under way."""
        return self._under_way

    @property
    def retry_after(self) -> float:
        """Seconds until the pause after the last capture is over; 0.0 where one may begin now, or is under way."""
        return 0.0 if self._under_way else max(0.0, self._free_at - self._clock())

    async def capture(self, options: CaptureOptions, labels: Mapping[str, str] = _NO_LABELS) -> Profile:
        """Return a profile of this process, made as `options` say.

        Called in any thread's loop but the app's, always the same: the app's may be blocked, which is what is to be
        seen.

        Args:
          labels: Put on the profile.
        Raises:
          CaptureRefused: one is under way, or the pause after the last is not over.
          ConfigurationError: the options are wrong, or the process has not what the engine needs.
          MissingDependency: the engine is not installed.
          TargetUnreachable: the app's loop is not there, or the engine may not attach to the process.
          InvalidMeasurement: somebody else is profiling.
        Cancellation: ends the capture, leaves nothing behind, and counts as one: the pause follows.
        """
        options = options.checked()
        with self._only_one(options.seconds):
            profile = await self._made(options)
            labels = {**profile.labels, **labels}
            return msgspec.structs.replace(profile, service=profile.service or self._monitor.service, labels=labels)

    @contextmanager
    def _only_one(self, seconds: float) -> Iterator[None]:
        now = self._clock()
        if self._under_way:
            raise CaptureRefused("a capture is under way", max(0.0, self._ends_at - now) + self._pause, busy=True)
        if now < self._free_at:
            left = self._free_at - now
            raise CaptureRefused(f"the last capture ended a moment ago; wait {left:.0f} s", left, busy=False)
        self._under_way = True
        self._ends_at = now + seconds
        try:
            yield
        finally:
            self._under_way = False
            self._free_at = self._clock() + self._pause

    async def _made(self, options: CaptureOptions) -> Profile:
        if options.engine == "py-spy":
            from hasten.profiling._pyspy import record  # asked for rarely, and heavy

            return await record(os.getpid(), options)
        loop = self._loop()
        if options.engine == "yappi":
            from hasten.profiling._yappi import capture as capture_yappi

            return await capture_yappi(self._monitor, loop, options)
        ledger = self._monitor.ledger
        if ledger is None:
            raise ConfigurationError(
                "engine", "this process has no ledger", "install(app) gives it one; or take py-spy"
            )
        return await capture_ledger(ledger, loop, options)

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._monitor.runtime.loop
        if loop is None or loop.is_closed():
            raise TargetUnreachable("the app's loop", "it does not run", "ask again when the app has started")
        return loop
