"""`metrics`: what counting requests costs them, and what a scrape costs the loop, beside the usual libraries.

All serve one FastAPI app on uvicorn with uvloop and httptools from one process each, on one core, stopped while others
have their turn. `call` is the app without a server, beside the bare one in a process that calls both, a new one for
each turn; `added` is the median of these. For `request` a lean client has the
other core and asks over 32 connections as fast as answers come; `added` is a subject's CPU per request less the bare
app's in the same round. For `scrape-N` each service has been asked for as many routes as give it about N series, and is
scraped while nothing else happens.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks._driven import Driven, OrderedProcess, figures_of
from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject, Trial
from benchmarks._processes import Cores, PinnedProcess, Stage
from benchmarks.metrics._calls import Call, Called
from benchmarks.metrics._scrape import Scraper, ScrapeTrial, count_series
from benchmarks.response_cache._client import Ask

_CASES = {"scrape-1000": 1_000, "scrape-10000": 10_000}
_NOT_SCRAPED = {
    "opentelemetry"
}  # its exporter for Prometheus is a package of its own, and renders by prometheus_client
_REQUEST = "request"
_CALL = "call"
_ROUTES = 1_000  # of a service that is scraped; one that answers has none of them, since peers look at all routes


class MetricsBenchmark(Benchmark):
    """CPU that metrics add to a request, and what a scrape takes."""

    name = "metrics"
    summary = "metrics of HTTP requests: CPU added per request, and a scrape's time and loop stall"
    subjects = (
        Subject("bare", Role.LIMIT, "FastAPI on uvicorn, nothing installed; its scrape is an empty page", "fastapi"),
        Subject("hasten-monitor", Role.OURS, "the monitor and its admin port, without the ledger", "hasten"),
        Subject("hasten-install", Role.OURS, "hasten.install(app): monitor, admin port, ledger"),
        Subject("instrumentator", Role.PEER, "its default metrics", "prometheus-fastapi-instrumentator"),
        Subject("instrumentator-loop", Role.PEER, "served by make_asgi_app, on the loop", "prometheus-client"),
        Subject("starlette-exporter", Role.PEER, "its default metrics", "starlette-exporter"),
        Subject("opentelemetry", Role.PEER, "metrics alone", "opentelemetry-instrumentation-fastapi"),
    )
    units: Mapping[str, str] = {
        "cpu": "µs",
        "added": "µs",
        "rate": "/s",
        "p50": "µs",
        "p99": "µs",
        "time": "ms",
        "work": "ms",
        "stall": "ms",
        "series": "",
        "size": "kB",
    }
    packages = ("uvicorn", "uvloop", "httptools", "starlette", "opentelemetry-sdk")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start the services and the client; fill what is scraped; yield the trials."""
        cores = Cores.available()
        with Stage() as stage, ExitStack() as scrapers:
            command = [sys.executable, "-m", "benchmarks.response_cache._client"]
            client = stage.start(OrderedProcess("client of metrics", command, cores.client))
            trials: list[Trial] = []
            conditions: dict[str, str] = {}
            if effort.measures(_CALL):
                trials += _call_trials(effort, cores.server)
            if effort.measures(_REQUEST):
                trials += _request_trials(effort, stage, client, cores.server)
            for case, series in _CASES.items():
                if effort.measures(case):
                    found = _scrape_trials(effort, stage, scrapers, cores.server, case, series)
                    trials += found
                    conditions[case] = f"{found[0].scrapes} scrapes a turn, one after the other" if found else ""
            stage.suspend()
            yield Prepared(tuple(trials), conditions)


def _service(name: str, core: int, routes: int) -> PinnedProcess:
    command = [sys.executable, "-m", "benchmarks.metrics._apps", name, str(routes)]
    return PinnedProcess(f"service of subject {name!r}", command, core)


def _call_trials(effort: Effort, core: int) -> list["CallTrial"]:
    turns, stretches = (1, 40) if effort.quick else (3, 100)
    return [
        CallTrial(subject.name, core, Call(stretches), turns)
        for subject in effort.choose(MetricsBenchmark.subjects)
        if subject.name != "instrumentator-loop"  # counts as `instrumentator` does
    ]


def _request_trials(effort: Effort, stage: Stage, client: OrderedProcess, core: int) -> list["RequestTrial"]:
    turns, seconds, warm_up = (2, 0.3, 0.05) if effort.quick else (6, 0.4, 0.05)
    trials: list[RequestTrial] = []
    for subject in effort.choose(MetricsBenchmark.subjects):
        if subject.name != "instrumentator-loop":  # counts as `instrumentator` does
            server = stage.start(_service(subject.name, core, 0))
            order = Ask(server.address.removeprefix("http://"), server.pid, seconds, warm_up, cached=False)
            trials.append(RequestTrial(subject.name, server, client, order, turns))
    bare = next((trial for trial in trials if trial.subject == "bare"), None)
    for trial in trials:
        trial.bare = bare
    return trials


def _scrape_trials(
    effort: Effort, stage: Stage, scrapers: ExitStack, core: int, case: str, series: int
) -> list[ScrapeTrial]:
    turns, scrapes = (1, 3) if effort.quick else (2, 10)
    trials: list[ScrapeTrial] = []
    for subject in effort.choose(MetricsBenchmark.subjects):
        if subject.name not in _NOT_SCRAPED:
            server = stage.start(_service(subject.name, core, _ROUTES))
            scraper = scrapers.enter_context(closing(Scraper(server.address)))
            if subject.role is not Role.LIMIT:
                _fill(scraper, series)
            trials.append(ScrapeTrial(subject.name, case, server, scraper, turns, scrapes))
    return trials


def _fill(scraper: Scraper, series: int) -> None:
    """Ask for routes until there are so many series, or no more routes."""
    for route in range(_ROUTES):
        if route % 20 == 0 and count_series(scraper.scrape()) >= series:
            return
        scraper.fill(route)


@dataclass(slots=True)
class CallTrial:
    """Calls of one app and of the bare one, without a server, in a new process for each turn."""

    subject: str
    core: int
    order: Call
    turns: int
    case: str = _CALL
    _called: list[Called] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Start a process and have it call for a while; `seed` changes nothing."""
        command = [sys.executable, "-m", "benchmarks.metrics._calls", self.subject]
        with OrderedProcess(f"calls of subject {self.subject!r}", command, self.core) as process:
            self._called.append(process.measure(self.order, 1.0, Called))

    def figures(self) -> Mapping[str, float]:
        """Return the medians of the turns since the last call, in µs a call."""
        called, self._called = self._called, []
        figures = {"cpu": median(each.cpu for each in called) * 1e6}
        if self.subject != "bare":
            figures["added"] = median(each.cpu - each.bare for each in called) * 1e6
        return figures


@dataclass(slots=True)
class RequestTrial:
    """Requests to one service; it is stopped except during its turns.

    Attributes:
      bare: The trial of the app without metrics, if it takes part.
    """

    subject: str
    server: PinnedProcess
    client: OrderedProcess
    order: Ask
    turns: int
    case: str = _REQUEST
    bare: "RequestTrial | None" = None
    _driven: list[Driven] = field(default_factory=list)
    _taken: dict[str, float] = field(default_factory=dict)

    def turn(self, seed: int) -> None:
        """Ask for a while; `seed` changes nothing."""
        self._taken = {}
        with self.server.awake():
            self._driven.append(self.client.measure(self.order, self.order.seconds + self.order.warm_up, Driven))

    def take(self) -> dict[str, float]:
        """Return the figures of the turns since the last round; the bare trial is asked by the others, too."""
        if not self._taken:
            driven, self._driven = self._driven, []
            self._taken = figures_of(driven)
        return self._taken

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call; `cpu` is the server's."""
        taken = self.take()
        figures = {"cpu": taken["server"], "rate": taken["rate"], "p50": taken["p50"], "p99": taken["p99"]}
        if self.bare is not None and self.bare is not self:
            figures["added"] = taken["server"] - self.bare.take()["server"]
        return figures
