"""The life of a monitor in a process: it watches a loop, and the admin port says what it sees.

an ASGI app         `hasten.install` puts it in; it lives from the lifespan's begin, before the app starts, to its end
any other process   `async with hasten.monitoring(service="stock", watch=(server, cache)):`
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hasten._core.errors import ConfigurationError
from hasten.admin import DEFAULT_ADMIN, NO_ADMIN, Admin, parse_address
from hasten.ledger import Ledger
from hasten.monitor import Check, Monitor
from hasten.monitor.slo import read_objectives

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from hasten.monitor.otel import Otlp, Telemetry
    from hasten.profiling import ProfileOptions


def make_monitor(
    service: str,
    slo: str | Path | None,
    *,
    version: str = "",
    aliases: str = "",
    registry: "CollectorRegistry | None" = None,
) -> Monitor:
    """Return a monitor with the buckets of the service's objectives.

    Raises:
      ConfigurationError: the objectives cannot be read, there are no such aliases, or the registry has our names.
    """
    objectives = () if slo is None else read_objectives(slo)
    ours = [one for one in objectives if not service or one.service == service]
    monitor = Monitor(service, version=version, objectives=ours, aliases=aliases)
    if registry is not None:
        monitor.share(registry)
    return monitor


class MonitorLife:
    """Has a monitor watch while an app lives, and serves its admin port.

    Args:
      admin: Where; None, or "off", has no port.
      token: Whoever asks there must send it; empty for nobody.
      otlp: The collector that gets spans and metrics; None for none.
      profile: What is captured by itself.
    Raises:
      ConfigurationError: an address is none, or an option of profiles is out of bounds.
      MissingDependency: there is a collector, and OpenTelemetry's SDK is not installed.
    """

    def __init__(
        self,
        monitor: Monitor,
        admin: str | None,
        token: str,
        otlp: "Otlp | str | None" = None,
        *,
        profile: "ProfileOptions | bool" = False,
    ) -> None:
        self.monitor = monitor
        self.began = False
        self._lives = False
        self._profile = _profile_options(profile)
        self._admin = None
        if admin is not None and admin != NO_ADMIN:
            self._admin = Admin(monitor, parse_address(admin, token), self._profile)
        self._state = "it starts"
        self._telemetry = None if otlp is None else _telemetry(monitor, otlp)
        monitor.add_checks(self._checks)

    def begin(self) -> None:
        """Watch the running loop: the app answers requests, and no lifespan was run.

        There is no admin port then, for nobody would close it: a client in tests asks an app as it is.
        """
        self.ready()
        self.monitor.runtime.start()
        self.began = True

    def start(self) -> None:
        """Watch the running loop and serve the admin port.

        Raises:
          ConfigurationError: the port cannot be bound.
        """
        self._lives = True
        if self._profile is not None and self._profile.allow_tracers:
            _allow_tracers()
        if self.monitor.registry is not None:
            self.monitor.registry.join()
        if self._admin is not None:
            self._admin.start()
        if self._telemetry is not None:
            self._telemetry.start()  # after the admin port, which says the worker's number
        self.monitor.runtime.start()
        self.began = True

    def ready(self) -> None:
        """Note that the process has started."""
        self._state = ""
        if self._admin is not None:
            self._admin.arm()

    async def lifespan(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """Watch while an app's lifespan runs, or until the server stops if the app has none.

        An app that raises or returns before it has asked for the first message has none.
        """
        asked = False

        async def received() -> Any:
            nonlocal asked
            message = await receive()
            asked = True
            if message["type"] == "lifespan.shutdown":
                self._state = "it stops"
            return message

        async def sent(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.ready()
            else:  # the last word: servers wait for nothing that comes behind it
                await self.end()
            await send(message)

        self._state = "it starts"
        try:
            self.start()
        except ConfigurationError as error:
            await self.end()  # what has begun
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        try:
            try:
                await app(scope, received, sent)
            except Exception:
                if asked:
                    raise
            if not asked:
                await _live_alone(received, sent)
        finally:
            await self.end()

    async def end(self) -> None:
        """Watch no more, and close the admin port; without waiting if it has ended already.

        An app's lifespan returns in the step that says its last word, so that layers outside have theirs, too.
        """
        if not self._lives:
            return
        self.monitor.runtime.stop()
        self.began = False
        if self.monitor.registry is not None:
            self.monitor.registry.leave()
        if self._admin is not None:
            await self._admin.aclose()
        if self._telemetry is not None:
            await self._telemetry.aclose()
        self._lives = False  # last: an end that is cancelled goes on when it is asked for again

    def _checks(self) -> tuple[Check, ...]:
        return (Check(name="app", ok=not self._state, reason=self._state),)


async def _live_alone(receive: Any, send: Any) -> None:
    """Speak an app's lifespan in its place."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _telemetry(monitor: Monitor, otlp: "Otlp | str") -> "Telemetry":
    from hasten.monitor.otel import Telemetry  # OpenTelemetry's SDK takes 0.3 s to import

    telemetry = Telemetry(monitor, otlp)
    monitor.follow(telemetry)
    return telemetry


def _profile_options(given: "ProfileOptions | bool") -> "ProfileOptions | None":
    """Return what is captured by itself; None for nothing."""
    if given is False:
        return None
    from hasten.profiling._triggers import profile_options  # for who wants any

    return profile_options(given)


def _allow_tracers() -> None:
    from hasten.profiling._ptrace import allow_tracers  # for who wants it

    allow_tracers()


@asynccontextmanager
async def monitoring(
    *,
    service: str = "",
    version: str = "",
    watch: Iterable[Any] = (),
    slo: str | Path | None = None,
    admin: str | None = DEFAULT_ADMIN,
    admin_token: str = "",
    otlp: "Otlp | str | None" = None,
    registry: "CollectorRegistry | None" = None,
    aliases: str = "",
    profile: "ProfileOptions | bool" = False,
) -> AsyncIterator[Monitor]:
    """Monitor a process without an ASGI app while the block runs: a gRPC server, a consumer.

    Args:
      service: Its name: Prometheus' `job`.
      version: Of the service, for `hasten_build_info`.
      watch: What tells the monitor of itself: see `hasten.monitor.Monitor.watch`, which the block can call, too.
      slo: A file of objectives; latency thresholds get a bucket.
      admin: Address of the admin port; if the port is taken, the next that is free. None, or "off", has no port.
      admin_token: Needed where others than this machine can reach the port.
      otlp: URL of an OpenTelemetry collector, `http://collector:4318`, or a `hasten.monitor.otel.Otlp` that says more:
        it gets spans and metrics. What is watched later than that must not have begun to work.
      registry: One of prometheus_client: each has the other's metrics.
      aliases: `instrumentator` serves the names of prometheus-fastapi-instrumentator, too.
      profile: As of `hasten.install`.
    Raises:
      ConfigurationError: an argument is wrong, or the port cannot be bound.
      MissingDependency: `otlp` needs the extra `otel`.
    """
    # In a thread: it reads a file.
    monitor = await asyncio.to_thread(make_monitor, service, slo, version=version, aliases=aliases, registry=registry)
    life = await asyncio.to_thread(MonitorLife, monitor, admin, admin_token, otlp, profile=profile)
    monitor.watch(*watch)
    ledger = Ledger(service)
    monitor.watch_ledger(ledger)
    loop = asyncio.get_running_loop()
    ledger.attach(loop)
    try:
        life.start()
        life.ready()
        yield monitor
    finally:
        ledger.detach(loop)
        await life.end()
