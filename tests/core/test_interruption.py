"""Signals that end a process end what runs in a loop, at whatever moment, and are raised when it has unwound."""

import asyncio
import os
import signal
import threading

import pytest
import uvloop

from hasten._core.interruption import run_interruptible

pytestmark = pytest.mark.may_block
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
ENDINGS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)]


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize(("number", "raised"), ENDINGS)
def test_a_signal_within_a_callback(
    number: signal.Signals, raised: type[BaseException], loop_factory: "type[asyncio.AbstractEventLoop]"
) -> None:
    """A signal that comes while a callback of the loop runs is not lost in it: the work unwinds, and it is raised."""
    unwound = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            unwound.append(number)

    before = signal.getsignal(number)
    with pytest.raises(raised) as caught:
        run_interruptible(work, loop_factory)
    assert unwound == [number]
    assert signal.getsignal(number) is before
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 128 + number


def test_what_is_ignored_stays_so() -> None:
    """A signal that the process ignores, SIGHUP under nohup, ends nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        return "done"

    try:
        assert run_interruptible(work) == "done"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread() -> None:
    """Elsewhere than on the main thread it runs without handling signals."""
    done: list[int] = []

    async def work() -> int:
        return 7

    thread = threading.Thread(target=lambda: done.append(run_interruptible(work)))
    thread.start()
    thread.join(20)
    assert done == [7]


def test_its_own_cancellation_is_raised() -> None:
    """A cancellation that no signal has asked for stays one."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_interruptible(work)
