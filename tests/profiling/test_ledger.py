"""The ledger's engine on a real service under uvicorn: hotspots, blocking calls and waits that were planted."""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from hasten.ledger import Account, StackCapture, install, ledger_of
from hasten.profiling import CaptureOptions, Profile, Stack
from hasten.profiling._ledger import capture

from . import planted
from .services import LoopFactory, Running, asked, running

pytestmark = pytest.mark.may_block


@pytest.fixture
def service(loop_factory: LoopFactory) -> Iterator[Running]:
    """Serve the planted app on each kind of loop."""
    with planted.slow_upstream() as upstream, running(planted.planted(upstream), loop_factory) as service:
        yield service


def captured(service: Running, seconds: float, **options: object) -> Profile:
    """Return a profile, made in this thread's own loop."""
    return asyncio.run(capture(service.ledger, service.loop, CaptureOptions(seconds=seconds, **options)))  # type: ignore[arg-type]


def asking(service: Running, seconds: float, *targets: str, connections: int = 2, **options: object) -> Profile:
    """Return a profile of the service while it is asked; no request may fail."""
    with asked(service.port, *targets, connections=connections) as counts:
        profile = captured(service, seconds, **options)
    assert counts["failed"] == 0
    assert counts["answered"] > 0
    return profile


def seconds(profile: Profile, kind: str, function: str, *, endpoint: str = "") -> float:
    """Return the seconds of one kind in stacks that a function is on."""
    return sum(
        stack.seconds
        for stack in profile.stacks
        if stack.kind == kind and function in names(stack) and endpoint in {"", stack.endpoint}
    )


def names(stack: Stack) -> list[str]:
    """Return the last part of each frame's name."""
    return [frame.function.rpartition(".<locals>.")[2] for frame in stack.frames]


def largest(profile: Profile, endpoint: str, kind: str) -> list[str]:
    """Return the names on the stack in which an endpoint has spent the most time of one kind."""
    found = [stack for stack in profile.stacks if stack.endpoint == endpoint and stack.kind == kind]
    assert found, [(stack.endpoint, stack.kind) for stack in profile.stacks]
    return names(max(found, key=lambda stack: stack.seconds))


@pytest.mark.parametrize(
    ("over", "points"), [pytest.param(20.0, 0.03, marks=pytest.mark.soak, id="20s"), pytest.param(3.0, 0.12, id="3s")]
)
def test_shares_of_cpu_are_the_true_ones(over: float, points: float, service: Running) -> None:
    """Over 20 s the shares of three planted hotspots are within 3 points of those of the thread's CPU clock.

    With the machine to itself: `make soak`. A few seconds beside others show which is largest.
    """
    with asked(service.port, "/mixed", "/apart/1", "/apart/2", connections=3) as counts:
        asyncio.run(asyncio.sleep(0.5))
        before, started = dict(planted.CPU), _cpu(service)
        profile = captured(service, over)
        whole = _cpu(service) - started
        true = {name: planted.CPU[name] - before[name] for name in planted.CPU}
    assert counts["failed"] == 0

    spent = sum(stack.seconds for stack in profile.stacks if stack.kind == "computing")
    for name, cpu in true.items():
        assert seconds(profile, "computing", name) / spent == pytest.approx(cpu / whole, abs=points), name
    top = sorted(true, key=lambda name: -seconds(profile, "computing", name))
    assert top == ["price", "stock", "render"]
    assert 0.8 * whole < spent < 1.2 * whole


def _cpu(service: Running) -> float:
    """Return the CPU seconds that the loop's thread has used."""
    return time.clock_gettime(time.pthread_getcpuclockid(service.thread))


def test_blocking_calls_are_named(service: Running) -> None:
    """What blocks the loop most is the planted `time.sleep` and `requests.get`, at their lines."""
    profile = asking(service, 3.0, "/slept", "/fetched", "/waited")

    assert largest(profile, "GET /slept", "blocking") == ["slept"]
    assert largest(profile, "GET /fetched", "blocking")[:2] == ["fetched", "requests.get"]
    blocking = [stack for stack in profile.stacks if stack.kind == "blocking"]
    assert {names(stack)[0] for stack in blocking[:2]} == {"slept", "fetched"}
    held = {name for stack in profile.stacks if stack.kind in {"held", "unread"} for name in names(stack)}
    assert {"slept", "fetched"} <= held


def test_short_blocking_is_no_computing(service: Running) -> None:
    """A step of 2 ms that sleeps counts as blocking."""
    profile = asking(service, 2.0, "/napped")

    assert largest(profile, "GET /napped", "blocking") == ["napped"]
    assert seconds(profile, "computing", "napped") < 0.2 * seconds(profile, "blocking", "napped")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_steps_within_steps_have_their_clocks(service: Running) -> None:
    """What a task that starts eagerly computes within its maker's step counts as computing, once."""
    profile = asking(service, 2.0, "/eager", connections=1)

    computing = seconds(profile, "computing", "spin", endpoint="GET /eager")
    assert computing > 10 * sum(stack.seconds for stack in profile.stacks if stack.kind == "blocking")
    assert computing < 2.2


@pytest.mark.parametrize(
    ("path", "chain"),
    [
        ("/waited", ["waited", "service", "repository", "asyncio.sleep"]),
        ("/gathered", ["gathered", "asyncio.gather", "child", "service", "repository", "asyncio.sleep"]),
        ("/grouped", ["grouped", "asyncio.TaskGroup.create_task", "child", "service", "repository", "asyncio.sleep"]),
        ("/streamed", ["streamed.<locals>.parts", "service", "repository", "asyncio.sleep"]),
    ],
)
def test_the_whole_chain_of_a_wait(service: Running, path: str, chain: list[str]) -> None:
    """A wait names each function of the user's from the handler to the call that waits, over tasks of the request."""
    profile = asking(service, 1.0, path)

    whole = largest(profile, f"GET {path}", "waiting")
    assert whole == [name.rpartition(".<locals>.")[2] for name in chain]


def test_functions_in_threads_are_seen_inside(service: Running) -> None:
    """A plain `def` handler's time in its thread stands at what it calls there."""
    profile = asking(service, 2.0, "/threaded")

    assert largest(profile, "GET /threaded", "thread")[:2] == ["threaded", "price"]


def test_functions_of_a_pool_stand_below_who_has_called_for_them(service: Running) -> None:
    """A task that runs nothing but `ThreadPool.run` is seen through: the handler is above the function."""
    profile = asking(service, 2.0, "/pooled")

    assert largest(profile, "GET /pooled", "thread")[:3] == ["pooled", "hasten.gather", "price"]


def test_only_one_endpoint(service: Running) -> None:
    """With an endpoint, nothing else is in the profile."""
    profile = asking(service, 1.0, "/mixed", "/waited", endpoint="GET /waited")

    assert {stack.endpoint for stack in profile.stacks} == {"GET /waited"}
    assert [one.endpoint for one in profile.requests] == ["GET /waited"]
    assert profile.answered > 0


@pytest.mark.parametrize(("path", "function", "kind"), [("held", "held", "blocking"), ("spun", "spin", "computing")])
def test_a_blocked_loop_is_named(service: Running, path: str, function: str, kind: str) -> None:
    """What has blocked the loop before a capture began, and still does when it ends, is named, with its endpoint."""
    with asked(service.port, f"/{path}/3", connections=1) as counts:
        _until(lambda: any(_stands_in(service, name) for name in ("held", "spun")))
        began = time.monotonic()
        profile = captured(service, 1.0)
        assert time.monotonic() - began < 2.5
    assert counts["failed"] == 0

    spent = seconds(profile, kind, function, endpoint=f"GET /{path}/{{seconds}}")
    assert spent > 0.2  # of CPU time there may be little on a busy machine
    assert profile.notes


def _until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)


def _stands_in(service: Running, function: str) -> bool:
    frame = sys._current_frames().get(service.thread)
    while frame is not None:
        if frame.f_code.co_name == function:
            return True
        frame = frame.f_back
    return False


def test_a_loop_that_is_blocked_at_the_end_is_named(service: Running) -> None:
    """A request that began within the capture and blocks the loop at its end is named, too."""
    with asked(service.port, "/waited", "/held/1.5", connections=1) as counts:
        profile = captured(service, 1.0)
    assert counts["failed"] == 0

    assert seconds(profile, "blocking", "held") > 0.5


def test_fifty_captures_in_a_row(service: Running) -> None:
    """Fifty captures under load leave nothing behind: no failed request, hook, thread or memory."""
    loop, ledger = service.loop, service.ledger
    factory, submit, interval = loop.get_task_factory(), ThreadPoolExecutor.submit, sys.getswitchinterval()
    threads, callbacks = threading.active_count(), len(gc.callbacks)
    with asked(service.port, "/waited", "/gathered", "/threaded", "/streamed", "/mixed", connections=4) as counts:
        for _ in range(50):
            assert captured(service, 0.1).engine == "ledger"
    assert counts["failed"] == 0
    assert counts["answered"] > 50

    assert loop.get_task_factory() is factory
    assert ThreadPoolExecutor.submit is submit
    assert sys.getswitchinterval() == interval
    assert len(gc.callbacks) == callbacks
    _until(lambda: threading.active_count() <= threads + 4)  # anyio keeps its workers
    assert not [thread for thread in threading.enumerate() if thread.name == "hasten-sampler"]
    assert ledger._threads.tables == (ledger.sites,)
    _until(lambda: not _left())


def _left() -> bool:
    gc.collect()
    return any(isinstance(thing, StackCapture) for thing in gc.get_objects())


def test_the_ledger_goes_on_afterwards(loop_factory: LoopFactory) -> None:
    """The app's own ledger, which recorded before a capture, records after it, and no capture's request is told."""
    accounts: list[Account] = []
    with running(planted.planted(), loop_factory, sample_every=1, listeners=[accounts.append]) as service:
        with asked(service.port, "/gathered", "/threaded", "/streamed") as counts:
            _until(lambda: len(accounts) >= 3)
            profile = captured(service, 0.5)
            again = captured(service, 0.5)
        assert counts["failed"] == 0
        assert not any("early" in note for note in (*profile.notes, *again.notes))
        before = _settled(accounts)
        with asked(service.port, "/waited", connections=1) as counts:
            _until(lambda: len(accounts) >= before + 3)
        assert counts["failed"] == 0
        assert service.ledger.on
    assert profile.answered > 3
    assert accounts[-1].endpoint == "GET /waited"


def _settled(accounts: list[Account]) -> int:
    time.sleep(0.2)  # accounts wait for each other for 50 ms
    return len(accounts)


def test_a_cancelled_capture_puts_everything_back(service: Running) -> None:
    """Cancelling a capture ends it at once and gives back what was lent."""

    async def cancelled() -> None:
        task = asyncio.create_task(capture(service.ledger, service.loop, CaptureOptions(seconds=60.0)))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(cancelled())

    attached = service.ledger.loop(service.loop)
    assert attached is not None
    assert attached.factory.state is attached.state
    assert asking(service, 1.0, "/waited").answered > 0


def test_the_app_may_end_meanwhile(loop_factory: LoopFactory) -> None:
    """When the app's loop is closed the capture ends, with what it has and a note."""
    with running(planted.planted(), loop_factory) as service:

        async def until_closed() -> Profile:
            task = asyncio.create_task(capture(service.ledger, service.loop, CaptureOptions(seconds=60.0)))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(service.stop)
            return await asyncio.wait_for(task, 20)

        profile = asyncio.run(until_closed())
    assert any("closed" in note for note in profile.notes)


def test_a_failure_inside_ends_the_capture_alone(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails inside ends the capture with a note; no request fails, and the ledger goes on."""

    def failing(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr("hasten.ledger._stacks.StackTable._waiting", failing)
    profile = asking(service, 1.0, "/waited")

    assert any("ValueError: broken" in note for note in profile.notes)
    assert profile.seconds < 1.0
    assert service.ledger.on


def test_a_server_that_is_not_known(loop_factory: LoopFactory) -> None:
    """Where the tasks of requests are not known as a server's, here a test client's, they are captured all the same."""
    app = planted.planted()
    install(app)

    async def main() -> Profile:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            await client.get("/waited")
            ledger, loop = ledger_of(app), asyncio.get_running_loop()
            assert ledger is not None
            task = asyncio.create_task(capture(ledger, loop, CaptureOptions(seconds=1.0)))
            while not task.done():
                answers = await asyncio.gather(client.get("/waited"), client.get("/grouped"))
                assert [answer.status_code for answer in answers] == [200, 200]
            ledger.detach(loop)
            return await task

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        profile = runner.run(main())
    assert largest(profile, "GET /waited", "waiting") == ["waited", "service", "repository", "asyncio.sleep"]
    assert "child" in largest(profile, "GET /grouped", "waiting")
