"""Long work in the admin thread, in short steps: the app's loop waits for the interpreter's lock for one of them.

A thread that wants the lock gets it after 5 ms (`sys.getswitchinterval`), or at once from one that sleeps.
"""

import asyncio
from collections.abc import Iterable
from time import perf_counter

_STEP = 0.0005
_PAUSE = 0.001  # uvloop's timers know no less
_CROWDED = 0.004  # a pause that took that long: Python code holds the lock, so the loop is not what waits


async def joined(parts: Iterable[str]) -> str:
    """Return the parts as one text, made half a millisecond's worth at a time.

    Where the lock is hard to get back, as while Python code blocks the app's loop, the rest is made without pauses.
    """
    made: list[str] = []
    paced = True
    since = perf_counter()
    for part in parts:
        made.append(part)
        if paced and perf_counter() - since > _STEP:
            paused = perf_counter()
            await asyncio.sleep(_PAUSE)
            since = perf_counter()
            paced = since - paused < _CROWDED
    return "".join(made)
