"""`hasten.install(app, bus=bus)`: ledger and monitor in an app, and the buses that live and drain with it.

    the app starts ── its pools are there ──> the buses start, one after the other ──> requests
    requests are done ──> the buses drain, the last one first ──> the app ends

What lives with an app is any async context manager: `hasten.events.Bus`, an outbox's relay, a pool of your own. Nothing
here knows more of it. The monitor is outermost: it watches, and the admin port answers, before the app starts.
"""

import logging
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hasten._monitoring import MonitorLife, make_monitor
from hasten.admin import DEFAULT_ADMIN
from hasten.ledger import LedgerApp, Listener, ledger_of
from hasten.ledger import install as install_ledger
from hasten.monitor import Monitor, is_bus

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from hasten.monitor.otel import Otlp
    from hasten.profiling import ProfileOptions

App = TypeVar("App")
Lives = AbstractAsyncContextManager[Any, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
_logger = logging.getLogger("hasten")
_STATE = "_hasten_buses"  # where a Starlette app keeps its own
_LIFE = "_hasten_monitor"
_MOST_LAYERS = 20


def install(
    app: App,
    *,
    service: str = "",
    version: str = "",
    bus: Lives | Iterable[Lives] = (),
    watch: Iterable[Any] = (),
    slo: str | Path | None = None,
    admin: str | None = DEFAULT_ADMIN,
    admin_token: str = "",
    otlp: "Otlp | str | None" = None,
    registry: "CollectorRegistry | None" = None,
    aliases: str = "",
    profile: "ProfileOptions | bool" = False,
    sample_every: int = 20,
    detail: bool = False,
    listeners: Iterable[Listener] = (),
) -> App:
    """Put ledger and monitor into an ASGI app, have buses live with it, and return the app to serve.

    FastAPI and Starlette apps are changed in place and returned; any other ASGI app is wrapped. Nothing runs before the
    server calls the app; see `hasten.ledger.install` for the ledger, `hasten.monitor` for the metrics, and
    `hasten.admin` for the port that serves them. The monitor is at `app.state.monitor` (Starlette) or the wrapper's
    `monitor`.

    The app starts first, then the buses. When the server stops, the buses finish what they handle while all of the app
    is still there; then the app ends. A bus that does not start fails the app's start-up, after the app has ended
    again; if the app does not start, no bus does. A second call adds its buses behind those that are there; one that is
    there already is not added again. It adds to what is watched, too; of `slo`, `admin`, `otlp`, `registry`,
    `aliases` and `profile` the first call's hold.

    Admin port and buses live by the app's lifespan, so something must run it: a server does, and
    `with TestClient(app)`, but not Starlette for an app that is mounted into another. Install into the outer app, or
    enter `inner.router.lifespan_context(inner)` in the outer one's lifespan. FastAPI starts routers with a lifespan of
    their own that are included after this call behind the buses; include them before.

    Args:
      app: The ASGI 3 app.
      service: Name of the service in its accounts, and Prometheus' `job`; empty for none.
      version: Of the service, for `hasten_build_info`: dashboards show when another one came.
      bus: What lives with the app: a `hasten.events.Bus` or any other async context manager, or several. What
        `Monitor.watch` takes is watched, and the process is ready while its buses are.
      watch: What else tells the monitor of itself: caches, servers, breakers, limiters; see `Monitor.watch`.
      slo: A file of objectives (docs/reference/slo.md); latency thresholds get a bucket.
      admin: Address of the admin port; if it is taken, the next that is free. None, or "off", has no port.
      admin_token: What must be sent to the admin port; needed where others than this machine can reach it.
      otlp: URL of an OpenTelemetry collector, `http://collector:4318`, or a `hasten.monitor.otel.Otlp` that says more:
        it gets spans of one trace in ten that begin here and of all that others record, and the metrics.
      registry: One of prometheus_client, `prometheus_client.REGISTRY` for example: each has the other's metrics.
      aliases: `instrumentator` serves the names of prometheus-fastapi-instrumentator, too.
      profile: True captures a profile when the loop is held for half a second, when a quantile is over its objective,
        and when Alertmanager tells the admin port's /alerts of a reason; the last ones lie in
        ~/.local/state/hasten/profiles. It lets py-spy attach, too. `hasten.profiling.ProfileOptions` says more.
        Needs the admin port, which without it captures when somebody asks.
      sample_every: One request in this many is recorded, at random, ten a second at most; 1 records every request.
      detail: Record library calls with their arguments and sample every step (`hasten doctor`'s mode).
      listeners: Called with each `Account` on the loop's thread; must be quick.
    Raises:
      ConfigurationError: the objectives cannot be read, `admin` is no address or is open to others without a token,
        something cannot be watched, or an option of `profile` is out of bounds.
      MissingDependency: `otlp` needs the extra `otel`.
    """
    # More than 8 parameters: each is one thing that a service has, with a default that is right for nearly everybody.
    lives: Sequence[Lives] = (bus,) if isinstance(bus, AbstractAsyncContextManager) else tuple(bus)

    def life() -> MonitorLife:
        monitor = make_monitor(service, slo, version=version, aliases=aliases, registry=registry)
        return MonitorLife(monitor, admin, admin_token, otlp, profile=profile)

    app, monitor = _monitored(app, life)
    monitor.watch(*watch)
    for one in lives:
        if is_bus(one):
            monitor.require(one)
        elif monitor.can_watch(one):
            monitor.watch(one)
    app = install_ledger(app, service=service, sample_every=sample_every, detail=detail, listeners=listeners)
    ledger = ledger_of(app)
    if ledger is not None:
        monitor.watch_ledger(ledger)
    for one in lives:
        app = _let_live(app, one)
    return app


def monitor_of(app: Any) -> Monitor | None:
    """Return the monitor that `install` has put into an app."""
    life = _life_of(app)
    return None if life is None else life.monitor


def _life_of(app: Any) -> MonitorLife | None:
    life = getattr(getattr(app, "state", None), _LIFE, None)
    while life is None and isinstance(app, LedgerApp | AppWithBuses | MonitoredApp):
        life, app = getattr(app, "life", None), app.app
    return life if isinstance(life, MonitorLife) else None


def _monitored(app: App, make: Callable[[], MonitorLife]) -> tuple[App, Monitor]:
    """Return the app with a monitor in it, the one that is there already if there is."""
    life = _life_of(app)
    if life is not None:
        return app, life.monitor
    life = make()
    if not _is_starlette(app):
        wrapped: Any = MonitoredApp(app, life)
        return wrapped, life.monitor
    monitor, starlette = life.monitor, cast("Any", app)
    build = starlette.build_middleware_stack
    starlette.build_middleware_stack = lambda: monitor.watch_app(build(), life, routed_by=app)
    if starlette.middleware_stack is not None:
        starlette.middleware_stack = monitor.watch_app(starlette.middleware_stack, life, routed_by=app)
    starlette.state.monitor = monitor
    setattr(starlette.state, _LIFE, life)
    return app, monitor


class MonitoredApp:
    """An ASGI app with a monitor around it; `async`, since servers tell ASGI 3 from 2 by that."""

    def __init__(self, app: Any, life: MonitorLife) -> None:
        self.app = app
        self.life = life
        self._layer = life.monitor.watch_app(app, life, routed_by=_routed_by(app))

    @property
    def ledger(self) -> Any:
        """The ledger of the app within, where `hasten.ledger.install` looks for it."""
        return getattr(self.app, "ledger", None)

    @property
    def monitor(self) -> Monitor:
        """Of the app."""
        return self.life.monitor

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Run the app for one connection."""
        await self._layer(scope, receive, send)


def _routed_by(app: Any) -> Any:
    """Return the Starlette app behind layers that say what they are around; None where there is none."""
    for _ in range(_MOST_LAYERS):
        if app is None or _is_starlette(app):
            return app
        app = getattr(app, "app", None)
    return None


def _is_starlette(app: Any) -> bool:
    starlette: Any = sys.modules.get("starlette.applications")
    return starlette is not None and isinstance(app, starlette.Starlette)


def _let_live(app: App, one: Lives) -> App:
    """Have one more thing live with an app."""
    together = _together_with(app)
    if together is not None:
        together.add(one)
        return app
    together = Together()
    together.add(one)
    if _is_starlette(app):
        _wrap_lifespan(app, together)
        return app
    wrapped: Any = AppWithBuses(app, together)
    return wrapped  # type: ignore[no-any-return]


def _together_with(app: Any) -> "Together | None":
    """Return what an earlier call has let live with `app`."""
    found = getattr(getattr(app, "state", None), _STATE, None) or getattr(app, "buses", None)
    return found if isinstance(found, Together) else None


class Together:
    """Things that start one after the other and end in the opposite order; again and again, as apps in tests do."""

    def __init__(self) -> None:
        self._lives: list[Lives] = []
        self._running = AsyncExitStack()

    def add(self, one: Lives) -> None:
        """Add what is not there yet."""
        if not any(one is each for each in self._lives):
            self._lives.append(one)

    async def start(self) -> Exception | None:
        """Start all of them, or none; return what was in the way.

        It is returned so that the app, which has started, is ended as always: what follows a plain `yield` in its
        lifespan would not run if an exception came out of it.
        """
        async with AsyncExitStack() as starting:
            try:
                for one in self._lives:
                    await starting.enter_async_context(one)
            except Exception as error:
                failure = error
            else:
                self._running = starting.pop_all()
                return None
        return failure

    async def aclose(self) -> Exception | None:
        """End all of them, also if one fails at it; return the last failure."""
        try:
            await self._running.aclose()
        except Exception as error:
            return error
        return None


# ---- Starlette: the router's lifespan


def _wrap_lifespan(app: Any, together: Together) -> None:
    setattr(app.state, _STATE, together)
    original = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with original(app) as state:
            failure = await together.start()
            if failure is None:
                try:
                    yield state
                finally:
                    failure = await together.aclose()
        if failure is not None:
            raise failure

    app.router.lifespan_context = lifespan


# ---- any other app: the lifespan protocol


class AppWithBuses:
    """An ASGI app around another one, with or without a lifespan; `async`, since servers tell ASGI 3 from 2 by that."""

    def __init__(self, app: Any, buses: Together) -> None:
        self.app = app
        self.buses = buses

    @property
    def ledger(self) -> Any:
        """The ledger of the app within, where `hasten.ledger.install` looks for it."""
        return getattr(self.app, "ledger", None)

    @property
    def monitor(self) -> Any:
        """The monitor of the app within."""
        return getattr(self.app, "monitor", None)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Run the app for one connection."""
        if scope["type"] == "lifespan":
            await _Lifespan(self.app, self.buses, receive, send).run(scope)
        else:
            await self.app(scope, receive, send)


class _Lifespan:
    """One lifespan: the app's within, and the buses inside it, spoken with a server.

    An app that raises or returns before it has asked for the first message has no lifespan: the buses have one alone.
    One that raises behind it has failed to start, though ASGI has servers go on then: nobody would see that nothing is
    consumed.
    """

    def __init__(self, app: Any, buses: Together, receive: Receive, send: Send) -> None:
        self._app = app
        self._buses = buses
        self._receive = receive
        self._send = send
        self._asked = False  # the app for its first message
        self._answered = False  # the app, to its start
        self._told = False  # the server, about the start
        self._failure: Exception | None = None  # of a bus

    async def run(self, scope: Any) -> None:
        try:
            await self._run_app(scope)
            if not self._answered:
                await self._live_alone()
            elif not self._told:  # a bus did not start, and the app has returned without another word
                await self._say("startup", self._failure)
        finally:
            await self._buses.aclose()  # if the app has ended by itself

    async def _run_app(self, scope: Any) -> None:
        try:
            await self._app(scope, self._receive_for_app, self._send_for_app)
        except Exception as error:
            if self._told:
                raise
            if self._answered:
                _logger.warning("the app's end, after a bus has not started: %s", _described(error))
            elif self._asked:
                _logger.error("the app's start-up failed", exc_info=error)
                self._answered = True
                self._failure = error

    async def _live_alone(self) -> None:
        if not self._asked:
            await self._receive()
        failure = await self._buses.start()
        await self._say("startup", failure)
        if failure is None:
            await self._receive()
            await self._say("shutdown", await self._buses.aclose())

    async def _receive_for_app(self) -> Any:
        if self._failure is not None and not self._told:
            return {"type": "lifespan.shutdown"}
        message = await self._receive()
        self._asked = True
        if message["type"] == "lifespan.shutdown":
            self._failure = await self._buses.aclose()
        return message

    async def _send_for_app(self, message: Any) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self._answered:
            self._answered = True
            self._failure = await self._buses.start()
            if self._failure is None:
                await self._say("startup", None)
        elif kind.startswith("lifespan.shutdown.") and self._failure is not None:
            await self._say("shutdown" if self._told else "startup", self._failure)
        else:
            self._answered = self._told = True
            await self._send(message)

    async def _say(self, what: str, failure: Exception | None) -> None:
        """Tell the server how the start or the end went."""
        self._told = True
        if failure is None:
            await self._send({"type": f"lifespan.{what}.complete"})
        else:
            await self._send({"type": f"lifespan.{what}.failed", "message": _described(failure)})


def _described(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()
