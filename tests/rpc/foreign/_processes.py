"""Peers as processes: they end within a bound, by their own process id.

They are started by subprocess and not by the loop: a loop of uvloop forks and runs Python in the child, where a garbage
collection can reach objects of grpc.aio that wait for threads the child does not have, forever. subprocess never runs
Python there (it uses vfork).
"""

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[3]
START_WITHIN = 20.0  # seconds; Node takes one on a busy machine


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: its exit code, what it printed, and its messages."""

    code: int
    output: str
    messages: str


async def run(*command: str, within: float = 30.0) -> Ended:
    """Run a command to its end while the loop goes on.

    Raises:
      subprocess.TimeoutExpired: it had not ended after `within` seconds, and was killed.
    """
    return await asyncio.to_thread(_run, command, within)


def _run(command: tuple[str, ...], within: float) -> Ended:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextlib.asynccontextmanager
async def listening(
    *command: str, announcement: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """Run a server for as long as the block runs; yield its port.

    Args:
      command: The server; it takes a free port.
      announcement: A regular expression for the line with which it says that it listens; its group is the port.
      environment: Added to ours.
    Raises:
      TimeoutError: it has not said so within START_WITHIN.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        text=True,
    )
    try:
        async with asyncio.timeout(START_WITHIN):
            port = await asyncio.to_thread(_announced_port, process, re.compile(announcement))
        yield port
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


def _announced_port(process: subprocess.Popen[str], announcement: re.Pattern[str]) -> int:
    """Read up to the announcement; a process that is killed ends the reading."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        if found := announcement.search(line):
            return int(found[1])
        seen.append(line)
    raise AssertionError(f"the server ended before it listened: {''.join(seen)}")
