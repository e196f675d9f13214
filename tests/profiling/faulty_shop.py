"""A service that captures by itself, with planted faults: `python -m tests.profiling.faulty_shop SLO OPTIONS`.

GET /quick       does nothing
GET /stock       `check_stock` blocks the loop for as long as ?seconds= says
GET /login       `hash_password` computes for 60 ms

OPTIONS are those of `hasten.profiling.ProfileOptions`, as JSON. It prints one line, `{"url": ..., "admin": ...}`, and
runs until SIGTERM. `running` starts it and gives both.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

import hasten
from hasten.profiling import Profile, ProfileOptions
from hasten.profiling._files import decode
from hasten.profiling._store import Entry, ProfileStore

SERVICE = "shop"
ROOT = Path(__file__).parents[2]
SLO = """
[[objective]]
service = "shop"
name = "login-fast"
target = "95%"
latency = "50ms"
route = "/login"
severities = ["page"]
"""
_EVERY = 0.02
_PATIENCE = 40.0


def check_stock(seconds: float) -> None:
    """Block: the fault."""
    time.sleep(seconds)


def hash_password() -> None:
    """Compute for 60 ms of CPU: the fault."""
    begun = time.thread_time()
    while time.thread_time() - begun < 0.06:
        sum(range(300))


def main(slo: str, options: str) -> None:
    """Serve."""
    listener = socket.create_server(("127.0.0.1", 0))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print(json.dumps({"url": url, "admin": app.state.monitor.url}), flush=True)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/quick")
    async def quick() -> int:
        return 1

    @app.get("/stock")
    async def stock(seconds: float) -> None:
        check_stock(seconds)

    @app.get("/login")
    async def login() -> None:
        hash_password()

    profile = ProfileOptions(**json.loads(options))
    hasten.install(app, service=SERVICE, slo=slo, admin="127.0.0.1:0", profile=profile)
    uvicorn.run(app, fd=listener.fileno(), log_level="error")


# ---- for tests


class Shop:
    """The service, in another process.

    Attributes:
      url: Of its app.
      admin: URL of its admin port.
      pid: Of the process.
    """

    def __init__(self, url: str, admin: str, pid: int, folder: Path) -> None:
        self.url = url
        self.admin = admin
        self.pid = pid
        self._folder = folder

    @property
    def target(self) -> str:
        """Host and port of its admin port."""
        return self.admin.removeprefix("http://")

    def memory(self) -> int:
        """Return the bytes that the process has in memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def ask(self, path: str) -> int:
        """Return the status of an answer of the app."""
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=_PATIENCE).status_code

    @contextmanager
    def asked(self, path: str) -> Iterator[None]:
        """Have a path asked for again and again, at most fifty times a second."""
        over = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=self.url, trust_env=False, timeout=_PATIENCE) as client:
                while not over.wait(_EVERY):
                    client.get(path)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def captures(self) -> tuple[Entry, ...]:
        """Return what lies in its folder, the newest first."""
        return ProfileStore(self._folder).entries()

    def profile(self, entry: Entry) -> Profile:
        """Return a profile in its folder."""
        return decode(ProfileStore(self._folder).read(entry.id) or b"", entry.id)

    def captured(self, trigger: str) -> tuple[Entry, Profile]:
        """Return the first capture of a trigger, when it is there."""
        give_up = time.monotonic() + _PATIENCE
        while not (found := [one for one in self.captures() if one.trigger == trigger]):
            assert time.monotonic() < give_up, f"{self.captures()}, {self.told()}"
            time.sleep(0.05)
        return found[-1], self.profile(found[-1])

    def told(self) -> list[dict[str, Any]]:
        """Return what its admin port says that there is."""
        told: list[dict[str, Any]] = httpx.get(f"{self.admin}/profiles", trust_env=False, timeout=_PATIENCE).json()
        return told


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Shop]:
    """Start the service, give it when its admin port answers, and end it.

    Args:
      folder: Its own; captures lie in `profiles` in it.
      options: As of `ProfileOptions`.
    """
    slo = folder / "slo.toml"
    slo.write_text(SLO)
    profiles = folder / "profiles"
    given = json.dumps({"folder": str(profiles), "pause": 0.0, **options})
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.profiling.faulty_shop", str(slo), given]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        hangs = threading.Timer(_PATIENCE, process.send_signal, [signal.SIGABRT])  # it prints its stacks, and ends
        hangs.start()
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            hangs.cancel()
            yield Shop(said["url"], said["admin"], process.pid, profiles)
        finally:
            hangs.cancel()
            process.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
