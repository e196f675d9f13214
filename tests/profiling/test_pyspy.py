"""The engine that looks from outside: what it names is what takes the time, and it leaves nothing behind."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hasten._core.errors import MissingDependency, TargetUnreachable
from hasten.profiling import CaptureOptions, Profile
from hasten.profiling import _pyspy as pyspy
from hasten.profiling._pyspy import record

pytestmark = pytest.mark.may_block

SPIED = Path(__file__).with_name("spied.py")
MINE = str(SPIED)
Start = Callable[[str], "Spied"]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Spied:
    """A running spied.py."""

    def __init__(self, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SPIED), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> dict[str, float]:
        """Return the shares that it has measured itself."""
        said, _ = self.process.communicate("", timeout=30)
        shares: dict[str, float] = json.loads(said.splitlines()[-1])
        return shares


@pytest.fixture
def spied() -> Iterator[Start]:
    """Return a function that starts a process to be looked at."""
    started: list[Spied] = []

    def start(kind: str) -> Spied:
        started.append(Spied(kind))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def recorded(pid: int, **settings: Any) -> Profile:
    return asyncio.run(record(pid, CaptureOptions(engine="py-spy", **settings).checked()))


def shares(profile: Profile, *functions: str) -> dict[str, float]:
    """Return the part of all seconds in which each function is on the stack."""
    return {
        function: sum(s.seconds for s in profile.stacks if any(f.function == function for f in s.frames))
        / profile.spent
        for function in functions
    }


def functions(profile: Profile) -> set[str]:
    return {frame.function for stack in profile.stacks for frame in stack.frames}


# ---- what it sees


@pytest.mark.timeout(120)
def test_hotspots_have_their_true_share_of_the_cpu(spied: Start) -> None:
    """Over 20 s each of three hotspots has its share of the CPU time, as the process measures it, within 5 points."""
    for _ in range(3):
        process = spied("work")
        profile = recorded(process.pid, seconds=20, clock="cpu", rate=200)
        truth = process.end()
        if not any("the machine is too busy" in note for note in profile.notes):
            break
    else:
        pytest.skip("the machine is too busy: threads that ran waited long for a core, as each profile says")
    assert set(truth) == {"Basket.price", "stock", "render"}
    assert shares(profile, *truth) == pytest.approx(truth, abs=0.05)


def test_the_wall_clock_shows_what_blocks(spied: Start) -> None:
    """Blocking calls, which take no CPU, have their share of the time; frames say function, file and line."""
    process = spied("work")
    profile = recorded(process.pid, seconds=3, clock="wall")
    of_main = [stack for stack in profile.stacks if stack.frames[-1].function.startswith("blocked_")]
    assert {stack.frames[-1].function for stack in of_main} == {"blocked_asleep", "blocked_by_a_peer"}
    assert profile.clock == "wall"
    assert all(frame.file == MINE and frame.line > 0 for stack in of_main for frame in stack.frames)
    assert profile.spent == pytest.approx(2 * profile.seconds, rel=0.3)  # of two threads, in wall-clock seconds each
    assert (profile.engine, profile.interval, profile.labels["pid"]) == ("py-spy", 0.01, str(process.pid))


def test_threads_that_sleep_take_no_cpu(spied: Start) -> None:
    """Threads that are only woken by being looked at do not count as running, whatever py-spy's samples say."""
    profile = recorded(spied("rest").pid, seconds=4, clock="cpu")
    idle = shares(profile, "concurrent._worker")["concurrent._worker"]
    assert idle < 0.1
    assert shares(profile, "stock")["stock"] > 0.6


def test_what_stands_around_the_stacks_is_named_alike_in_each_run(spied: Start) -> None:
    """Threads have their names, processes numbers, and no frame tells an id or a command line."""
    process = spied("parent")
    profile = recorded(process.pid, seconds=2, clock="wall", threads=True, subprocesses=True)
    heads = {
        tuple(f.function for f in s.frames if f.function.startswith(("process", "thread "))) for s in profile.stacks
    }
    assert heads >= {("process 1", "thread MainThread"), ("process 1", "thread my; reader")}
    assert {"process 2", "Basket.price"} <= functions(profile)
    assert any(note.startswith(f"Process 1 is PID {process.pid}, process 2 is PID ") for note in profile.notes)
    assert "hunter2" not in str(profile)


def test_c_functions_are_of_their_library(spied: Start) -> None:
    """With `native` C functions are there, by name or at least by library; no address makes two runs differ."""
    profile = recorded(spied("work").pid, seconds=2, clock="wall", native=True)
    names = functions(profile)
    assert "Basket.price" in names
    assert any(name.startswith(("libc.", "[libc")) for name in names)
    assert not any("0x" in name for name in names)
    assert profile.labels["options"] == "native"


def test_the_lock_alone(spied: Start) -> None:
    """With `gil` a function that sleeps has next to nothing: it holds the lock as it goes to sleep and wakes alone."""
    profile = recorded(spied("work").pid, seconds=2, clock="cpu", gil=True)
    found = shares(profile, "Basket.price", "blocked_asleep")
    assert found["Basket.price"] > 0.3
    assert found["blocked_asleep"] < 0.02


def test_too_many_looks_are_ended_in_time(spied: Start) -> None:
    """py-spy that falls behind would go on for long: it is ended when its time is over, and the reader is told."""
    process = spied("deep")
    profile = recorded(process.pid, seconds=3, clock="wall", native=True, rate=1000)
    assert profile.seconds < 6
    assert any("behind at 1000 looks a second" in note for note in profile.notes)
    assert 10 * profile.seconds < profile.spent < 50 * profile.seconds  # of all 42 threads
    assert process.process.poll() is None


def test_a_process_that_ends_meanwhile_leaves_what_was_seen(spied: Start) -> None:
    """The profile is of the time until then, and says so."""
    process = spied("work")

    async def ended() -> Profile:
        said: list[str] = []

        def announce(text: str) -> None:
            said.append(text)
            if len(said) == 4:
                process.process.kill()

        return await record(process.pid, CaptureOptions(engine="py-spy", seconds=30), announce=announce)

    profile = asyncio.run(ended())
    assert profile.seconds < 20
    assert any(note.startswith("The process ended after") for note in profile.notes)
    assert "Basket.price" in functions(profile)


# ---- where it runs, and what it leaves


def test_it_works_in_any_loop_of_any_thread(spied: Start, loop_factory: LoopFactory) -> None:
    """An admin port's thread has a loop of its own, uvloop's or asyncio's."""
    process, made = spied("work"), []

    def run() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            options = CaptureOptions(engine="py-spy", seconds=0.5, clock="cpu")
            made.append(runner.run(record(process.pid, options)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert "Basket.price" in functions(made[0])


def test_cancelling_ends_pyspy_and_lets_the_process_go_on(spied: Start, tmp_path: Path) -> None:
    """Nothing is left: no py-spy, no file, and the process is not stopped."""
    process = spied("work")

    async def cancelled() -> list[int]:
        looking = asyncio.Event()
        task = asyncio.create_task(
            record(
                process.pid,
                CaptureOptions(engine="py-spy", seconds=60),
                announce=lambda text: looking.set() if "looks on" in text else None,
            )
        )
        await looking.wait()
        left = children()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return left

    before = children()
    pyspies = [pid for pid in asyncio.run(cancelled()) if pid not in before]
    assert len(pyspies) == 1
    assert not [pid for pid in pyspies if Path("/proc", str(pid)).exists()]
    assert "State:\tT" not in Path("/proc", str(process.pid), "status").read_text()
    assert process.end()


def children() -> list[int]:
    tasks = Path("/proc/self/task").iterdir()
    return [int(child) for task in tasks for child in task.joinpath("children").read_text().split()]


def test_it_runs_on_the_cores_that_it_is_given(spied: Start) -> None:
    """py-spy stays away from a load generator's core."""
    process = spied("work")
    seen: list[set[int]] = []
    core = min(os.sched_getaffinity(0))
    before = children()

    def announce(text: str) -> None:
        if "looks on" in text and not seen:
            seen.extend(os.sched_getaffinity(pid) for pid in children() if pid not in before)

    options = CaptureOptions(engine="py-spy", seconds=0.5)
    asyncio.run(record(process.pid, options, on={core}, announce=announce))
    assert seen == [{core}]


# ---- when it cannot


def test_a_process_that_does_not_run() -> None:
    """A dead PID is one line."""
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    with pytest.raises(TargetUnreachable) as caught:
        recorded(process.pid)
    assert str(caught.value) == f"PID {process.pid}: no such process runs"


@pytest.mark.parametrize("subprocesses", [False, True])
def test_a_process_that_is_not_pythons(*, subprocesses: bool) -> None:
    """What is no Python process is said to be none."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        try:
            with pytest.raises(TargetUnreachable, match="no Python process that py-spy knows; give the PID of the se"):
                recorded(process.pid, subprocesses=subprocesses)
        finally:
            process.kill()


def test_pyspy_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without py-spy the message says what to install."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"py-spy is not installed; run: pip install 'hasten\[profile\]'"):
        recorded(os.getpid())


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that puts a shell script in py-spy's place; its last argument but one is no matter."""

    def pretend(script: str) -> None:
        file = tmp_path / "py-spy"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    return pretend


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Error: Permission Denied: try sudo' >&2; exit 1", "profile it from within: hasten profile URL"),
        ("echo 'Error: Failed to lock\n\nStack backtrace:' >&2; exit 1", "py-spy says: Failed to lock"),
        ("exit 3", "py-spy says: nothing"),
        ("head -c 300000 /dev/zero | tr '\\0' x; exit 1", "py-spy says: xxxx"),
        ("echo 'Sampling process 100 times'; exit 1", "py-spy says: Sampling process 100 times"),
    ],
)
def test_pyspy_that_fails_is_one_line(script: str, reason: str, pretended: Callable[[str], None]) -> None:
    """Whatever py-spy writes when it fails, the reason is one line of bounded length."""
    pretended(script)
    with pytest.raises(TargetUnreachable) as caught:
        recorded(os.getpid(), seconds=0.1)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_pyspy_that_does_not_end_is_killed(pretended: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A py-spy that hears no SIGINT is ended all the same, and the caller told."""
    monkeypatch.setattr(pyspy, "_WRITTEN", 0.2)
    monkeypatch.setattr(pyspy, "_GRACE", 0.2)
    pretended("trap '' INT; echo 'Sampling process 100 times'; exec /bin/sleep 60")
    before = children()
    with pytest.raises(TargetUnreachable, match=r"py-spy does not end within 0\.2 s"):
        recorded(os.getpid(), seconds=0.1)
    assert children() == before


def test_output_that_nobody_can_read_is_told(pretended: Callable[[str], None]) -> None:
    """A later py-spy that writes otherwise gives an empty profile which says why, and no error in the reader."""
    pretended('echo "Sampling process 100 times"; while [ "$1" != --output ]; do shift; done; echo "{}" > "$2"')
    profile = recorded(os.getpid(), seconds=0.1)
    assert profile.stacks == ()
    assert "1 entries of py-spy's output could not be read." in profile.notes
