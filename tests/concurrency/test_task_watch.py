"""A watch finds tasks and coroutines that nobody looks after, tells their lines, and leaves all others alone."""

import asyncio
import functools
import gc
import logging
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from math import inf
from typing import Any

import pytest

from hasten._core.errors import ConfigurationError
from hasten.concurrency import Background, Stray, TaskWatch, gather
from hasten.ledger import Ledger
from tests.conftest import LoopFactory

Run = Callable[[Coroutine[Any, Any, None]], None]
HERE = "tests/concurrency/test_task_watch.py"


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run]:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """Have sites told from the project's folder, wherever the tests are run."""
    monkeypatch.chdir(pytestconfig.rootpath)


@pytest.fixture
def watch(in_the_project: None) -> TaskWatch:
    """Return a watch that looks when a test tells it to, and knows all lines."""
    return TaskWatch(3600.0, origins=inf)


async def never() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


async def fail(text: str = "gone") -> None:
    raise LookupError(text)


async def settle() -> None:
    """Let tasks run, and what is garbage be collected."""
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)


def above() -> int:
    """Return the line above the caller's."""
    return sys._getframe(1).f_lineno - 1


def quiet(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Have a handler of the app's take the loop's errors; returns where it writes their messages."""
    messages: list[str] = []
    loop.set_exception_handler(lambda _, context: messages.append(context["message"]))
    return messages


def test_an_error_that_nobody_has_seen(run: Run, watch: TaskWatch) -> None:
    """It is found with the line that made the task, and the app's own handler still hears of it."""

    async def main() -> None:
        told: list[Stray] = []
        messages = quiet(asyncio.get_running_loop())
        async with watch:
            watch.add_hook(told.append)
            for _ in range(2):
                asyncio.get_running_loop().create_task(fail())
                here = above()
            await settle()
            assert told == watch_of("failed", here, "fail", "LookupError: gone")
            assert watch.strays() == (told[-1],)
            assert watch.statistics().failed == 2
        assert messages == ["Task exception was never retrieved"] * 2

    def watch_of(kind: Any, here: int, coroutine: str, error: str) -> list[Stray]:
        site = f"{HERE}:{here} main"
        return [Stray(kind, site, coroutine, error, count) for count in (1, 2)]

    run(main())


def test_a_task_that_was_collected(run: Run, watch: TaskWatch) -> None:
    """One that is destroyed before it has ended is found with its line."""

    async def main() -> None:
        messages = quiet(asyncio.get_running_loop())
        async with watch:
            asyncio.get_running_loop().create_task(never())
            here = above()
            await settle()
            (stray,) = watch.strays()
            assert (stray.kind, stray.site, stray.coroutine) == ("destroyed", f"{HERE}:{here} main", "never")
        assert messages == ["Task was destroyed but it is pending!"]

    run(main())


@pytest.mark.parametrize("action", ["ignore", "always"])
def test_a_coroutine_that_was_never_awaited(run: Run, watch: TaskWatch, action: Any) -> None:
    """It is found whatever the filters of warnings say, and the warning follows as they say."""

    async def main() -> None:
        async with watch:
            with warnings.catch_warnings(record=True) as shown:
                warnings.simplefilter(action)
                for _ in range(2):
                    never()  # type: ignore[unused-coroutine]
                    here = above()
            (stray,) = watch.strays()
            assert (stray.kind, stray.site, stray.count) == ("never-awaited", f"{HERE}:{here} main", 2)
            assert len(shown) == (2 if action == "always" else 0)

    run(main())


def test_tasks_that_nobody_holds(run: Run, watch: TaskWatch) -> None:
    """A task that only what it waits for refers to is found once it has been so in two looks, and counted once."""

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        async with watch:
            for gate in gates[:2]:
                asyncio.get_running_loop().create_task(gate.wait())
                here = above()
            await settle()
            watch._look()
            assert watch.strays() == ()
            asyncio.get_running_loop().create_task(gates[2].wait())  # not there at the first look
            for _ in range(3):
                watch._look()
                (stray, *others) = watch.strays()
                assert (stray.kind, stray.site, stray.coroutine) == ("unheld", f"{HERE}:{here} main", "Event.wait")
                assert stray.count == 2
            assert [each.count for each in others] == [1]
            for gate in gates:
                gate.set()
            await settle()

    run(main())


def test_tasks_that_somebody_holds_are_no_strays(run: Run, watch: TaskWatch) -> None:
    """Whatever keeps a task in one of the usual ways is not reported, however often it is looked for."""

    async def main() -> None:
        gate = asyncio.Event()

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(gate.wait())
                tasks.create_task(gate.wait())

        async def child() -> None:
            await asyncio.get_running_loop().create_task(gate.wait())

        async with watch, Background() as background:
            kept = [asyncio.create_task(each) for each in (group(), child(), wait_for(gate), all_of(gate))]
            background.keep(gate.wait())
            by_callback = {asyncio.create_task(gate.wait())}
            for each in by_callback:
                each.add_done_callback(by_callback.discard)
            del each
            for _ in range(3):
                await settle()
                watch._look()
            assert watch.strays() == ()
            gate.set()
            await asyncio.gather(*kept)

    async def wait_for(gate: asyncio.Event) -> None:
        await asyncio.wait_for(gate.wait(), 60)

    async def all_of(gate: asyncio.Event) -> None:
        await asyncio.gather(gate.wait(), gate.wait())
        await gather(gate.wait(), gate.wait())

    run(main())


def test_packages_tasks_are_left_out(run: Run, watch: TaskWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a library's tasks that nobody holds, of which the app knows nothing, nothing is said."""
    namespace: dict[str, Any] = {}
    source = "import asyncio\ndef begin(wait):\n    asyncio.get_running_loop().create_task(wait())\n"
    exec(compile(source, "/usr/lib/python3/site-packages/library/tasks.py", "exec"), namespace)

    async def main() -> None:
        gate = asyncio.Event()
        async with watch:
            namespace["begin"](gate.wait)
            for _ in range(3):
                await settle()
                watch._look()
            assert watch.strays() == ()
            gate.set()
            await settle()

    run(main())


def test_the_line_behind_the_ledgers_driver(run: Run, watch: TaskWatch) -> None:
    """In a request that the ledger records a task's line is its own, or its name where no more is left of it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        quiet(loop)
        ledger = Ledger(sample_every=1)
        ledger.attach(loop)
        lines: list[int] = []
        gate, begin = asyncio.Event(), loop.create_task

        async def run_asgi() -> None:
            begin(fail())
            lines.append(above())
            begin(gate.wait())
            lines.append(above())
            begin(never())
            for _ in range(3):
                await asyncio.sleep(0)

        run_asgi.__qualname__ = "RequestResponseCycle.run_asgi"
        async with watch:
            await loop.create_task(run_asgi())
            for _ in range(2):
                await settle()
                watch._look()
            found = {stray.kind: (stray.site.partition(" ")[0], stray.coroutine) for stray in watch.strays()}
            gate.set()
            await settle()
        ledger.detach(loop)
        assert found["failed"] == (f"{HERE}:{lines[0]}", "fail")
        assert found["unheld"] == (f"{HERE}:{lines[1]}", "Event.wait")
        assert found["destroyed"] == ("never", "never")

    run(main())


def test_each_line_is_logged_once(run: Run, watch: TaskWatch, caplog: pytest.LogCaptureFixture) -> None:
    """The first stray of a line is a warning that says what to do; a thousand of them are no thousand lines."""

    async def main() -> None:
        quiet(asyncio.get_running_loop())
        async with watch:
            for _ in range(1000):
                asyncio.get_running_loop().create_task(fail("a\nb"))
            await settle()
            assert watch.statistics().failed == 1000

    with caplog.at_level(logging.WARNING, "hasten.concurrency"):
        run(main())
    (record,) = caplog.records
    assert record.message.startswith(HERE)
    assert "fail: LookupError: a b: a task failed" in record.message
    assert "Background.keep" in record.message


def test_it_puts_back_what_was_there(run: Run, watch: TaskWatch) -> None:
    """After the watch the loop's handler, Python's warning and the memory of origins are as before."""

    def warner() -> Any:
        return getattr(warnings, "_warn_unawaited_coroutine", None)

    async def main() -> None:
        loop, before = asyncio.get_running_loop(), warner()
        for own in (None, lambda *_: None):
            loop.set_exception_handler(own)
            for _ in range(2):
                async with watch:
                    assert loop.get_exception_handler() != own
                    assert sys.get_coroutine_origin_tracking_depth() == 1
                    assert warner() != before
                assert loop.get_exception_handler() is own
                assert sys.get_coroutine_origin_tracking_depth() == 0
                assert warner() == before

    run(main())


def test_an_app_that_starts_again(run: Run, watch: TaskWatch) -> None:
    """A watch finds as much when it is started again, also if somebody has wrapped its warning meanwhile."""
    name = "_warn_unawaited_coroutine"

    async def main() -> None:
        before = getattr(warnings, name)
        for number in range(1, 4):
            async with watch:
                never()  # type: ignore[unused-coroutine]
                if number == 2:
                    ours = getattr(warnings, name)
                    setattr(warnings, name, functools.partial(ours))
            assert watch.statistics().never_awaited == number
        setattr(warnings, name, ours)
        async with watch:
            pass
        assert getattr(warnings, name) is before

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(main())


def test_a_handler_set_later_stays(run: Run, watch: TaskWatch) -> None:
    """An app that sets its own while it is watched keeps it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with watch:
            messages = quiet(loop)
            own = loop.get_exception_handler()
        assert loop.get_exception_handler() is own
        assert messages == []

    run(main())


def test_without_origins_sites_are_definitions(run: Run) -> None:
    """Where Python is never to remember lines, the site is that of the coroutine function."""
    watch = TaskWatch(inf, origins=0)

    async def main() -> None:
        quiet(asyncio.get_running_loop())
        async with watch:
            assert sys.get_coroutine_origin_tracking_depth() == 0
            asyncio.get_running_loop().create_task(fail())
            await settle()
            (stray,) = watch.strays()
            assert stray.site == f"{HERE}:{fail.__code__.co_firstlineno} fail"

    run(main())


def test_the_line_comes_with_the_next_one(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is remembered until a stray is found; then lines are, for a while, and the next one is told with its."""
    watch = TaskWatch(inf, origins=3600.0)

    async def main() -> None:
        quiet(asyncio.get_running_loop())
        async with watch:
            for expected in (0, 1, 1):
                assert sys.get_coroutine_origin_tracking_depth() == expected
                asyncio.get_running_loop().create_task(fail())
                here = above()
                await settle()
            assert [(stray.site, stray.count) for stray in watch.strays()] == [
                (f"{HERE}:{fail.__code__.co_firstlineno} fail", 1),
                (f"{HERE}:{here} main", 2),
            ]
        assert sys.get_coroutine_origin_tracking_depth() == 0

    with caplog.at_level(logging.WARNING, "hasten.concurrency"):
        run(main())
    assert len(caplog.records) == 2


def test_lines_are_remembered_for_a_while(run: Run) -> None:
    """The memory is off again after its time, and is put on five times for one definition."""
    watch = TaskWatch(inf, origins=0.001)

    async def main() -> None:
        loop, windows = asyncio.get_running_loop(), 0
        async with watch:
            for _ in range(8):
                watch._tell(Stray("failed", "app.py:1 work", "work", "", 2), known=False)
                windows += sys.get_coroutine_origin_tracking_depth()
                over = loop.create_future()
                loop.call_later(0.01, over.set_result, None)
                await over
                assert sys.get_coroutine_origin_tracking_depth() == 0
        assert windows == 5

    run(main())


def test_it_watches_one_loop(run: Run, watch: TaskWatch) -> None:
    """A second start is refused, and a second stop does nothing."""

    async def main() -> None:
        watch.start()
        with pytest.raises(RuntimeError, match="a loop already"):
            watch.start()
        watch.stop()
        watch.stop()

    run(main())


def test_a_hook_that_raises_harms_nobody(run: Run, watch: TaskWatch) -> None:
    """The others are told, and the loop's handler hears of it."""

    def broken(_: Stray) -> None:
        raise RuntimeError

    async def main() -> None:
        told: list[Stray] = []
        messages = quiet(asyncio.get_running_loop())
        async with watch:
            watch.add_hook(broken)
            watch.add_hook(told.append)
            asyncio.get_running_loop().create_task(fail())
            await settle()
        assert [stray.kind for stray in told] == ["failed"]
        assert messages == ["Task exception was never retrieved", "hasten.concurrency: a hook raised"]

    run(main())


def test_it_goes_on_to_the_next_loop(watch: TaskWatch, loop_factory: LoopFactory) -> None:
    """A loop that was closed under it does not keep it from watching another; what it found stays."""

    async def main() -> None:
        watch.start()
        quiet(asyncio.get_running_loop())
        asyncio.get_running_loop().create_task(never())
        await asyncio.sleep(0)

    for _ in range(2):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
    watch.stop()
    sys.set_coroutine_origin_tracking_depth(0)
    assert watch.strays() == ()


@pytest.mark.parametrize("make", [lambda: TaskWatch(0.0), lambda: TaskWatch(origins=-1), lambda: TaskWatch(most=0)])
def test_what_is_no_watch(make: Callable[[], TaskWatch]) -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="must be"):
        make()
