"""Pinned child processes: one core each, stopped while it is not their turn, their CPU read from the kernel.

A child announces itself with one line `ready ADDRESS` on stdout. It is always ended by its own process id, in
the `with` block's exit; should the benchmark itself be killed, `_child.die_with_parent` ends it.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import msgspec

from hasten._core.errors import ConfigurationError, TargetUnreachable

_READY_TIMEOUT = 30.0
_END_TIMEOUT = 5.0
_ANSWER_TIMEOUT = 60.0
_RESIDENT = re.compile(r"^Rss: +(\d+) kB", re.MULTILINE)
T = TypeVar("T")
P = TypeVar("P", bound="PinnedProcess")


def process_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process since its start: all threads, ended ones included, to the nanosecond.

    Source: clock_getcpuclockid(3): the clock of process `pid` has the number (~pid << 3) | 2 on Linux.
    """
    return time.clock_gettime((~pid << 3) | 2)


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the two sides run: what is measured on one core, all that drives it on the other."""

    server: int
    client: int

    @classmethod
    def available(cls) -> Self:
        """Return the last two cores this process may use (interrupts mostly land on the first).

        Raises:
          ConfigurationError: this is not Linux, whose pinning and CPU accounting the figures rest on.
        """
        if sys.platform != "linux":
            raise ConfigurationError("benchmarks", f"they need Linux, this is {sys.platform}")
        cores = sorted(os.sched_getaffinity(0))
        return cls(server=cores[-1], client=cores[-2] if len(cores) > 1 else cores[-1])


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run this thread, and the processes and threads it starts meanwhile, on `core`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class PinnedProcess:
    """A child process on one core, for use in a `with` block.

    Attributes:
      address: What the child said after `ready`, for example `http://127.0.0.1:40123`.

    Args:
      ready_timeout: Seconds in which it must have said that.
    """

    def __init__(self, name: str, command: list[str], core: int, *, ready_timeout: float = _READY_TIMEOUT) -> None:
        self.name = name
        self.address = ""
        self._command = command
        self._core = core
        self._ready_timeout = ready_timeout
        self._stderr: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the child and wait until it is ready.

        Raises:
          TargetUnreachable: its command cannot be run, it ended, or it said nothing in time.
        """
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = self._start(self._stderr)
            self.address = self.read_line(self._ready_timeout).removeprefix("ready ")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            with pinned(self._core):
                return subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,  # Ctrl-C reaches the benchmark alone, which ends its children
                )
        except OSError as error:
            raise TargetUnreachable(self.name, f"cannot run {self._command[0]}: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """Process id; the child has been started."""
        return self._running().pid

    def cpu_seconds(self) -> float:
        """Return the CPU seconds since the start; see `process_cpu_seconds`."""
        return process_cpu_seconds(self.pid)

    def resident_bytes(self) -> int:
        """Return the memory that the child has in RAM now.

        Source: proc_pid_smaps(5); unlike /proc/PID/statm it is exact, since it walks the pages.
        """
        found = _RESIDENT.search(Path(f"/proc/{self.pid}/smaps_rollup").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def suspend(self) -> None:
        """Stop the child, so that its timers and threads disturb nobody; nothing if it has ended."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended child go on."""
        self._running().send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def awake(self) -> Iterator[Self]:
        """Resume the child for its turn, then suspend it again."""
        self.resume()
        try:
            yield self
        finally:
            self.suspend()

    def ask(self, order: msgspec.Struct, seconds: float, answer: type[T]) -> T:
        """Send an order as a line of JSON and return the answer, which is one, too.

        Args:
          seconds: How long the child works on it; it may take 60 s more.
        Raises:
          TargetUnreachable: the child ended, or did not answer in time.
        """
        self.write_line(msgspec.json.encode(order))
        return msgspec.json.decode(self.read_line(seconds + _ANSWER_TIMEOUT), type=answer)

    def write_line(self, line: bytes) -> None:
        """Send one line to the child's stdin."""
        stream = self._running().stdin
        assert stream is not None
        try:
            stream.write(line + b"\n")
            stream.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def read_line(self, timeout: float) -> str:
        """Return the next line of the child's stdout.

        Raises:
          TargetUnreachable: the child ended, or wrote no whole line in `timeout` seconds.
        """
        stream = self._running().stdout
        assert stream is not None
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TargetUnreachable(self.name, f"no answer within {timeout:g} s", self._last_words())
            byte = os.read(stream.fileno(), 1)  # byte by byte: select knows nothing of Python's buffers
            if not byte:
                raise self._gone()
            line += byte
        return line.decode().rstrip("\n")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "used outside its with block"
        return self._process

    def _gone(self) -> TargetUnreachable:
        code = self._running().wait(_END_TIMEOUT)
        return TargetUnreachable(self.name, f"its process ended with code {code}", self._last_words())

    def _last_words(self) -> str:
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _end(self) -> None:
        process, streams = self._process, [self._stderr]
        if process is not None:
            streams += [process.stdin, process.stdout]
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(_END_TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for stream in streams:
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was written and not read is of no use now
                    stream.close()


class Stage(contextlib.ExitStack):
    """The processes of a run, for use in a `with` block, at whose end all of them have ended."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: list[PinnedProcess] = []

    def start(self, process: P) -> P:
        """Start a process, and return it when it is ready."""
        self._processes.append(self.enter_context(process))
        return process

    def suspend(self) -> None:
        """Stop all of them until their turns."""
        for process in self._processes:
            process.suspend()
