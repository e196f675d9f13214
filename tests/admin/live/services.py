"""Starts `busy_service.py` in a process of its own, ends it, starts it again at the same place."""

import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import msgspec

from hasten._core.errors import TargetUnreachable
from hasten.admin.live import fetch_story, parse_place
from hasten.monitor._sample import Story

_SERVICE = Path(__file__).with_name("busy_service.py")
_PATIENCE = 50.0


class Service:
    """A busy service on free ports, or on given ones.

    Attributes:
      admin: URL of its admin port.
      port: Of the app.
      target: Among its arguments, and no other process's: `module:app`.
    """

    def __init__(self, folder: Path, port: int = 0, admin: str = "127.0.0.1:0", token: str = "") -> None:
        self._log = folder.joinpath("service.log").open("ab")
        self.target = f"orders_{uuid.uuid4().hex}:app"
        self._process = subprocess.Popen(
            [sys.executable, str(_SERVICE), str(port), admin, token, self.target],
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().split()
        assert len(said) == 2, folder.joinpath("service.log").read_text()
        self.admin = said[0].decode()
        self.port = int(said[1])
        self.token = token

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def until(self, told: Any) -> Story:
        """Return the first story of which `told` is true."""
        place = parse_place(self.admin, self.token)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                story = fetch_story(place)
            except TargetUnreachable:
                continue
            if told(story):
                return story
        raise AssertionError(msgspec.json.encode(story.sample).decode())

    def block(self, seconds: float) -> threading.Thread:
        """Have its event loop blocked, and return what waits for the answer."""

        def ask() -> None:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/block?seconds={seconds}") as answer:
                answer.read()

        waits = threading.Thread(target=ask)
        waits.start()
        return waits

    def end(self) -> None:
        """End it, and wait until it has."""
        self._process.terminate()
        self._process.communicate(timeout=_PATIENCE)
        self._log.close()
