"""The desk: one capture at a time, a pause behind each, and every engine by its name."""

import asyncio
from collections.abc import Iterator

import pytest

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.monitor import Monitor
from hasten.profiling import CaptureOptions
from hasten.profiling._desk import CaptureRefused, Desk

from . import planted
from .services import LoopFactory, Running, asked, running

pytestmark = pytest.mark.may_block


class Clock:
    """Monotonic seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def service(loop_factory: LoopFactory) -> Iterator[Running]:
    """Serve the planted app on each kind of loop."""
    with running(planted.planted(), loop_factory) as service:
        yield service


@pytest.fixture
def monitor(service: Running) -> Iterator[Monitor]:
    """Return a monitor that watches the service's loop and ledger."""
    monitor = Monitor("shop")
    monitor.watch_ledger(service.ledger)
    monitor.watch_app(service.app, None, routed_by=service.app)  # type: ignore[arg-type]
    asyncio.run_coroutine_threadsafe(_started(monitor), service.loop).result(20)
    yield monitor
    asyncio.run_coroutine_threadsafe(_stopped(monitor), service.loop).result(20)


async def _started(monitor: Monitor) -> None:
    monitor.runtime.start()


async def _stopped(monitor: Monitor) -> None:
    monitor.runtime.stop()


@pytest.mark.parametrize("engine", ["ledger", "yappi"])
def test_each_engine_makes_a_profile(service: Running, monitor: Monitor, engine: str) -> None:
    """A capture by an engine's name returns its profile, with the service's name and the labels."""
    options = CaptureOptions(engine=engine, seconds=1.0)  # type: ignore[arg-type]
    with asked(service.port, "/mixed") as counts:
        profile = asyncio.run(Desk(monitor).capture(options, {"alert": "LoopBlocked"}))
    assert counts["failed"] == 0

    assert (profile.engine, profile.service) == (engine, "shop")
    assert profile.labels["alert"] == "LoopBlocked"
    assert profile.answered > 0
    assert profile.spent > 0.0


def test_one_at_a_time(monitor: Monitor) -> None:
    """While a capture is under way another is refused, and told when to ask again; the first goes on."""

    async def two() -> None:
        desk = Desk(monitor, pause=10.0)
        first = asyncio.create_task(desk.capture(CaptureOptions(seconds=0.5)))
        await asyncio.sleep(0.05)
        assert desk.busy
        with pytest.raises(CaptureRefused, match="under way") as refused:
            await desk.capture(CaptureOptions(seconds=0.5))
        assert refused.value.busy
        assert 10.0 < refused.value.retry_after <= 10.5
        assert (await first).engine == "ledger"
        assert not desk.busy

    asyncio.run(two())


def test_a_pause_behind_each(monitor: Monitor) -> None:
    """After a capture the next is refused until the pause is over, by the clock that was given."""
    clock = Clock()
    desk = Desk(monitor, pause=10.0, clock=clock)
    options = CaptureOptions(seconds=0.1)

    assert desk.retry_after == 0.0
    asyncio.run(desk.capture(options))
    assert desk.retry_after == 10.0
    clock.now += 4.0
    with pytest.raises(CaptureRefused, match="wait 6 s") as refused:
        asyncio.run(desk.capture(options))
    assert (refused.value.retry_after, refused.value.busy) == (6.0, False)
    clock.now += 6.0
    assert desk.retry_after == 0.0
    assert asyncio.run(desk.capture(options)).engine == "ledger"


def test_a_cancelled_capture_frees_the_desk(monitor: Monitor) -> None:
    """After a cancelled capture the desk is free, and the pause follows."""

    async def cancelled() -> None:
        desk = Desk(monitor, pause=10.0)
        task = asyncio.create_task(desk.capture(CaptureOptions(seconds=60.0)))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert not desk.busy
        assert desk.retry_after > 0.0

    asyncio.run(cancelled())


def test_a_capture_that_fails_frees_the_desk(monitor: Monitor) -> None:
    """What cannot be captured is said in one line, and no capture is under way afterwards."""
    ledger, monitor.ledger = monitor.ledger, None
    desk = Desk(monitor, pause=0.0)
    with pytest.raises(ConfigurationError, match="no ledger"):
        asyncio.run(desk.capture(CaptureOptions(seconds=0.1)))
    assert not desk.busy
    monitor.ledger = ledger
    with pytest.raises(ConfigurationError, match="seconds"):
        asyncio.run(desk.capture(CaptureOptions(seconds=0.0)))
    assert asyncio.run(desk.capture(CaptureOptions(seconds=0.1))).engine == "ledger"


def test_without_a_loop_there_is_no_capture() -> None:
    """Before the app's loop runs a capture in the process is refused in one line."""
    with pytest.raises(TargetUnreachable, match="does not run"):
        asyncio.run(Desk(Monitor("shop")).capture(CaptureOptions(seconds=0.1)))
