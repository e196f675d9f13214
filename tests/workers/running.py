"""Services that run below a supervisor, and clients that keep their connections until they are told to close them."""

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

APP = """
import asyncio
import gc
import os

held = []


async def pid():
    return os.getpid()

async def frozen():
    return gc.get_freeze_count()

async def slow():
    print("begun", flush=True)
    await asyncio.sleep(0.3)
    return os.getpid()

async def endless():
    print("begun", flush=True)
    await asyncio.Event().wait()

async def hold():
    held.append(b"x" * 200_000_000)
    return os.getpid()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = str(await globals()[scope["path"][1:]]()).encode()
    fields = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})
"""


class Running:
    """A started `hasten run`.

    Attributes:
      lines: What it has said so far.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []

    @property
    def pid(self) -> int:
        """Of the supervisor, or of the only process."""
        return self.process.pid

    def until(self, pattern: str) -> "re.Match[str]":
        """Return the match of the next line that has this pattern."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it has ended without {pattern!r}: {self.lines}")

    def begun(self) -> None:
        """Wait until a request has begun that says so on standard output."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "begun\n"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        _, said = self.process.communicate(timeout=30)
        self.lines += said.splitlines()
        return self.process.returncode

    def workers(self) -> list[int]:
        """Return the processes below it."""
        return [int(one) for one in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def running(
    folder: Path,
    *options: str,
    app: str = APP,
    launcher: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Running]:
    """Run `hasten run shop:app` in a folder that gets the app; end it, and what is left of it, at the end.

    Args:
      launcher: A program, with its arguments, that runs the command behind it.
      pass_fds: Open descriptors that it gets.
    """
    (folder / "shop.py").write_text(app)
    command = [*launcher, sys.executable, "-m", "hasten", "run", "shop:app", *options]
    if not {"--port", "--uds", "--fd"} & set(options):
        command += ["--port", "0"]
    if "--admin" not in options:
        command += ["--admin", "off"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    with process:
        try:
            yield Running(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what is left of its group


def get(url: str) -> str:
    """Return what a URL answers, on a connection of its own."""
    with urllib.request.urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
        return text


class Client:
    """Sends requests on connections that it keeps, and leaves those that are to be closed.

    Attributes:
      answered: How many requests, by what has answered: the body.
      lost: What has come in the place of an answer.
    """

    def __init__(self, url: str, path: str = "/pid") -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._request = f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode()
        self._stopped = False
        self._most: float = math.inf
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped = True

    async def drive(self, connections: int, pause: float = 0.0, *, most: float = math.inf) -> None:
        """Send requests one after another on each connection, so many at most, or until it is stopped."""
        self._most = most
        await asyncio.gather(*(self._drive(pause) for _ in range(connections)))

    async def _drive(self, pause: float) -> None:
        sent = 0
        while not self._stopped and sent < self._most:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError as error:
                self.lost.append(repr(error))
                continue
            sent += 1
            try:
                while await self._ask(reader, writer) and sent < self._most and not self._stopped:
                    sent += 1
                    await asyncio.sleep(pause)
            except (OSError, EOFError) as error:
                self.lost.append(repr(error))
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request; return whether the connection may be used again."""
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        body = await reader.readexactly(int(length[1]))
        assert head.startswith(b"http/1.1 200"), head
        self.answered[body.decode()] += 1
        return b"connection: close" not in head
