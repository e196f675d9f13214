"""What a drill has: services that it starts, load on them, and a folder; all of it is gone when it has ended.

Services run on all cores but the last, the load generator and the drill itself on the last one.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hasten._core.processes import ServiceProcess, cores
from hasten.drill._drill import Impossible
from hasten.load import LoadResult, Plan, run_plan

_START = 30.0  # seconds
_TRIES = 3
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """A service that a drill has started.

    Attributes:
      url: Where it listens, `http://127.0.0.1:40001`.
    """

    url: str
    process: ServiceProcess

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where a drill is run.

    Attributes:
      folder: For files; empty at first, removed at the end.
      quick: Short turns: to see that a drill works, not what it measures.
      target: The user's own app, `module:app`; empty for the drill's own subject.
      path: What is asked of the user's own app.
      say: Takes a line of progress.
      cores: Services run on these; None where there is only one.
      pids: Of all that it has started so far.
    """

    folder: Path
    quick: bool = False
    target: str = ""
    path: str = "/"
    say: Say = lambda _: None
    cores: set[int] | None = None
    pids: list[int] = field(default_factory=list)

    @asynccontextmanager
    async def hasten(self, app: str, *options: str, **environment: str) -> AsyncIterator[Service]:
        """Serve an app by `hasten run` while the block runs."""
        command = [sys.executable, "-m", "hasten", "run", app, "--port", "0", *options]
        async with self.started(app, command, environment) as process:
            url = await asyncio.to_thread(process.wait_listening, _START)
            yield Service(url, process)

    @asynccontextmanager
    async def uvicorn(self, app: str, *options: str, **environment: str) -> AsyncIterator[Service]:
        """Serve an app by uvicorn, with uvloop and httptools and without an access log, while the block runs."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log"]
        async with self.started(app, [*command, "--log-level", "warning", *options], environment) as process:
            await asyncio.to_thread(process.wait_answering, url, _START)
            yield Service(url, process)

    @asynccontextmanager
    async def started(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> AsyncIterator[ServiceProcess]:
        """Have a command run on the services' cores while the block runs; it is ended by its pid."""
        log = self.folder / f"{len(self.pids)}.log"
        process = await asyncio.to_thread(self._start, name, command, environment, log)
        self.pids.append(process.pid)
        try:
            yield process
        finally:
            await asyncio.to_thread(process.stop)

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> ServiceProcess:
        """In a thread of its own, which alone moves to the services' cores."""
        with cores(self.cores):
            return ServiceProcess(name, command, environment=environment, log=log)

    async def load(self, plan: Plan, *, every: bool = False, late: float = 0.0) -> LoadResult:
        """Drive a plan.

        Args:
          every: Keep a record of each request.
          late: Lateness of the generator's own, p99 in seconds, that changes nothing of what is measured, beyond what
            it takes for that itself.
        Raises:
          Impossible: the generator itself was too late three times, so that what it measured says nothing.
        """
        for _ in range(_TRIES):
            result = await run_plan(plan, request_ids=every)
            if not result.problems or self.quick or (not result.missed and result.lateness_p99 <= late):
                return result
        problem = result.problems[0]
        raise Impossible(f"{problem.check}: {problem.measured}; {problem.remedy}")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
