"""Pacers: they wake after the time they were armed for, never before, and hold nothing once closed."""

import asyncio
import os
import sys
import time
from collections.abc import Callable

import pytest

from hasten.load import _pacer
from hasten.load._pacer import LoopPacer, Pacer, TimerfdPacer, make_pacer
from tests.conftest import LoopFactory

PACERS = [
    pytest.param(TimerfdPacer, marks=pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")),
    LoopPacer,
]


@pytest.mark.parametrize("kind", PACERS)
def test_wakes_after_its_time(kind: type[TimerfdPacer | LoopPacer], loop_factory: LoopFactory) -> None:
    """Each arming wakes once; a later one replaces an earlier one, and a time gone by wakes at once."""

    async def main() -> list[float]:
        woken: asyncio.Queue[float] = asyncio.Queue()
        pacer: Pacer = kind(lambda: woken.put_nowait(time.perf_counter()))
        early = []
        try:
            for offset in (0.02, 0.0, 0.01, -1.0):
                pacer.arm(time.perf_counter() + 60.0)
                due = time.perf_counter() + offset
                pacer.arm(due)
                early.append(due - await woken.get())
            assert woken.empty()
        finally:
            pacer.close()
            pacer.close()
        return early

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        # A loop's timer may fire up to its resolution early; the generator then arms again.
        assert max(runner.run(main())) < 0.002


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
def test_ctypes_and_standard_library_agree(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timerfd made through ctypes wakes like the standard library's."""

    async def main() -> None:
        woken = asyncio.Event()
        pacer = TimerfdPacer(woken.set)
        pacer.arm(time.perf_counter() + 0.01)
        await woken.wait()
        pacer.close()

    monkeypatch.setattr(_pacer, "_open_timerfd", _pacer._open_timerfd_by_ctypes)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_falls_back_to_loop_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no timerfd can be had the pacer uses the loop's timers and says so."""

    def unavailable() -> tuple[int, Callable[[int], None]]:
        raise OSError(38, os.strerror(38))

    async def main() -> str:
        pacer = make_pacer(lambda: None)
        pacer.close()
        return pacer.name

    monkeypatch.setattr(_pacer, "_open_timerfd", unavailable)
    assert asyncio.run(main()) == "loop timers"
