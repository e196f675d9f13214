"""Captures by the admin port, with a desk whose captures end when told; the engines are tried in tests/profiling."""

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hasten.admin import AdminAddress
from hasten.admin._app import AdminApp
from hasten.admin._captures import Captures
from hasten.admin._server import AdminThread
from hasten.admin.live import Feed
from hasten.monitor import Monitor
from hasten.profiling import CaptureOptions, Frame, Profile, ProfileOptions, Requests, Stack

PROFILE = Profile(
    engine="ledger",
    clock="wall",
    seconds=1.0,
    requests=(Requests("GET /orders", 7),),
    stacks=(Stack((Frame("main"), Frame("hash_password", "/app/shop.py", 7)), 0.9, 3, "GET /orders", "computing"),),
)
PATIENCE = 20.0
JSON = "application/json"


class FakeDesk:
    """Makes the same profile each time, at once or when it is told to.

    Attributes:
      made: What it was asked for.
      failure: Raised in place of a profile.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self.profile = PROFILE
        self._pause = pause
        self.made: list[tuple[CaptureOptions, dict[str, str]]] = []
        self.failure: Exception | None = None
        self.cancelled = 0
        self._free = threading.Event()
        self._free.set()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def retry_after(self) -> float:
        return self._pause if self.made else 0.0

    async def capture(self, options: CaptureOptions, labels: Mapping[str, str] = {}) -> Profile:
        self.made.append((options, dict(labels)))
        self._waiting = asyncio.get_running_loop(), asyncio.Event()
        if not self._free.is_set():
            try:
                await self._waiting[1].wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.failure is not None:
            raise self.failure
        return self.profile

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let captures last while the block runs."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()
            if self._waiting is not None and not self._waiting[0].is_closed():
                self._waiting[0].call_soon_threadsafe(self._waiting[1].set)


class Port:
    """An admin port in a thread, with captures of a fake desk."""

    def __init__(self, folder: Path, token: str = "", monitor: Monitor | None = None, **options: Any) -> None:
        self.monitor = monitor or Monitor("shop")
        settings: dict[str, Any] = {"folder": folder, "pause": 0.0, **options}
        self.desk = FakeDesk(settings["pause"])
        self.captures = Captures(self.monitor, ProfileOptions(**settings), desk=self.desk)
        self.captures.armed = True
        address = AdminAddress(port=0, token=token)
        app = AdminApp(self.monitor, address, Feed(self.monitor, interval=0.02), self.captures)
        listener, _ = address.bind()
        self.number = listener.getsockname()[1]
        self.thread = AdminThread(app, listener, background=app.background)
        self.thread.start()

    def ask(
        self, method: str, path: str, sent: bytes | None = None, /, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Return status, fields and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=PATIENCE)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=sent, headers=fields)
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        return answer.status, answer.headers, told

    def said(self, method: str, path: str, sent: bytes | None = None, /, **headers: str) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        status, _, told = self.ask(method, path, sent, **headers)
        return status, json.loads(told)

    def begin(self, query: str = "") -> str:
        """Have a capture begun and return its id."""
        status, said = self.said("POST", f"/profile{query}")
        assert status == 202, said
        return str(said["id"])

    def until(self, state: str, path: str = "/profiles", **headers: str) -> dict[str, Any]:
        """Return the newest capture when it is in a state."""
        found: dict[str, Any] = eventually(
            lambda: next(iter(self.said("GET", path, **headers)[1]), {"state": ""}), lambda one: one["state"] == state
        )
        return found


def eventually(look: Callable[[], Any], right: Callable[[Any], bool]) -> Any:
    """Return what is seen when it is right: nobody tells when another thread is done."""
    end = time.monotonic() + PATIENCE
    while not right(seen := look()):
        assert time.monotonic() < end, seen
    return seen


@contextlib.contextmanager
def port(folder: Path, token: str = "", monitor: Monitor | None = None, **options: Any) -> Iterator[Port]:
    served = Port(folder, token, monitor, **options)
    try:
        yield served
    finally:
        served.thread.stop()
