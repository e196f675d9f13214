"""Runs an app under uvicorn in a thread, with a monitor, and asks it from another process."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

import hasten
from hasten.ledger import Ledger, ledger_of

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Running:
    """A service in a thread of this process.

    Attributes:
      loop: Its loop.
      ledger: Its ledger.
      port: Where it listens.
      thread: Its thread's identity.
    """

    def __init__(self, app: Any, loop_factory: LoopFactory, **settings: Any) -> None:
        hasten.ledger.install(app, **settings)
        self.app = app
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._loop_factory = loop_factory
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="service")
        self.loop: asyncio.AbstractEventLoop
        self.ledger: Ledger
        self.port = 0
        self.thread = 0

    def _run(self) -> None:
        self.thread = threading.get_ident()
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server._serve(None))
        while not self._server.started:
            await asyncio.sleep(0)
            if serving.done():
                await serving
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        found = ledger_of(self.app)
        assert found is not None
        self.ledger = found
        self._started.set()
        await serving

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._thread.start()
        assert self._started.wait(20)

    def stop(self) -> None:
        """End it; does nothing when it has ended."""
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def running(app: Any, loop_factory: LoopFactory, **settings: Any) -> Iterator[Running]:
    """Serve an app in a thread while the block lasts."""
    service = Running(app, loop_factory, **settings)
    service.start()
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def asked(port: int, *targets: str, connections: int = 4) -> Iterator[dict[str, int]]:
    """Ask for the targets in turn from another process while the block lasts; then the counts are in the result."""
    counts: dict[str, int] = {}
    command = [sys.executable, str(Path(__file__).with_name("asking.py")), str(port), str(connections), *targets]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    try:
        yield counts
    finally:
        printed, _ = process.communicate("", timeout=60)
        counts.update(json.loads(printed))
