"""A command of the preparation: bounded, its output in a file, ended as a whole when it is cut short."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_SHOWN_ROWS = 4
_SHOWN_BYTES = 20_000
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class StepFailed(Exception):
    """Raised when a command does not end well: how it has ended, and its last words."""


def run_step(command: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path, timeout: float) -> None:
    """Run a command to its end; what it has left running then, goes on.

    Args:
      variables: Added to this process's own; one that is empty is removed.
      log: File that takes its output.
      timeout: Seconds it may take.
    Raises:
      StepFailed: it cannot be started, takes longer, or ends with an error.
    Cancellation: an interrupt ends it and all that it has started.
    """
    environment = {name: value for name, value in {**os.environ, **variables}.items() if value}
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group, which is ended as a whole
            )
        except OSError as error:
            raise StepFailed(f"{shlex.join(command[:1])} cannot be started: {error.strerror or error}") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            _end_group(process)
            raise StepFailed(f"not done within {timeout:g} s{_last_words(log)}") from None
        except BaseException:
            _end_group(process)
            raise
    if code:
        raise StepFailed(f"{Path(command[0]).name} ended with exit code {code}{_last_words(log)}")


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a command that runs, and what it has started."""
    with suppress(subprocess.TimeoutExpired), suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_GRACE)
    with suppress(ProcessLookupError, PermissionError):  # the leader may have ended before what it has started
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: Path) -> str:
    """Return the last lines of a log on one line, to be put behind a message; empty when there are none."""
    text = log.read_bytes()[-_SHOWN_BYTES:].decode(errors="replace")
    rows = [row.strip() for row in text.splitlines() if row.strip()]
    return f"; its last words: {' | '.join(rows[-_SHOWN_ROWS:])}" if rows else ""
