"""A real Prometheus and a real Alertmanager for tests, and what they are told and asked.

    def test_of_mine(prometheus, alertmanager):              # fixtures of tests/monitor/conftest.py, one pair a session
        prometheus.scrape("orders", ["127.0.0.1:9464"])      # `job` is orders; waits until the first scrape has worked
        prometheus.set_rules({"mine.yml": text})             # all rule files from now on; waits until they are loaded
        prometheus.instant("up")                             # [Sample(labels, value)]
        prometheus.range("rate(x_total[5s])", seconds=60)    # [Line(labels, values)]
        with alertmanager.webhook() as alerts:               # receives every alert, firing and resolved
            alerts.wait_for(lambda alert: alert.name == "SLOBurnFast" and alert.firing)

They scrape and evaluate every half second, so `rate` needs a window of 2 s or more. A new target is scraped after 5 to
10 seconds, whatever the interval: Prometheus looks for targets every five seconds. So scrape what you need once and let
several tests share it, by a fixture of your module or session.

All of it blocks: call it from plain tests, or from a thread of their own in others.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from servers import Command, DebianPackage, Running, Server

INTERVAL = "500ms"
"""Between two scrapes and two evaluations of rules."""
PATIENCE = 40.0
"""Seconds after which something will not come to be; a busy machine needs some."""
_LOOK_EVERY = 0.05
_CONFIG = """\
global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}
rule_files: ["{folder}/rules/*.yml"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: services
    file_sd_configs: [{{files: ["{folder}/targets/*.json"], refresh_interval: 1s}}]
"""
_NOBODY = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


class Sample(NamedTuple):
    """One series at one moment."""

    labels: dict[str, str]
    value: float


class Line(NamedTuple):
    """One series over a time."""

    labels: dict[str, str]
    values: list[float]


class Alert(NamedTuple):
    """An alert as a webhook got it, and the group it came in."""

    labels: dict[str, str]
    annotations: dict[str, str]
    firing: bool
    receiver: str

    @property
    def name(self) -> str:
        return self.labels["alertname"]


# ---- Prometheus


class Prometheus:
    """A Prometheus that runs.

    Args:
      running: Its process, with the folder that its configuration is in.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self.url = running.url
        self._client = httpx.Client(base_url=running.url, trust_env=False, timeout=10.0)

    def close(self) -> None:
        """Close the connections to it."""
        self._client.close()

    # ---- what it is told

    def scrape(self, service: str, addresses: Sequence[str], *, wait: bool = True) -> None:
        """Scrape a service at these addresses, `127.0.0.1:9464`, and no other of it; none ends it.

        Args:
          service: `job` of all series.
          wait: Until each has been scraped.
        """
        groups = [{"targets": list(addresses), "labels": {"job": service}}]
        _replace(self._running.folder / "targets" / f"{service}.json", json.dumps(groups))
        if wait:
            self.await_up(service, addresses)

    def await_up(self, service: str, addresses: Iterable[str]) -> None:
        """Return when each of these addresses has been scraped, and the last scrape has worked."""
        for address in addresses:
            query = f'up{{job="{service}",instance="{address}"}} == 1'
            eventually(partial(self._is_found, query), f"{service} at {address} was not scraped")

    def _is_found(self, query: str) -> bool:
        return bool(self.instant(query))

    def set_rules(self, files: Mapping[str, str]) -> None:
        """Have these rule files, by name, and no others; without any, none.

        Raises:
          AssertionError: Prometheus refuses them; the message says why.
        """
        folder = self._running.folder / "rules"
        for old in folder.glob("*.yml"):
            old.unlink()
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        answer = self._client.post("/-/reload")
        assert answer.status_code == httpx.codes.OK, answer.text

    # ---- what it is asked

    def instant(self, query: str, *, at: float | None = None) -> list[Sample]:
        """Return what an expression that gives a vector or a number is now, or was at a Unix time."""
        found = self.ask("query", {"query": query} if at is None else {"query": query, "time": at})
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in found["result"]]

    def value(self, query: str) -> float:
        """Return the one value that an expression has now."""
        (found,) = self.instant(query)
        return found.value

    def range(self, query: str, *, seconds: float = 60.0, step: float = 1.0) -> list[Line]:
        """Return what an expression was over the last seconds, once every `step` seconds."""
        now = time.time()
        found = self.ask("query_range", {"query": query, "start": now - seconds, "end": now, "step": step})
        return [Line(one["metric"], [float(value) for _, value in one["values"]]) for one in found["result"]]

    def exemplars(self, query: str, *, seconds: float = 60.0) -> list[dict[str, str]]:
        """Return the labels of the exemplars, `trace_id` for one, of what a query selects."""
        now = time.time()
        found = self.ask("query_exemplars", {"query": query, "start": now - seconds, "end": now})
        return [exemplar["labels"] for one in found for exemplar in one["exemplars"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing: `labels`, `annotations`, `state`."""
        found: list[dict[str, Any]] = self.ask("alerts", {})["alerts"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped: `labels`, `health`, `lastError`."""
        found: list[dict[str, Any]] = self.ask("targets", {})["activeTargets"]
        return found

    def ask(self, what: str, parameters: Mapping[str, str | float]) -> Any:
        """Return the data that /api/v1/WHAT answers.

        Raises:
          AssertionError: it is refused; the message says why.
        """
        answer = self._client.get(f"/api/v1/{what}", params=dict(parameters)).json()
        assert answer["status"] == "success", f"{answer['error']}: {parameters}"
        return answer["data"]


# ---- Alertmanager


class Alertmanager:
    """An Alertmanager that runs; without a `webhook` it tells nobody."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.url = running.url
        self._client = httpx.Client(base_url=running.url, trust_env=False, timeout=10.0)

    def close(self) -> None:
        """Close the connections to it."""
        self._client.close()

    def configure(self, text: str) -> None:
        """Have it run by another configuration, as a whole alertmanager.yml.

        Raises:
          AssertionError: it refuses it; the message says why.
        """
        (self._running.folder / "alertmanager.yml").write_text(text, encoding="utf-8")
        answer = self._client.post("/-/reload")
        assert answer.status_code == httpx.codes.OK, answer.text

    @contextmanager
    def webhook(self, configuration: Callable[[str], str] | None = None) -> Iterator["Webhook"]:
        """Start a receiver, have all alerts sent there, and at the end send none any more.

        Args:
          configuration: Makes the whole alertmanager.yml for the receiver's URL; without it, everything is sent at
            once, ungrouped.
        """
        with Webhook() as receiver:
            self.configure((configuration or _everything_to)(receiver.url))
            try:
                yield receiver
            finally:
                self.configure(_NOBODY)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it has: `labels`, and in `status` the `state` and by what each is `inhibitedBy`."""
        found: list[dict[str, Any]] = self._client.get("/api/v2/alerts").json()
        return found


def _everything_to(url: str) -> str:
    route = "{receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}"
    return f"route: {route}\nreceivers: [{{name: test, webhook_configs: [{{url: '{url}', send_resolved: true}}]}}]\n"


class Webhook:
    """Receives alerts, in threads of its own.

    Attributes:
      url: Where.
      received: All that came, the oldest first.
    """

    def __init__(self) -> None:
        self.received: list[Alert] = []
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._request_class())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> "Webhook":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, wanted: Callable[[Alert], bool], within: float = PATIENCE) -> Alert:
        """Return the first alert of this kind, that came already or comes.

        Raises:
          AssertionError: none comes within these seconds; the message has what came.
        """
        with self._came:
            came = self._came.wait_for(lambda: any(map(wanted, self.received)), within)
            assert came, f"not among {self.received}"
            return next(filter(wanted, self.received))

    def forget(self) -> None:
        """Forget what came."""
        with self._came:
            self.received.clear()

    def _take(self, body: dict[str, Any]) -> None:
        with self._came:
            for one in body["alerts"]:
                firing = one["status"] == "firing"
                self.received.append(Alert(one["labels"], one["annotations"], firing, body["receiver"]))
            self._came.notify_all()

    def _request_class(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Request(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Request


# ---- starting them


@contextmanager
def prometheus_at(place: str, folder: Path, alertmanager: str) -> Iterator[Prometheus]:
    """Start a Prometheus, give it when it answers, and end it.

    Args:
      place: Path of the executable.
      folder: Of its own; it is made.
      alertmanager: host:port.
    """
    with Running(_prometheus(alertmanager), place, folder) as running:
        found = Prometheus(running)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def alertmanager_at(place: str, folder: Path) -> Iterator[Alertmanager]:
    """Start an Alertmanager that knows no other, give it when it answers, and end it."""
    with Running(_ALERTMANAGER, place, folder) as running:
        found = Alertmanager(running)
        try:
            yield found
        finally:
            found.close()


def _prometheus(alertmanager: str) -> Server:
    def commands(place: str, ports: Sequence[int], folder: Path) -> list[Command]:
        for name in ("rules", "targets", "data"):
            (folder / name).mkdir(exist_ok=True)
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(interval=INTERVAL, folder=folder, alertmanager=alertmanager))
        arguments = (f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", "--web.enable-lifecycle")
        # After each reload it knows no Alertmanager for some seconds; an alert of that time is sent again soon.
        options = ("--enable-feature=exemplar-storage", "--rules.alert.resend-delay=1s")
        return [_command(place, ports, *arguments, *options)]

    return _server("prometheus", ("prometheus", "promtool"), commands)


def _alertmanager_commands(place: str, ports: Sequence[int], folder: Path) -> list[Command]:
    config = folder / "alertmanager.yml"
    config.write_text(_NOBODY)
    alone = "--cluster.listen-address="
    return [_command(place, ports, f"--config.file={config}", f"--storage.path={folder / 'data'}", alone)]


def _command(place: str, ports: Sequence[int], *arguments: str) -> Command:
    return Command([place, *arguments, f"--web.listen-address=127.0.0.1:{ports[0]}", "--log.level=warn"])


def _server(
    name: str, executables: tuple[str, ...], commands: Callable[[str, Sequence[int], Path], list[Command]]
) -> Server:
    variable = f"HASTEN_TEST_{name.upper().replace('-', '_')}"
    return Server(name, DebianPackage(name, executables), variable, "http://{place}", commands, _is_ready)


def _is_ready(ports: Sequence[int]) -> bool:
    with closing(HTTPConnection("127.0.0.1", ports[0], timeout=5.0)) as connection:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == httpx.codes.OK


_ALERTMANAGER = _server("prometheus-alertmanager", ("prometheus-alertmanager", "amtool"), _alertmanager_commands)


# ---- waiting


def eventually(holds: Callable[[], bool], otherwise: str, within: float = PATIENCE) -> None:
    """Ask until the answer is yes: nobody tells when a server has scraped or evaluated something.

    Raises:
      AssertionError: the answer is no for this many seconds; the message is `otherwise`.
    """
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up, otherwise
        time.sleep(_LOOK_EVERY)


def _replace(file: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    half = file.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    half.replace(file)
