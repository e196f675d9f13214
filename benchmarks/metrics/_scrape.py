"""One scrape after the other, from another core: how long, how much, and how late the app's loop was meanwhile."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks._processes import PinnedProcess
from hasten._core.errors import InvalidMeasurement

_TIMEOUT = 30.0


class Scraper:
    """Asks a service, over connections that stay open."""

    def __init__(self, address: str) -> None:
        self._app = _connection(address)
        url = urlsplit(self.get("/scrape").decode())
        self._path = url.path
        self._port = _connection(f"http://{url.netloc}") if url.netloc else self._app

    def get(self, path: str) -> bytes:
        """Return what the app says."""
        return _get(self._app, path)

    def fill(self, route: int) -> None:
        """Have one more route in the metrics."""
        self.get(f"/fill/{route}/7")

    def lag(self) -> float:
        """Return how late the loop was at most since the last call, seconds."""
        return float(self.get("/lag"))

    def scrape(self) -> bytes:
        """Return the metrics."""
        return _get(self._port, self._path)

    def renew(self) -> None:
        """Ask for metrics over a new connection: an idle one is closed by the server, also while it is suspended."""
        self._port.close()

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
        self._port.close()


def _connection(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT)


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise InvalidMeasurement(path, f"status {response.status}")
    return body


def count_series(text: bytes) -> int:
    """Return how many samples a scrape has."""
    return sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))


@dataclass(slots=True)
class ScrapeTrial:
    """Scrapes of one service, which has so many series; it is stopped except during its turns."""

    subject: str
    case: str
    server: PinnedProcess
    scraper: Scraper
    turns: int
    scrapes: int
    _seconds: list[float] = field(default_factory=list)
    _lags: list[float] = field(default_factory=list)
    _cpu: float = 0.0
    _text: bytes = b""

    def turn(self, seed: int) -> None:
        """Scrape some times; `seed` changes nothing."""
        with self.server.awake():
            self.scraper.renew()
            self.scraper.scrape()
            for _ in range(self.scrapes):
                self.scraper.lag()
                cpu, started = self.server.cpu_seconds(), time.perf_counter()
                self._text = self.scraper.scrape()
                self._seconds.append(time.perf_counter() - started)
                self._cpu += self.server.cpu_seconds() - cpu
                self._lags.append(self.scraper.lag())

    def figures(self) -> Mapping[str, float]:
        """Return means over the scrapes since the last call: time, CPU and the loop's worst lag of each; size."""
        times, lags, cpu = self._seconds, self._lags, self._cpu
        self._seconds, self._lags, self._cpu = [], [], 0.0
        return {
            "time": sum(times) / len(times) * 1e3,
            "work": cpu / len(times) * 1e3,
            "stall": round(sum(lags) / len(lags) * 1e3, 3),  # the loop's clock counts milliseconds: 0 is 0
            "series": float(count_series(self._text)),
            "size": len(self._text) / 1e3,
        }
