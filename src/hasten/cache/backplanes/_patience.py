"""A timeout that does not take our own event loop's silence for the other side's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_LATE = 0.05  # seconds by which a timer is late when the loop was held by something
_GRACE = 0.1  # seconds for what has come meanwhile to be read
_GRACES = 3  # a loop that is late all the time must not wait for ever


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError in the block after so many seconds; somewhat later if the event loop was held up at the end.

    A loop that stood still for longer than the timeout finds the timer and the answer at once, and would give up with
    the answer in its hands: after each long step of the service the memory would be emptied, too.
    """
    loop = asyncio.get_running_loop()

    timer: asyncio.TimerHandle

    def set_timer(due: float, graces: int) -> None:
        nonlocal timer
        timer = loop.call_at(due, expire, due, graces)

    def expire(due: float, graces: int) -> None:
        now = loop.time()
        if graces and now - due > _LATE:
            set_timer(now + _GRACE, graces - 1)
        else:
            timeout.reschedule(now)

    async with asyncio.timeout(None) as timeout:
        set_timer(loop.time() + seconds, _GRACES)
        try:
            yield
        finally:
            timer.cancel()
