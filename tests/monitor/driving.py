"""Starts the service of `tests.monitor.service` and sends it requests, so that every metric moves.

with service_running() as service:
    service.drive()
    text = service.scrape()
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.monitor.service import SERVICE

ROOT = Path(__file__).parents[2]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
_TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
_LAST_WORDS = 15.0  # seconds that the process has to end by itself
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Service:
    """The service, in another process.

    Attributes:
      url: Where its app answers.
      admin: Of its admin port.
      name: Prometheus' `job`.
    """

    def __init__(self, url: str, admin: str, name: str) -> None:
        self.url = url
        self.admin = admin
        self.name = name
        self._round = 0

    @property
    def target(self) -> str:
        """Host and port of what Prometheus scrapes."""
        return self.admin.removeprefix("http://")

    def drive(self) -> None:
        """Send one request to each route; numbers are new ones each time."""
        self._round += 1
        number = self._round
        gets = (
            "slow",
            "fails",
            "blocks",
            "threads",
            "collects",
            "calls",
            "prices",
            "reads",
            f"ill/{number}",
            "nowhere",
        )
        for path in (f"ok/{number}", f"caches/{number}", *gets, *("pays",) * 4, "beside"):
            self.ask("GET", path)
        self.ask("POST", f"orders/{number}")
        if number == 1:
            self.ask("POST", "folds")

    def ask(self, method: str, path: str) -> int:
        """Send a request that is traced; return the status."""
        request = urllib.request.Request(f"{self.url}/{path}", method=method, headers={"traceparent": _TRACEPARENT})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                response.read()
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def scrape(self, accept: str = "") -> str:
        """Return what the admin port says to Prometheus."""
        request = urllib.request.Request(f"{self.admin}/metrics", headers={"accept": accept})
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(response.read().decode())


@contextmanager
def service_running(slo: Path | None = None, name: str = SERVICE) -> Iterator[Service]:
    """Start the service, give it when it answers, and end it.

    Args:
      slo: Its objectives.
    """
    command = [sys.executable, "-m", "tests.monitor.service", "--service", name]
    command += [] if slo is None else ["--slo", str(slo)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "the service has not started; its stderr says why"
            yield Service(**json.loads(line), name=name)
        finally:
            process.terminate()
            try:
                process.wait(_LAST_WORDS)
            except subprocess.TimeoutExpired:
                process.kill()
