"""yappi's engine on a real service under uvicorn: functions by endpoint, and nothing left of it."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
import yappi  # type: ignore[import-untyped]

from hasten._core.errors import InvalidMeasurement
from hasten.monitor import Monitor
from hasten.profiling import CaptureOptions, Function, Profile
from hasten.profiling._yappi import capture

from . import planted
from .services import LoopFactory, Running, asked, running

pytestmark = pytest.mark.may_block


@pytest.fixture
def service(loop_factory: LoopFactory) -> Iterator[Running]:
    """Serve the planted app on each kind of loop."""
    with planted.slow_upstream() as upstream, running(planted.planted(upstream), loop_factory) as service:
        yield service


def monitor_of(service: Running) -> Monitor:
    """Return a monitor that knows the app's routes."""
    monitor = Monitor("test")
    monitor.watch_app(service.app, None, routed_by=service.app)  # type: ignore[arg-type]
    return monitor


def asking(service: Running, seconds: float, *targets: str, **options: object) -> Profile:
    """Return a profile of the service while it is asked; no request may fail."""
    with asked(service.port, *targets, connections=3) as counts:
        settings = CaptureOptions(engine="yappi", seconds=seconds, **options)  # type: ignore[arg-type]
        profile = asyncio.run(capture(monitor_of(service), service.loop, settings))
    assert counts["failed"] == 0
    return profile


def of_endpoint(profile: Profile, endpoint: str) -> dict[str, Function]:
    """Return an endpoint's functions by name."""
    found = [function for function in profile.functions if function.endpoint == endpoint]
    return {function.frame.function.rpartition(".<locals>.")[2]: function for function in found}


def test_hotspots_are_the_largest_by_cpu(service: Running) -> None:
    """By CPU the planted hotspots come first, in their order, with their calls and places."""
    profile = asking(service, 3.0, "/mixed", "/waited", clock="cpu")

    own = [one.frame.function for one in profile.functions if not one.frame.function.startswith("time.")]
    assert own[:2] == ["price", "stock"]
    assert "render" in own[:5]
    mixed = of_endpoint(profile, "GET /mixed")
    answered = next(one.count for one in profile.requests if one.endpoint == "GET /mixed")
    assert abs(mixed["price"].count - answered) <= 3
    assert mixed["price"].frame.file == planted.__file__
    assert mixed["price"].frame.line > 0
    assert "price" not in of_endpoint(profile, "GET /waited")
    assert any("yappi looks at every call" in note for note in profile.notes)


def test_blocking_calls_and_waits_by_endpoint(service: Running) -> None:
    """By the wall clock each endpoint's time stands at what it called: blocking calls of C, and awaits."""
    profile = asking(service, 3.0, "/slept", "/fetched", "/waited")

    assert of_endpoint(profile, "GET /slept")["time.sleep"].own > 0.1
    fetched = of_endpoint(profile, "GET /fetched")
    assert max(fetched.values(), key=lambda one: one.own).frame.function == "_socket.socket.recv_into"
    assert fetched["requests.get"].total > 0.1
    assert of_endpoint(profile, "GET /waited")["asyncio.sleep"].own > 0.1
    assert {one.endpoint for one in profile.requests} == {"GET /slept", "GET /fetched", "GET /waited"}


def test_only_one_endpoint_by_its_template(service: Running) -> None:
    """With an endpoint, nothing else is in the profile; requests are named by their route's template."""
    profile = asking(service, 1.5, "/apart/1", "/apart/2", "/waited", endpoint="GET /apart/{number}")

    assert {one.endpoint for one in profile.functions} == {"GET /apart/{number}"}
    assert [one.endpoint for one in profile.requests] == ["GET /apart/{number}"]


def test_functions_in_threads_are_of_their_request(service: Running) -> None:
    """What a plain `def` handler calls in its thread is of its endpoint."""
    profile = asking(service, 1.5, "/threaded", clock="cpu")

    assert of_endpoint(profile, "GET /threaded")["price"].own > 0.01


def test_somebody_elses_yappi_is_left_alone(service: Running) -> None:
    """Where yappi runs already nothing is captured, and it runs on."""
    yappi.start()
    try:
        with pytest.raises(InvalidMeasurement, match="somebody else"):
            asyncio.run(capture(monitor_of(service), service.loop, CaptureOptions(engine="yappi", seconds=1.0)))
        assert yappi.is_running()
    finally:
        yappi.stop()
        yappi.clear_stats()


def test_a_cancelled_capture_leaves_nothing(service: Running) -> None:
    """Cancelling stops yappi, forgets what it has counted and puts the task factory back."""
    factory = service.loop.get_task_factory()

    async def cancelled() -> None:
        settings = CaptureOptions(engine="yappi", seconds=60.0)
        task = asyncio.create_task(capture(monitor_of(service), service.loop, settings))
        while not yappi.is_running():
            await asyncio.sleep(0.01)
        assert service.loop.get_task_factory() is not factory
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(cancelled())

    assert not yappi.is_running()
    assert yappi.get_func_stats().empty()
    assert service.loop.get_task_factory() is factory
    assert threading.getprofile() is None
    assert service.ledger.on


def test_twenty_captures_in_a_row(service: Running) -> None:
    """Twenty captures under load fail no request and leave the app's task factory as it was."""
    factory = service.loop.get_task_factory()
    monitor = monitor_of(service)
    with asked(service.port, "/waited", "/gathered", "/threaded", "/streamed", connections=4) as counts:
        for _ in range(20):
            asyncio.run(capture(monitor, service.loop, CaptureOptions(engine="yappi", seconds=0.1)))
    assert counts["failed"] == 0
    assert counts["answered"] > 10
    assert service.loop.get_task_factory() is factory
    assert not yappi.is_running()
