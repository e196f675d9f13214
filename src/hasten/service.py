"""One process of a service: the ASGI app under uvicorn, uvloop and httptools, with the ledger in it; or a bus alone."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import uvicorn

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten._install import install, monitor_of
from hasten._monitoring import monitoring
from hasten.ledger import Recorder
from hasten.monitor import Monitor

if TYPE_CHECKING:
    from hasten.events import Bus
    from hasten.profiling import ProfileOptions

Loop = Literal["uvloop", "asyncio"]


class ServiceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
      host, port: Address to listen on; port 0 takes a free one.
      service: Name in accounts and messages.
      sample_every: One request in this many is recorded; recording to a folder records every one.
      record: Folder for `<service>-<pid>.accounts`; None records nothing.
      slo: File of objectives.
      admin: Address of the admin port; None has none. What the app has installed itself comes first.
      admin_token: Needed where others than this machine can reach it.
      profile: What is captured by itself.
      grace: Seconds that requests in flight have to finish after a stop signal.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    service: str = "app"
    sample_every: int = 20
    record: Path | None = None
    slo: Path | None = None
    admin: str | None = None
    admin_token: str = ""
    profile: "ProfileOptions | bool" = False
    loop: Loop = "uvloop"
    http: Literal["httptools", "h11"] = "httptools"
    grace: float = 10.0


def serve(app: Any, options: ServiceOptions, announce: Callable[[str], None]) -> None:
    """Serve `app` until SIGTERM or SIGINT, then let requests in flight finish.

    Args:
      announce: Called with one line when connections are accepted.
    Raises:
      ConfigurationError: the address cannot be listened on.
      TargetUnreachable: the app's start-up (lifespan) failed.
    """
    listener = _listen(options.host, options.port)
    recorder = Recorder(options.record / f"{options.service}-{os.getpid()}.accounts") if options.record else None
    try:
        app = install(
            app,
            service=options.service,
            slo=options.slo,
            admin=options.admin,
            admin_token=options.admin_token,
            profile=options.profile,
            sample_every=1 if recorder else options.sample_every,
            detail=recorder is not None,
            listeners=(recorder,) if recorder else (),
        )
        _run(app, options, listener, announce)
    finally:
        if recorder is not None:
            recorder.close()
        listener.close()


def _run(app: Any, options: ServiceOptions, listener: socket.socket, announce: Callable[[str], None]) -> None:
    # It loads the cache: half as much time again as the whole command takes to start, whichever is wanted.
    from hasten.http import HttpProtocol

    config = uvicorn.Config(
        app,
        loop=options.loop,
        http=HttpProtocol if options.http == "httptools" else options.http,
        interface="asgi3",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=max(1, round(options.grace)),
    )

    def started() -> None:
        announce(_announcement(options.service, listener))
        _announce_admin(announce, options.service, monitor_of(app))

    server = _Server(config, started)
    # uvicorn raises the stop signal again once it has stopped: to a handler of ours, so that a graceful stop exits 0.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except SystemExit as error:
        raise TargetUnreachable(options.service, "the app's start-up failed", "see the message above") from error
    if not server.started:
        raise TargetUnreachable(options.service, "the app's start-up failed", "see the message above")


class _Server(uvicorn.Server):
    """uvicorn's server, telling when it accepts connections."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        remedy = "choose another --port, or 0 for a free one"
        raise ConfigurationError(f"--port {port}", f"cannot listen on {host}:{port}: {reason}", remedy) from error
    except OverflowError as error:
        listener.close()
        raise ConfigurationError(f"--port {port}", "not a port", "use 0 to 65535") from error
    listener.set_inheritable(True)
    return listener


def _announcement(service: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"hasten: {service} listening on http://{address}"


def _announce_admin(announce: Callable[[str], None], service: str, monitor: Monitor | None) -> None:
    if monitor is not None and monitor.url:
        announce(f"hasten: {service} is seen live on {monitor.url}")


# ---- a bus alone


class ConsumerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a bus.

    Attributes:
      service: Name in messages.
      slo, admin, admin_token, profile: As of an app.
      grace: Seconds that messages under way have to finish after a stop signal; None leaves it to the bus's `drain`.
    """

    service: str = "bus"
    slo: Path | None = None
    admin: str | None = None
    admin_token: str = ""
    profile: "ProfileOptions | bool" = False
    loop: Loop = "uvloop"
    grace: float | None = None


def consume(bus: "Bus", options: ConsumerOptions, announce: Callable[[str], None]) -> bool:
    """Run a bus's consumers until SIGTERM or SIGINT, then let messages under way finish.

    What has not finished when `grace` is over, or at a second signal, is cancelled, and delivered again to others.

    Args:
      announce: Called with one line when messages are consumed, and with one when some were cancelled.
    Returns:
      False if a second signal has ended it.
    Raises:
      ConfigurationError: nothing is subscribed.
      BrokerError: the broker is not there, or refuses.
    """
    with asyncio.Runner(loop_factory=_loop_factory(options.loop)) as runner:
        return runner.run(_Consuming(bus, options, announce).run())


def _loop_factory(loop: Loop) -> Callable[[], asyncio.AbstractEventLoop]:
    if loop == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # not to be had on Windows

    return uvloop.new_event_loop


class _Consuming:
    """The life of a bus in a process of its own."""

    def __init__(self, bus: "Bus", options: ConsumerOptions, announce: Callable[[str], None]) -> None:
        self._bus = bus
        self._options = options
        self._announce = announce
        self._stopped = asyncio.Event()  # by a first signal
        self._hurried = asyncio.Event()  # by a second one

    async def run(self) -> bool:
        """Run until it has ended; return whether one signal was enough."""
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self._stop)
        options = self._options
        async with monitoring(
            service=options.service,
            slo=options.slo,
            admin=options.admin,
            admin_token=options.admin_token,
            profile=options.profile,
        ) as monitor:
            monitor.require(self._bus)
            return await self._consume(monitor)

    async def _consume(self, monitor: Monitor) -> bool:
        async with AsyncExitStack() as leaving:
            entering = asyncio.get_running_loop().create_task(leaving.enter_async_context(self._bus))
            if not await _ends_before(entering, self._stopped):
                return True
            leaving.push_async_callback(self._drain, leaving.pop_all())
            self._announce(_consumption(self._options.service, self._bus))
            _announce_admin(self._announce, self._options.service, monitor)
            await self._stopped.wait()
        return not self._hurried.is_set()

    async def _drain(self, bus: AsyncExitStack) -> None:
        """Leave the bus, for as long as it may take."""
        draining = asyncio.get_running_loop().create_task(bus.aclose())
        if not await _ends_before(draining, self._hurried, within=self._options.grace):
            self._announce(f"hasten: {self._options.service}: what was under way is delivered again")

    def _stop(self) -> None:
        if self._stopped.is_set():
            self._hurried.set()
            for stop in (signal.SIGTERM, signal.SIGINT):  # a third one ends a handler that does not heed it
                asyncio.get_running_loop().remove_signal_handler(stop)
        self._stopped.set()


async def _ends_before(task: "asyncio.Task[Any]", event: asyncio.Event, *, within: float | None = None) -> bool:
    """Return whether a task ends before an event, and within so many seconds; otherwise it is cancelled.

    Raises:
      Exception: the task's.
    """
    waiting = asyncio.get_running_loop().create_task(event.wait())
    await asyncio.wait((task, waiting), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
        return True
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return False


def _consumption(service: str, bus: "Bus") -> str:
    """Return what is consumed and from where: `hasten: mailer consumes orders.paid (mail) from amqp localhost:5672`.

    Raises:
      ConfigurationError: nothing is.
    """
    consumers = [check.name.split() for check in bus.checks() if check.name.startswith("consumer ")]
    if not consumers:
        raise ConfigurationError(service, "nothing is subscribed to its bus", "import the module that subscribes")
    topics = ", ".join(f"{topic} ({group})" for _, topic, group in consumers)
    return f"hasten: {service} consumes {topics} from {bus.broker.name}"
