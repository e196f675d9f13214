"""What one process knows of itself, as metrics: requests, calls, messages, caches, the loop.

    monitor = Monitor("orders", objectives=read_objectives("slo.toml"))
    monitor.watch(cache, channel, server, bus)      # they tell it, or are asked when somebody reads
    monitor.snapshot()                              # all metrics at this moment, in any thread

`hasten.install` makes one for an app and serves it on the admin port; `hasten.monitoring` does for a process without an
app. Nothing here opens a port, starts a thread or reads a file.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.ledger import WorkRecorder
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._aliases import INSTRUMENTATOR, instrumentator
from hasten.monitor._caches import breaker_readings, cache_hook, cache_reader, limiter_readings
from hasten.monitor._calls import Calls
from hasten.monitor._concurrency import (
    background_readings,
    collector_readings,
    stray_hook,
    thread_hook,
    thread_readings,
)
from hasten.monitor._http_calls import HttpCalls
from hasten.monitor._messages import Messages
from hasten.monitor._process import process_reader, started_at
from hasten.monitor._recorder import Reading, Recorder
from hasten.monitor._requests import AsgiApp, Life, Requests, requests_layer
from hasten.monitor._runtime import Runtime
from hasten.monitor._snapshot import Family, Snapshot
from hasten.monitor._traces import TraceKeeper
from hasten.monitor.slo import Objective, bounds_of
from hasten.resilience import Breaker, Limiter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from hasten.cache import Cache
    from hasten.concurrency import Background, GcPolicy, ThreadPool
    from hasten.events import Bus
    from hasten.ledger import Ledger
    from hasten.monitor._registry import SharedRegistry


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that should hold in a process.

    Attributes:
      name: The same each time: `database`, `consumer orders.paid billing`.
      ok: Whether it holds.
      reason: Why not, in one line; empty if it holds.
      required: While it does not hold, the process is not ready.
    """

    name: str
    ok: bool = True
    reason: str = ""
    required: bool = True


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of connections at one moment.

    Attributes:
      used, idle: Connections that somebody has, and that nobody has.
      limit: Of both together.
      waiting: Callers that wait for one; 0 where that is not known.
    """

    used: int
    idle: int
    limit: int
    waiting: int = 0


class Follower(Protocol):
    """Sees all that a monitor watches: `hasten.monitor.otel.Telemetry`."""

    def watch(self, thing: Any) -> None:
        """See something that `Monitor.watch` takes."""

    def watch_requests(self, requests: Requests) -> None:
        """See the app's requests."""

    def watch_ledger(self, ledger: "Ledger") -> None:
        """See the ledger."""

    def readings(self) -> Iterable[Reading]:
        """Return its own metrics, in any thread."""


class Monitor:
    """The metrics of one process. One event loop's; may be read in any thread.

    Args:
      service: Its name: Prometheus' `job`.
      worker: Its number among the processes of the service; stands on every series.
      version: Of the service, for `hasten_build_info`.
      objectives: What the service promises; histograms get a bucket for each threshold.
      aliases: `instrumentator` adds the names of prometheus-fastapi-instrumentator; empty adds none.
    Raises:
      ConfigurationError: there are no such aliases.

    Attributes:
      ledger: Where the time of its requests goes, if there is one.
      url: Of the admin port that serves it; empty while there is none.
      traces: What it did in traces that somebody has asked for.
    """

    def __init__(
        self,
        service: str = "",
        *,
        worker: str = "0",
        version: str = "",
        objectives: Iterable[Objective] = (),
        aliases: str = "",
    ) -> None:
        self.service = service
        self.registry: SharedRegistry | None = None
        self._aliased = _aliased(aliases)
        self.objectives = tuple(objectives)
        self.worker = worker
        self.ledger: Ledger | None = None
        self._work_recorder: WorkRecorder | None = None
        self.url = ""
        self._checks: list[Callable[[], Iterable[Check]]] = []
        self._watched: list[object] = []
        self._required: list[object] = []
        self._followers: list[Follower] = []
        self._names: set[tuple[str, str]] = set()
        self._recorder = Recorder(bounds_of(self.objectives))
        self._requests = Requests(self._recorder)
        self._calls = Calls(self._recorder)
        self._http_calls = HttpCalls(self._recorder)
        self._messages = Messages(self._recorder)
        self.runtime = Runtime(self._recorder, self._executors)
        self._recorder.add_reader(process_reader(service, version))
        self._recorder.add_reader(self._read_ledger)
        self._recorder.add_reader(self._read_checks)
        self._reading = threading.Lock()  # readers are not made to run twice at once
        self.traces = TraceKeeper()
        self.follow(self.traces)

    # ---- what is watched

    def watch(self, *things: Any) -> None:
        """Have the metrics of parts of hasten.

        They are `Cache`, `Bus`, `Relay`, `Channel`, `Server`, `Client`, `Breaker`, `Limiter`, `ThreadPool`,
        `Background`, `TaskWatch` and `GcPolicy`. What is watched already is not watched twice. A channel is given
        before its stubs are made, a bus before it starts. Caches are named by their namespace, the connections and
        breakers of a `hasten.http.client.Client` by its hosts, several of one with a number.

        Raises:
          ConfigurationError: it is none of them.
        """
        for thing in things:
            if not any(thing is each for each in self._watched):
                self._watch(thing)
                self._have_recorded(thing)
                self._watched.append(thing)
                for follower in self._followers:
                    follower.watch(thing)

    def follow(self, follower: Follower) -> None:
        """Have something else see what is watched, now and later, and have its own metrics among the others."""
        self._followers.append(follower)
        self._recorder.add_reader(follower.readings)
        follower.watch_requests(self._requests)
        if self.ledger is not None:
            follower.watch_ledger(self.ledger)
        for thing in self._watched:
            follower.watch(thing)

    @property
    def app(self) -> Any:
        """The Starlette app whose routes name the requests, if there is one."""
        return self._requests.app

    @property
    def watched(self) -> tuple[object, ...]:
        """What `watch` was given, in its order."""
        return tuple(self._watched)

    def can_watch(self, thing: object) -> bool:
        """Whether `watch` takes it."""
        return self._way_to_watch(thing) is not None

    def _watch(self, thing: Any) -> None:
        watch = self._way_to_watch(thing)
        if watch is None:
            what = f"watch {type(thing).__name__}"
            *names, last = (name for _, name, _ in self._ways)
            raise ConfigurationError(what, "nothing to be read in it", f"give a {', '.join(names)} or {last}")
        watch(thing)

    def _way_to_watch(self, thing: object) -> Callable[[Any], None] | None:
        return next((watch for module, name, watch in self._ways if _is_of(module, name, thing)), None)

    @property
    def _ways(self) -> tuple[tuple[str, str, Callable[[Any], None]], ...]:
        """What can be watched, by module and class, and how; of modules that are not loaded there is nothing."""
        return (
            ("hasten.cache", "Cache", self._watch_cache),
            ("hasten.events", "Bus", self._watch_bus),
            ("hasten.events.outbox", "Relay", lambda relay: relay.add_hook(self._messages.note_outbox)),
            ("hasten.rpc", "Channel", lambda channel: channel.add_hook(self._calls.note)),
            ("hasten.rpc", "Server", lambda server: server.add_hook(self._calls.note)),
            ("hasten.http.client", "Client", lambda client: self._http_calls.watch(client, self._name_for)),
            ("hasten.resilience", "Breaker", lambda breaker: self.watch_breaker("breaker", breaker)),
            ("hasten.resilience", "Limiter", lambda limiter: self.watch_limiter("limiter", limiter)),
            ("hasten.concurrency", "ThreadPool", self._watch_threads),
            ("hasten.concurrency", "Background", lambda tasks: self.watch_background("background", tasks)),
            ("hasten.concurrency", "TaskWatch", lambda strays: strays.add_hook(stray_hook(self._recorder))),
            ("hasten.concurrency", "GcPolicy", self._watch_collector),
        )

    def _watch_cache(self, cache: "Cache") -> None:
        name = self._name_for("cache", cache.namespace)
        cache.add_hook(cache_hook(self._recorder, name))
        self._recorder.add_reader(cache_reader(name, cache.statistics))

    def _watch_bus(self, bus: "Bus") -> None:
        bus.add_hook(self._messages.note)
        self.add_checks(lambda: self._checks_of(bus))

    def _watch_threads(self, pool: "ThreadPool") -> None:
        name = self._name_for("threads", pool.name)
        pool.add_hook(thread_hook(self._recorder, name))
        self._recorder.add_reader(lambda: thread_readings(name, pool.statistics()))

    def _watch_collector(self, policy: "GcPolicy") -> None:
        self._recorder.add_reader(lambda: collector_readings(policy.statistics()))

    def _have_recorded(self, thing: Any) -> None:
        """Have what a server or a bus handles be in the ledger, if there is one."""
        if self._work_recorder is not None and hasattr(thing, "record"):
            thing.record(self._work_recorder)

    def require(self, bus: "Bus") -> None:
        """Watch a bus, and have the process be ready only while the bus is: a process that is there for its consumers.

        One that is only watched may be away: who writes to an outbox serves on without a broker.
        """
        self.watch(bus)
        self._required.append(bus)

    def _checks_of(self, bus: "Bus") -> list[Check]:
        required = any(bus is each for each in self._required)
        return [Check(name=one.name, ok=one.ok, reason=one.reason, required=required) for one in bus.checks()]

    def watch_breaker(self, name: str, breaker: Breaker) -> None:
        """Have a breaker's state in the metrics, by a name that says what is behind it."""
        name = self._name_for("breaker", name)
        self._recorder.add_reader(lambda: breaker_readings(name, breaker.statistics()))

    def watch_limiter(self, name: str, limiter: Limiter) -> None:
        """Have a limiter's numbers in the metrics, by a name that says what it bounds."""
        name = self._name_for("limiter", name)
        self._recorder.add_reader(lambda: limiter_readings(name, limiter.statistics()))

    def watch_background(self, name: str, background: "Background") -> None:
        """Have a background's tasks in the metrics, by a name that says what they do."""
        name = self._name_for("background", name)
        self._recorder.add_reader(lambda: background_readings(name, background.statistics()))

    def watch_pool(self, name: str, read: Callable[[], Pool]) -> None:
        """Have a pool of connections in the metrics.

        Args:
          read: Returns its numbers; called in another thread than the loop's, so it only looks.
        """
        name = self._name_for("pool", name)

        def readings() -> Iterable[Reading]:
            now = read()
            yield catalogue.POOL_CONNECTIONS, (name, "used"), now.used
            yield catalogue.POOL_CONNECTIONS, (name, "idle"), now.idle
            yield catalogue.POOL_CONNECTIONS, (name, "limit"), now.limit
            yield catalogue.POOL_WAITING, (name,), now.waiting

        self._recorder.add_reader(readings)

    def _name_for(self, kind: str, wanted: str) -> str:
        """Return a name that no other of its kind has."""
        name = wanted
        number = 1
        while (kind, name) in self._names:
            number += 1
            name = f"{wanted}-{number}"
        self._names.add((kind, name))
        return name

    def watch_ledger(self, ledger: "Ledger") -> None:
        """Have what a ledger sees of the loop in the metrics."""
        if self.ledger is None:
            self.ledger = self._requests.ledger = ledger
            self._work_recorder = WorkRecorder(ledger)
            ledger.hooks.append(self.runtime.note)
            for thing in self._watched:
                self._have_recorded(thing)
            for follower in self._followers:
                follower.watch_ledger(ledger)

    def watch_app(self, app: AsgiApp, life: Life, *, routed_by: Any = None) -> AsgiApp:
        """Return an ASGI app that calls `app`, and has its requests counted.

        Args:
          routed_by: The Starlette app whose routes name the requests, if there is one.
        """
        self._requests.app = routed_by
        return requests_layer(app, self._requests, life)

    # ---- readiness

    def add_checks(self, checks: Callable[[], Iterable[Check]]) -> None:
        """Have something asked for what should hold; in any thread, at once."""
        self._checks.append(checks)

    def checks(self) -> tuple[Check, ...]:
        """Return what should hold, in any thread; one that cannot be asked does not hold."""
        found: list[Check] = []
        for ask in list(self._checks):
            try:
                found.extend(ask())
            except Exception as error:
                found.append(Check(name=getattr(ask, "__qualname__", "check"), ok=False, reason=str(error)))
        return tuple(found)

    # ---- reading

    def snapshot(self) -> Snapshot:
        """Return all metrics as they are now, in any thread."""
        with self._reading:
            families = self._recorder.read()
            if self._aliased is not None:
                families += self._aliased(families)
            return Snapshot(self.service, self.worker, started_at(), time.time(), families)

    def share(self, registry: "CollectorRegistry") -> None:
        """Have the metrics of a registry of prometheus_client in the scrape, and these in its own.

        Raises:
          ConfigurationError: both have a metric of one name.
        """
        from hasten.monitor._registry import SharedRegistry  # prometheus_client, which whoever has a registry has

        metrics = catalogue.CATALOGUE if self._aliased is None else (*catalogue.CATALOGUE, *INSTRUMENTATOR)
        shared = SharedRegistry(registry, self.snapshot, metrics)
        shared.check()
        self.registry = shared

    def blocked_at(self) -> str:
        """Return what holds the loop now, `orders.py:41 place_order`, in any thread; empty where nothing is seen."""
        loop = self.runtime.loop
        return "" if loop is None or self.ledger is None else self.ledger.holder(loop)

    def _executors(self) -> tuple[ThreadPoolExecutor, ...]:
        return () if self.ledger is None else self.ledger.executors()

    def _read_ledger(self) -> Iterable[Reading]:
        if self.ledger is not None:
            for endpoint, totals in self.ledger.totals().items():
                yield catalogue.LEDGER_REQUESTS, (endpoint,), totals.requests
                for kind, seconds in totals.seconds.items():
                    yield catalogue.LEDGER_SECONDS, (endpoint, kind.value), seconds

    def _read_checks(self) -> Iterable[Reading]:
        for check in self.checks():
            yield catalogue.CHECK, (check.name, str(check.required).lower()), int(check.ok)


def _aliased(aliases: str) -> Callable[[Iterable[Family]], tuple[Family, ...]] | None:
    if aliases not in {"", "instrumentator"}:
        raise ConfigurationError(f"aliases {aliases!r}", "there are none", "say instrumentator, or nothing")
    return instrumentator if aliases else None


def is_bus(thing: object) -> "TypeGuard[Bus]":
    """Whether `Monitor.require` takes it."""
    return _is_of("hasten.events", "Bus", thing)


def _is_of(module: str, name: str, thing: object) -> bool:
    """Whether it is an instance of a class of hasten, without loading what nobody has."""
    found: Any = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(thing, found)
