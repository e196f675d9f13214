"""The ledger's engine: every request of this process with its whole stacks, by kind of time.

Asked from another thread's loop than the app's, which may be blocked: nothing here waits for it longer than half a
second.
"""

import asyncio
import time
from collections.abc import Callable

from hasten._core.errors import InvalidMeasurement
from hasten.ledger import Captured, CapturedStack, Ledger, StackCapture
from hasten.profiling._options import CaptureOptions
from hasten.profiling._profile import Frame, Profile, Requests, Stack

MOST_STACKS = 4000
"""Stacks of a profile; the seconds of all others are added up as `(other)`."""
_OTHER = (Frame("(other)"),)
_LOOKS = 2
"""Looks for each sample that was asked for: some come when the step is over, and shares of CPU scatter with few."""
_MOST_LOOKS = 1000
_POLL = 0.01
_PATIENCE = 0.5
"""Seconds that the app's loop has to settle what is under way; after that it is done from here."""


async def capture(ledger: Ledger, loop: asyncio.AbstractEventLoop, options: CaptureOptions) -> Profile:
    """Return what the requests of `loop` spent their time on for `options.seconds`.

    Args:
      ledger: Attached to `loop`; it samples no request meanwhile and goes on afterwards.
      loop: The app's: another one's than the caller's.
    Raises:
      InvalidMeasurement: the ledger is off, or does not watch this loop, or a capture is under way.
    Cancellation: ends the capture and puts everything back; the requests go on.
    """
    rate = min(_LOOKS * options.rate, _MOST_LOOKS)
    captured = StackCapture(ledger, loop, rate=rate, endpoint=options.endpoint)
    started, began = time.time(), time.monotonic()
    if not captured.start():
        raise InvalidMeasurement("ledger", "it is off, or another capture is under way", "take py-spy")
    try:
        await _until(lambda: not captured.on or loop.is_closed(), options.seconds)
    finally:
        captured.stop()
    seconds = time.monotonic() - began
    if not await _until(lambda: captured.settled or bool(captured.failure), _PATIENCE):
        captured.settle()  # the loop is blocked
    await _until(lambda: captured.ended, _PATIENCE)
    notes = ("The app's loop was closed meanwhile.",) if loop.is_closed() else ()
    return _profile(captured.result(), 1.0 / rate, started, seconds, notes)


async def _until(ready: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is so, `seconds` at most; return whether it is."""
    end = time.monotonic() + seconds
    while not ready():
        left = end - time.monotonic()
        if left <= 0.0:
            return False
        await asyncio.sleep(min(left, _POLL if seconds <= _PATIENCE else 10 * _POLL))
    return True


def _profile(captured: Captured, interval: float, started: float, seconds: float, notes: tuple[str, ...]) -> Profile:
    kept = captured.stacks[:MOST_STACKS]
    rest = captured.stacks[MOST_STACKS:]
    stacks = [_stack(one) for one in kept]
    if rest:
        stacks += _added_up(rest)
        spent = sum(one.seconds for one in rest)
        notes = (*notes, f"{len(rest)} of the smallest stacks, {spent:.3f} s in all, are added up as (other).")
    return Profile(
        engine="ledger",
        clock="wall",
        started=started,
        seconds=seconds,
        requests=tuple([Requests(name, count) for name, count in sorted(captured.answered.items())]),
        stacks=tuple(stacks),
        interval=interval,
        notes=(*captured.notes, *notes),
    )


def _stack(one: CapturedStack) -> Stack:
    return Stack(tuple([Frame(*frame) for frame in one.frames]), one.seconds, one.count, one.endpoint, str(one.kind))


def _added_up(rest: tuple[CapturedStack, ...]) -> list[Stack]:
    """Return one stack for each endpoint and kind."""
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for one in rest:
        seconds, count = sums.get((one.endpoint, str(one.kind)), (0.0, 0))
        sums[one.endpoint, str(one.kind)] = seconds + one.seconds, count + one.count
    return [Stack(_OTHER, seconds, count, *key) for key, (seconds, count) in sums.items()]
