"""The engine that samples a process from outside: py-spy, as a command that is run and whose output is read.

    find ──▶ attach ──▶ look on for as long as asked ──▶ SIGINT ──▶ read ──▶ weigh ──▶ Profile

What its two clocks are:

- wall: every thread in every look, running or not (`py-spy --idle`). A second is one that a thread has lived: five
  threads that wait make five a second. Shows what blocks, among all that waits.
- cpu: threads that run, in seconds of CPU. py-spy takes some threads for running that have just woken; where it stops
  the process for its looks, one that sleeps all the time in 1 of 20. So all samples of a thread together weigh the CPU
  time that the kernel has counted for it. Where that is not known (elsewhere than on Linux, threads and processes that
  end meanwhile), a sample weighs the time between two looks.

Neither knows what coroutines wait for: a loop that waits is one thread in `select`. With `gil`, samples are of threads
that hold the interpreter's lock and weigh the time between two looks, whichever the clock.
"""

import asyncio
import importlib.metadata
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hasten._core.errors import MissingDependency, TargetUnreachable
from hasten.profiling._options import CaptureOptions
from hasten.profiling._profile import Profile
from hasten.profiling._ptrace import exists, resume_stopped, why_refused
from hasten.profiling._pyspy_output import parse_raw
from hasten.profiling._pyspy_weights import Looks, on_cpu, weighed
from hasten.profiling._thread_times import thread_times

Tell = Callable[[str], None]
_ATTACHED = 30.0  # seconds until it looks: it reads the symbols of all libraries before
_WRITTEN = 30.0  # seconds until it has written
_TOLD_EACH = 0.25  # seconds
_GRACE = 5.0  # seconds between SIGINT and SIGKILL
_MOST_BYTES = 64 * 1024 * 1024
_MOST_SAID = 16 * 1024  # characters
_CHUNK_BYTES = 4096
_BEGUN = "Sampling process"
_OVER = ("Stopped sampling", "Wrote raw")
_GONE = "because process exited"
_NOT_PYTHON = ("Failed to find python version", "No python processes found")
_LATE = re.compile(r"([\d.]+)s behind in sampling")
_FAILED = re.compile(r"Errors: (\d+)")


async def record(
    pid: int,
    options: CaptureOptions,
    *,
    on: set[int] | None = None,
    announce: Callable[[str], None] = lambda _: None,
    over: Callable[[], None] = lambda: None,
) -> Profile:
    """Sample a process for `options.seconds`; attaching to it before and reading the result after come on top.

    It is looked at `options.rate` times a second at most: py-spy that falls behind is ended in time, too.

    Args:
      on: The cores that py-spy runs on; None for this thread's.
      announce: Told what is going on, in a few words, several times a second.
      over: Called when the process is looked at no more: then all that was seen is read.
    Raises:
      MissingDependency: there is no py-spy.
      TargetUnreachable: the process does not run, is not Python's, or may not be traced: with what must be granted.
    Cancellation: ends py-spy, which lets the process go on, and waits for that, up to 5 s.
    """
    binary = find_pyspy()
    if not exists(pid):
        raise TargetUnreachable(f"PID {pid}", why_refused(pid))
    with tempfile.TemporaryDirectory(prefix="hasten-") as folder:
        file = Path(folder, "raw")
        began = time.time()
        looks = await _look(_command(binary, pid, file, options), pid, options, on, announce)
        over()
        return await asyncio.to_thread(_profile, pid, options, file, began, looks)


def find_pyspy() -> str:
    """Return py-spy's path: where its wheel puts it, else on PATH.

    Raises:
      MissingDependency: there is none.
    """
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy")
    if not found:
        raise MissingDependency("py-spy", "profile")
    return found


def _command(binary: str, pid: int, file: Path, options: CaptureOptions) -> list[str]:
    # Asked for or not, each thread is in front of its stacks: samples are weighed by thread. The duration, whole
    # seconds for py-spy, is there for when nobody is left to end it.
    fixed = ["--format", "raw", "--full-filenames", "--threads", "--output", str(file)]
    given = [f"--{name}" for name in ("native", "gil", "subprocesses") if getattr(options, name)]
    if not on_cpu(options):
        given.append("--idle")
    if not options.native and not options.gil:  # which need whole stacks, and who has the lock at just that time
        # Else it stops the process for each look, and takes threads for running that have woken from that: a hotspot
        # behind a sleep was 4 to 7 points off in six runs of 10 s, in five of them too few; so it is 0 to 3.4 off. One
        # stack in a thousand is read while it changes.
        given.append("--nonblocking")
    bounds = ["--rate", str(options.rate), "--duration", str(math.ceil(options.seconds) + 1)]
    return [binary, "record", "--pid", str(pid), *fixed, *bounds, *given]


# ---- while it looks


class _Talk:
    """What py-spy has said so far, on its output and error output.

    Attributes:
      begun: It looks, or has ended.
      over: It looks no more, or has ended.
      ended: It has ended, and all that it said is here.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self.ended = asyncio.Event()
        self.text = ""

    async def listen(self, stream: asyncio.StreamReader) -> None:
        """Listen until it has ended."""
        while said := await stream.read(_CHUNK_BYTES):
            self.text = (self.text + said.decode(errors="replace"))[-_MOST_SAID:]
            if _BEGUN in self.text:
                self.begun.set()
            if any(word in self.text for word in _OVER):
                self.over.set()
        for event in (self.begun, self.over, self.ended):
            event.set()


async def _look(command: list[str], pid: int, options: CaptureOptions, on: set[int] | None, announce: Tell) -> Looks:
    """Run py-spy until it has written what it saw."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,  # Ctrl-C reaches the command alone, which ends py-spy
    )
    assert process.stdout is not None
    talk = _Talk()
    listening = asyncio.create_task(talk.listen(process.stdout))
    try:
        if on and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, on)
        announce("py-spy attaches")
        return await _looks(process, talk, pid, options, announce)
    finally:
        await _end(process, pid, talk)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _looks(process: Process, talk: _Talk, pid: int, options: CaptureOptions, announce: Tell) -> Looks:
    """Return what is known of a recording when it has been written.

    Raises:
      TargetUnreachable: py-spy cannot attach, or hangs.
    """
    await _within(_ATTACHED, talk.begun, pid, "py-spy does not begin")
    if _BEGUN not in talk.text:
        raise _refusal(pid, talk.text)
    before = await asyncio.to_thread(thread_times, pid, children=options.subprocesses)
    seconds = await _time_passed(options.seconds, talk.over, announce)
    after = await asyncio.to_thread(thread_times, pid, children=options.subprocesses)
    _send(process, signal.SIGINT, talk)
    await _within(_WRITTEN, talk.ended, pid, "py-spy does not end")
    if await process.wait():
        raise _refusal(pid, talk.text)
    return Looks(
        seconds=seconds,
        late=max(map(float, _LATE.findall(talk.text)), default=0.0),
        failed=sum(map(int, _FAILED.findall(talk.text))),
        ended=_GONE in talk.text,
        threads={thread: times.since(before.get(thread)) for thread, times in after.items()},
    )


async def _time_passed(wanted: float, over: asyncio.Event, announce: Tell) -> float:
    """Wait for as long as wanted, or until it is over; return the seconds that it took."""
    began = time.monotonic()
    while not over.is_set() and (left := began + wanted - time.monotonic()) > 0:
        announce(f"py-spy looks on, {left:.0f} s left")
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), min(left, _TOLD_EACH))
    return time.monotonic() - began


async def _within(seconds: float, event: asyncio.Event, pid: int, problem: str) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        raise TargetUnreachable(f"PID {pid}", f"{problem} within {seconds:g} s") from None


async def _end(process: Process, pid: int, talk: _Talk) -> None:
    """End py-spy if it runs still; by SIGINT, on which it lets go of the process, and only if need be by SIGKILL."""
    _send(process, signal.SIGINT, talk)
    try:
        await asyncio.wait_for(process.wait(), _GRACE)
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            _send(process, signal.SIGKILL, talk)
            await process.wait()
            resume_stopped(pid)


def _send(process: Process, number: int, talk: _Talk) -> None:
    """Send a signal, unless it has ended.

    Not by the process's own method, which asks for its end first, and so takes that from whoever in asyncio waits for
    it: a warning on stderr. The id is nobody else's while the other end of its output is open.
    """
    if not talk.ended.is_set():
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _refusal(pid: int, said: str) -> TargetUnreachable:
    """Return what it means that py-spy has ended before it began."""
    target = f"PID {pid}"
    if "permission denied" in said.lower() or not exists(pid):
        return TargetUnreachable(target, why_refused(pid))
    if any(words in said for words in _NOT_PYTHON):
        return TargetUnreachable(target, "it is no Python process that py-spy knows", "give the PID of the service")
    errors = [line.partition("Error: ")[2] for line in said.splitlines() if "Error: " in line]
    return TargetUnreachable(
        target, f"py-spy says: {errors[0] if errors else ' '.join(said.split())[:200] or 'nothing'}"
    )


# ---- when it has written


def _profile(pid: int, options: CaptureOptions, file: Path, began: float, looks: Looks) -> Profile:
    text, cut = _read(file)
    seen, unreadable = parse_raw(text, processes=options.subprocesses)
    stacks, notes = weighed(seen, options, looks)
    if cut:
        notes.append(f"py-spy has written more than {_MOST_BYTES >> 20} MiB, of which the rest was left out.")
    if unreadable:
        notes.append(f"{unreadable} entries of py-spy's output could not be read.")
    return Profile(
        engine="py-spy",
        clock="cpu" if on_cpu(options) else "wall",
        started=began,
        seconds=round(looks.seconds, 3),
        stacks=stacks,
        interval=1 / options.rate,
        labels=_labels(pid, options),
        notes=tuple(notes),
    )


def _read(file: Path) -> tuple[str, bool]:
    """Return what has been written, whole lines of at most _MOST_BYTES, and whether there was more."""
    with file.open("rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    cut = len(data) > _MOST_BYTES
    return (data[: data.rfind(b"\n")] if cut else data).decode(errors="replace"), cut


def _labels(pid: int, options: CaptureOptions) -> dict[str, str]:
    labels = {"pid": str(pid), "rate": str(options.rate)}
    given = [name for name in ("native", "gil", "idle", "subprocesses", "threads") if getattr(options, name)]
    if given:
        labels["options"] = " ".join(given)
    with suppress(importlib.metadata.PackageNotFoundError):  # one of PATH may be another, or have no wheel
        labels["py-spy"] = importlib.metadata.version("py-spy")
    return labels
