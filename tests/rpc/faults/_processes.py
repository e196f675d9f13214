"""Servers in processes of their own, which a test kills or restarts, by their process id."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

_PROJECT = Path(__file__).parents[3]


class ServerProcess:
    """A process that serves the fault service: `async with ServerProcess() as process`.

    Args:
      port: A number to listen on again; 0 takes a free one.
      options: Further command line options of `_server`.
    Attributes:
      port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, port: int = 0, *options: str) -> None:
        self.port = port
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "ServerProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            await self.ended()

    async def start(self) -> None:
        """Start a process on the port, and return once it listens."""
        command = (sys.executable, "-m", "tests.rpc.faults._server", "--port", str(self.port), *self._options)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(_PROJECT), str(_PROJECT / "src")))}
        self._process = subprocess.Popen(
            command, cwd=_PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        announcement = await asyncio.to_thread(self._process.stdout.readline)
        self.port = int(announcement)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code."""
        process = self._process
        assert process is not None
        self._process = None
        await asyncio.to_thread(process.communicate)
        return process.returncode

    async def restart(self) -> None:
        """Let the process drain and end, as an orchestrator does, then start another on the same port."""
        self.send(signal.SIGTERM)
        assert await self.ended() == 0
        await self.start()
