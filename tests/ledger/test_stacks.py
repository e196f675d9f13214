"""Whole stacks: every function of the user's from the outermost to the call that waits or runs, in bounded memory."""

import asyncio
import gc
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hasten
from hasten.ledger import Kind
from hasten.ledger._attribution import BLOCKING, COMPUTING, KINDS, PREEMPTED, THREAD, WAITING
from hasten.ledger._drive import DRIVER_CODE
from hasten.ledger._sampler import Look, Outside
from hasten.ledger._sites import OWN, START, YIELDED
from hasten.ledger._stacks import StackTable, StackTask
from hasten.ledger._tally import Tally
from hasten.ledger._watchdog import uncollected

Frames = tuple[tuple[str, str, int], ...]


def suspended(make: Callable[[], Any], table: StackTable | None = None) -> Frames:
    """Run a coroutine to its first suspension and return the stack of it."""
    table = table or StackTable()
    coroutine = make()
    awaited = coroutine.send(None)
    frames = table.frames(table.suspended(task_of(coroutine), awaited))
    coroutine.close()
    return frames


def task_of(coroutine: Any) -> StackTask:
    """Return the record of a task that runs a coroutine."""
    task = StackTask(coroutine, 0, 0, 0.0)
    task.origin, task.looks = START, []
    return task


def names(frames: Frames) -> list[str]:
    """Return the functions on a stack, without where they were defined."""
    return [function.rpartition(".<locals>.")[2] for function, _, _ in frames]


def library(file: str, source: str) -> dict[str, Any]:
    """Return what a library's source defines that would lie at `file`."""
    names: dict[str, Any] = {}
    exec(compile(source, file, "exec"), names)
    return names


class Pending:
    """Suspends once."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield self


async def repository() -> None:
    await asyncio.sleep(1e9)


async def service() -> None:
    await repository()


async def handler() -> None:
    await service()


async def in_loop(make: Callable[[], Any]) -> Frames:
    return suspended(make)


def test_all_functions_of_the_user_with_their_lines() -> None:
    """A wait's stack has each function of the user's, the outermost first, at its line; then the library's call."""
    frames = asyncio.run(in_loop(handler))

    assert names(frames) == ["handler", "service", "repository", "asyncio.sleep"]
    assert [file for _, file, _ in frames] == [__file__, __file__, __file__, ""]
    lines = [function.__code__.co_firstlineno + 1 for function in (handler, service, repository)]
    assert [line for _, _, line in frames] == [*lines, 0]


def test_the_task_goes_on_from_its_outermost_function() -> None:
    """Suspensions that follow are found from where the last one began, and a new call is told from one that goes on."""

    async def twice() -> None:
        await Pending()
        await service_of_two()

    async def service_of_two() -> None:
        await Pending()
        await Pending()

    table = StackTable()
    coroutine = twice()
    task = task_of(coroutine)
    found = []
    for _ in range(3):
        task.new_call = False
        found.append((names(table.frames(table.suspended(task, coroutine.send(None)))), task.new_call))
    coroutine.close()
    assert [stack for stack, _ in found] == [
        ["twice", "Pending.__await__", "await Pending"],
        ["twice", "service_of_two", "Pending.__await__", "await Pending"],
        ["twice", "service_of_two", "Pending.__await__", "await Pending"],
    ]


def test_a_library_between_two_functions_of_the_user_is_shown() -> None:
    """What a library calls back stands below the library's first function; what only passes calls on is left out."""
    retried = library(
        "/usr/lib/python3/site-packages/tenacious/core.py",
        "async def retry(function):\n    return await attempt(function)\n"
        "async def attempt(function):\n    return await function()\n",
    )["retry"]

    async def outer() -> None:
        await retried(repository)

    async def patient() -> None:
        await asyncio.wait_for(repository(), None)

    assert names(asyncio.run(in_loop(outer))) == ["outer", "tenacious.retry", "repository", "asyncio.sleep"]
    assert names(asyncio.run(in_loop(patient))) == ["patient", "repository", "asyncio.sleep"]


def test_an_asynchronous_generator_is_looked_through() -> None:
    """`async for` hides its generator behind an object of C; the generator's line is on the stack all the same."""

    async def numbers() -> Any:
        await repository()
        yield 1

    async def outer() -> None:
        async for _ in numbers():
            pass

    frames = asyncio.run(in_loop(outer))
    assert names(frames) == ["outer", "numbers", "repository", "asyncio.sleep"]
    assert frames[1][2] == numbers.__code__.co_firstlineno + 1


def test_a_part_of_hasten_names_its_wait() -> None:
    """A wait in hasten's own code ends the stack by the name that it gives itself."""
    within = library(
        str(Path(hasten.__file__).parent / "cache" / "_example.py"),
        "import asyncio\n"
        "class Tier:\n"
        "    wait_name = 'cache GET redis localhost:6379'\n"
        "    wait_identity = 'key'\n"
        "    async def get(self):\n"
        "        await asyncio.sleep(1e9)\n",
    )

    async def outer() -> None:
        await within["Tier"]().get()

    table = StackTable()

    async def main() -> Frames:
        return suspended(outer, table)

    frames = asyncio.run(main())
    assert names(frames) == ["outer", "cache GET redis localhost:6379"]
    assert [table.frames(site) for site in table.cache_waits] == [frames]


def test_giving_way_is_no_wait() -> None:
    """A task that only gave way has no stack."""
    coroutine = handler()
    assert StackTable().suspended(task_of(coroutine), None) == YIELDED
    coroutine.close()


def test_the_same_stack_is_kept_once() -> None:
    """The same stack has the same index, another line another one."""

    async def either(first: bool) -> None:  # noqa: FBT001
        if first:
            await Pending()
        else:
            await Pending()

    table = StackTable()
    for _ in range(3):
        suspended(lambda: either(True), table)  # noqa: FBT003
    once = len(table.sites)
    suspended(lambda: either(False), table)  # noqa: FBT003
    assert len(table.sites) == once + 1


def test_deep_recursion_is_cut_at_its_outer_end() -> None:
    """Of a stack of hundreds of frames the innermost are shown."""

    async def deeper(levels: int) -> None:
        await (deeper(levels - 1) if levels else repository())

    frames = asyncio.run(in_loop(lambda: deeper(300)))
    assert len(frames) == 128
    assert frames[0][0] == "(deeper)"
    assert names(frames)[-2:] == ["repository", "asyncio.sleep"]


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is made again and again fills no memory: stacks beyond the bound are of unknown own code."""
    monkeypatch.setattr("hasten.ledger._stacks._MOST_STACKS", 10)
    table = StackTable()
    for number in range(50):
        made = library("/app/made.py", f"async def made{number}(pending):\n    await pending\n")[f"made{number}"]
        coroutine = made(Pending())
        index = table.suspended(task_of(coroutine), coroutine.send(None))
        coroutine.close()
    assert index == OWN
    assert table.full
    assert len(table.sites) == 10


def test_a_running_stack() -> None:
    """What runs is shown from the outermost function of the user's to the innermost, and the library it is in."""
    table = StackTable()
    found: list[int] = []

    def key(number: int) -> int:
        found.append(table.standing(sys._getframe(), START, test_a_running_stack.__code__))
        return number

    def outer() -> None:
        sorted([1], key=key)

    outer()
    assert names(table.frames(found[0])) == ["outer", "key"]


def test_a_stack_stands_below_what_made_it() -> None:
    """A child's stack begins with its maker's."""
    table = StackTable()
    coroutine = handler()

    async def main() -> None:
        awaited = coroutine.send(None)
        made = table.suspended(task_of(coroutine), awaited)
        child = service()
        task = task_of(child)
        task.origin = made
        index = table.suspended(task, child.send(None))
        assert names(table.frames(index))[:4] == ["handler", "service", "repository", "asyncio.sleep"]
        assert names(table.frames(index))[4:] == ["service", "repository", "asyncio.sleep"]
        child.close()

    asyncio.run(main())
    coroutine.close()
    assert table.making(DRIVER_CODE, START) == START  # nothing recorded runs


def test_the_last_step_is_another_than_the_one_before_its_wait() -> None:
    """The own code before and behind a task's last wait are told apart, though both stand at its line."""
    table = StackTable()

    async def main() -> None:
        suspended(handler, table)

    asyncio.run(main())
    wait = len(table.sites) - 1
    before, behind = table.own(wait), table.last(wait)
    assert before != behind
    assert table.frames(before) == table.frames(behind)
    assert table.own_of[behind] == behind


# ---- adding up


def table_of(*stacks: str) -> tuple[StackTable, list[int]]:
    """Return a table with stacks of one function each, and their indexes."""
    table = StackTable()
    indexes = []
    for name in stacks:
        made = library("/app/made.py", f"async def {name}(pending):\n    await pending\n")[name]
        coroutine = made(Pending())
        indexes.append(table.suspended(task_of(coroutine), coroutine.send(None)))
        coroutine.close()
    return table, indexes


def tallied(table: StackTable, lines: list[tuple[int, float, int]], looks: dict[int, list[Look]]) -> dict[Any, float]:
    """Return seconds by kind and first function, of lines and of looks by the site at which their step ended."""
    tally = Tally(table, 0.01)
    tally.add("GET /", lines)
    for site, seen in looks.items():
        task = task_of(None)
        task.steps = [0.0, 0.0, 1e9, 0.0, site, -1]
        task.looks = seen
        tally.add_looks("GET /", [task], 1e9, lambda task, index: int(task.steps[4]))
    return {(stack.kind, stack.frames[0][0]): stack.seconds for stack in tally.stacks()}


def test_looks_divide_the_seconds_of_their_steps() -> None:
    """Own code has the seconds of its steps, by ticks; what was never seen stays where the step ended."""
    table, (first, second, one, other) = table_of("first", "second", "one", "other")
    lines = [(first * KINDS + COMPUTING, 4.0, 9), (second * KINDS + COMPUTING, 1.0, 1)]
    looks = [Look(1.0, one, False, 1), Look(2.0, one, False, 1), Look(3.0, other, False, 2)]  # noqa: FBT003

    found = tallied(table, lines, {first: looks})
    assert found == {
        (Kind.COMPUTING, "one"): 2.0,
        (Kind.COMPUTING, "other"): 2.0,
        (Kind.COMPUTING, "second"): 1.0,
    }


def test_clocks_tell_blocking_from_computing() -> None:
    """What the clocks say is blocked goes to the stacks that were seen blocked, the rest to those at work."""
    table, (first, one, other) = table_of("first", "one", "other")
    lines = [(first * KINDS + COMPUTING, 1.0, 1), (first * KINDS + BLOCKING, 0.06, 1)]
    looks = [Look(1.0, one, False, 2), Look(2.0, other, True, 5)]  # noqa: FBT003

    found = tallied(table, lines, {first: looks})
    assert found == {(Kind.COMPUTING, "one"): 1.0, (Kind.BLOCKING, "other"): 0.06}


def test_waiting_for_the_lock_is_not_blocking() -> None:
    """Of the time off the CPU what was seen asleep is blocking; in the rest another thread had the lock."""
    table, (first, one, other) = table_of("first", "one", "other")
    lines = [(first * KINDS + COMPUTING, 1.0, 1), (first * KINDS + BLOCKING, 0.5, 1)]
    looks = [Look(1.0, one, False, 100), Look(2.0, other, True, 9)]  # noqa: FBT003

    found = tallied(table, lines, {first: looks})
    assert found == {
        (Kind.COMPUTING, "one"): 1.0,
        (Kind.BLOCKING, "other"): pytest.approx(0.09),
        (Kind.PREEMPTED, "one"): pytest.approx(0.41),
    }
    assert tallied(table, lines, {}) == {(Kind.COMPUTING, "first"): 1.0, (Kind.BLOCKING, "first"): 0.5}


@given(
    st.lists(st.tuples(st.sampled_from((COMPUTING, BLOCKING, PREEMPTED, WAITING, THREAD)), st.floats(0.0, 10.0))),
    st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.integers(1, 9))),
)
def test_no_second_is_lost_or_made(lines: list[tuple[int, float]], seen: list[tuple[int, bool, int]]) -> None:
    """Whatever was seen, the seconds of an endpoint's stacks are those of its lines."""
    table, (site, *stacks) = table_of("site", "one", "other")
    looks = [Look(float(number), stacks[which], blocked, ticks) for number, (which, blocked, ticks) in enumerate(seen)]

    found = tallied(table, [(site * KINDS + kind, spent, 1) for kind, spent in lines], {site: looks})
    assert sum(found.values()) == pytest.approx(sum(spent for _, spent in lines))


def test_what_is_left_of_the_threads_cpu_is_the_loops() -> None:
    """CPU time that no stack has is the loop's and the server's; a loop that only waits has spent nothing."""
    table, (one,) = table_of("one")
    source = "import sys\ndef waits():\n    return sys._getframe()\n"
    waits = library("/usr/lib/python3/site-packages/someloop/core.py", source)["waits"]
    idle = table.standing(waits(), START, test_what_is_left_of_the_threads_cpu_is_the_loops.__code__)
    tally = Tally(table, 0.01)
    tally.add_outside("", Outside(one, False, 50, None))  # noqa: FBT003
    tally.add_outside("", Outside(idle, True, 50, None))  # noqa: FBT003

    found = {stack.frames[0][0]: stack.seconds for stack in tally.stacks(2.0)}
    assert found == {"one": pytest.approx(0.5), "(the loop and the server)": pytest.approx(1.5)}


def test_endpoints_are_bounded() -> None:
    """Paths that nobody knows fill no memory: of more than 200 endpoints the last are one."""
    table, (one,) = table_of("one")
    tally = Tally(table, 0.01)
    for number in range(300):
        for matched in (True, False):
            name = tally.name(f"GET /{matched}/{number}", matched=matched)
            tally.add(name, [(one * KINDS + WAITING, 1.0, 1)])
    assert len(tally.answered()) == 201
    assert sum(name.startswith("GET /False") for name in tally.answered()) == 50
    assert tally.answered()["other"] == 400


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="collections begin between two instructions alone")
def test_no_collection_begins_while_frames_are_looked_at() -> None:
    """While another thread's frames are looked at no garbage is collected; afterwards it is as it was before."""
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
