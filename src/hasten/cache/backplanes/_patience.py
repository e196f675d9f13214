"""A timeout that does not take our own event loop's silence for the other side's."""

import asyncio
from types import TracebackType

_LATE = 0.05  # seconds by which a timer is late when the loop was held by something
_GRACE = 0.1  # seconds for what has come meanwhile to be read
_GRACES = 3  # a loop that is late all the time must not wait for ever


class Patience:
    """Raise TimeoutError in the block after so many seconds; somewhat later if the event loop was held up at the end.

        async with Patience(0.5):
            ...

    A loop that stood still for longer than the timeout finds the timer and the answer at once, and would give up with
    the answer in its hands: after each long step of the service the memory would be emptied, too.

    A class, not a generator: each round trip has one, and so it costs a third.
    """

    __slots__ = ("_graces", "_loop", "_seconds", "_timeout", "_timer")

    _timer: asyncio.TimerHandle

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._graces = _GRACES
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._set_timer(self._loop.time() + self._seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _set_timer(self, due: float) -> None:
        self._timer = self._loop.call_at(due, self._expire, due)

    def _expire(self, due: float) -> None:
        now = self._loop.time()
        if self._graces and now - due > _LATE:
            self._graces -= 1
            self._set_timer(now + _GRACE)
        else:
            self._timeout.reschedule(now)
