"""A service whose faults are switched on and off by requests: `python -m tests.monitor.slo.faulty SLO.toml`.

GET /orders      as the fault says: fails, is slow, or blocks the event loop
PUT /fault/KIND  from now on: none, errors, slow, blocks

It prints one line of JSON, `{"url": ..., "admin": ...}`, and runs until SIGTERM. `running` starts it and gives both.
"""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException

import hasten

SERVICE = "shop"
ROOT = Path(__file__).parents[3]
SLOW = 0.06  # seconds
BLOCKED = 8.0
_EVERY = 0.02


def main() -> None:
    """Serve."""
    listener = socket.create_server(("127.0.0.1", 0))
    fault = "none"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print(json.dumps({"url": url, "admin": app.state.monitor.url}), flush=True)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders")
    async def orders() -> None:
        if fault == "errors":
            raise HTTPException(503)
        if fault == "slow":
            await asyncio.sleep(SLOW)
        if fault == "blocks":
            time.sleep(BLOCKED)

    @app.put("/fault/{kind}")
    async def switch(kind: str) -> None:
        nonlocal fault
        fault = kind

    hasten.install(app, service=SERVICE, slo=sys.argv[1], admin="127.0.0.1:0")
    uvicorn.run(app, fd=listener.fileno(), log_level="error")


# ---- for tests


class Faulty:
    """The service, in another process.

    Attributes:
      url: Of its app.
      target: Host and port of its admin port.
    """

    def __init__(self, url: str, admin: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.target = admin.removeprefix("http://")
        self._process = process

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        """Have it do something wrong for a time."""
        httpx.put(f"{self.url}/fault/{kind}", trust_env=False)
        try:
            yield
        finally:
            httpx.put(f"{self.url}/fault/none", trust_env=False, timeout=2 * BLOCKED)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Have it asked for its orders, about forty times a second."""
        over = threading.Event()
        thread = threading.Thread(target=self._ask, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _ask(self, over: threading.Event) -> None:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=2 * BLOCKED) as client:
            while not over.wait(_EVERY):
                client.get("/orders")

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def running(slo: Path) -> Iterator[Faulty]:
    """Start the service, give it when its admin port answers, and end it."""
    command = [sys.executable, "-m", "tests.monitor.slo.faulty", str(slo)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Faulty(**json.loads(process.stdout.readline()), process=process)
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
