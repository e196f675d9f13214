"""A service that a command starts, waits for, and ends by pid on every path.

Its output goes to a file, not a pipe: nothing has to read it while the load is driven, and nothing fills up.
"""

import http.client
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self
from urllib.parse import urlsplit

from hasten._core.errors import ConfigurationError, HastenError, TargetUnreachable

_LISTENING = re.compile(r"^hasten: .*listening on (http://\S+)", re.MULTILINE)
_POLL = 0.05  # seconds
_GRACE = 15.0  # seconds between SIGTERM and SIGKILL: more than servers give their own requests
_SHOWN_BYTES = 2000
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class ServiceProcess:
    """A started command: a process group of its own, so that whatever it starts can be ended with it.

    As a context manager it is ended on leaving, whatever happened within.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
    ) -> None:
        """Start the command.

        Args:
          name: What messages call it.
          environment: Variables added to this process's own.
          log: File that takes its standard output and standard error.
          folder: Where it runs; None for this process's own.
        Raises:
          ConfigurationError: the command cannot be started.
        """
        self.name = name
        self.log = log
        self._stopped = False
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches the command alone, which ends the service
                )
        except OSError as error:
            raise ConfigurationError(name, f"cannot be started: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id; also that of its process group."""
        return self._process.pid

    def wait_listening(self, timeout: float) -> str:
        """Return the URL that `hasten run` says it listens on.

        Raises:
          HastenError: it ended because of its arguments (exit code 2), with its own message.
          TargetUnreachable: it ended otherwise, or did not listen within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            ended = self._ended(_POLL)
            if match := _LISTENING.search(self._output()):
                return match[1]
            if ended:
                self._raise_ended()
        raise TargetUnreachable(self.name, f"does not listen within {timeout:g} s{self._last_words()}")

    def wait_answering(self, url: str, timeout: float) -> None:
        """Wait until `url` answers HTTP, with whatever status.

        Raises:
          TargetUnreachable: the process ended, or nothing answered within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self._ended(_POLL):
                self._raise_ended()
            if answers(url, min(left, 5.0)):
                return
        raise TargetUnreachable(self.name, f"{url} does not answer within {timeout:g} s{self._last_words()}")

    def require_running(self) -> None:
        """Check that it is there.

        Raises:
          TargetUnreachable: it has ended; with its last words.
        """
        code = self._process.poll()
        if code is not None:
            raise TargetUnreachable(self.name, f"{_how(code)} while it was measured{self._last_words()}")

    def suspend(self) -> None:
        """Stop its group, so that its timers and threads disturb nobody; its connections stay open."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended group go on."""
        self._signal_group(signal.SIGCONT)

    def stop(self, grace: float = _GRACE) -> None:
        """End it: SIGTERM, up to `grace` seconds, SIGKILL to what is left of its group. Safe to call twice.

        Cancellation: an interrupt while waiting kills the group at once and is raised again.
        """
        if self._stopped:  # its id may be another's by now
            return
        deadline = time.monotonic() + grace
        left = True
        try:
            self.resume()  # what is suspended takes no SIGTERM
            self._process.terminate()
            self._ended(grace)
            left = self._signal_group(signal.SIGTERM)
            while left and time.monotonic() < deadline:
                time.sleep(_POLL)
                left = self._signal_group(0)
        finally:
            if left:
                self._signal_group(signal.SIGKILL)
            self._process.wait()
            self._stopped = True

    def _ended(self, timeout: float) -> bool:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal_group(self, number: int) -> bool:
        """Send a signal to the group, 0 for none; tell whether there was anybody."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return False
        return True

    def _raise_ended(self) -> None:
        code = self._process.returncode
        errors = [row.removeprefix("error: ") for row in self._output().splitlines() if row.startswith("error: ")]
        if code == ConfigurationError.exit_code and errors:
            raise HastenError(errors[-1])
        if code == TargetUnreachable.exit_code and errors:
            raise TargetUnreachable(self.name, errors[-1])
        raise TargetUnreachable(self.name, f"{_how(code)} before it answered{self._last_words()}")

    def _output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _last_words(self) -> str:
        """Return its last lines on one line, to be put behind a message; empty when it said nothing."""
        rows = [row.strip() for row in self._output()[-_SHOWN_BYTES:].splitlines() if row.strip()]
        return f"; its last words: {' | '.join(rows[-3:])}" if rows else ""


def _how(code: int) -> str:
    """Return how a process with this return code has ended."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def answers(url: str, timeout: float) -> bool:
    """Tell whether an HTTP server answers at `url` within `timeout` seconds, with whatever status."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        unchecked = ssl._create_unverified_context()  # noqa: SLF001 - not who it is, only whether
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=unchecked)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


@contextmanager
def cores(chosen: set[int] | None) -> Iterator[None]:
    """Run the block on these cores, and what it starts; None, or a system that cannot pin, changes nothing.

    The calling thread alone moves; threads that exist already stay where they are.
    """
    if not chosen or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def split_cores() -> tuple[set[int] | None, set[int] | None]:
    """Return the service's cores, all but the last, and the generator's, the last; None with only one."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2:
        return None, None
    return set(available[:-1]), {available[-1]}


@contextmanager
def termination_unwinds() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit within the block, so that what was started is ended first.

    Elsewhere than on the main thread, which alone may handle signals, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _terminated) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
