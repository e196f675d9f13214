"""One process of a service: the ASGI app under uvicorn, uvloop and httptools, with the ledger in it; or a bus alone."""

import asyncio
import inspect
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import uvicorn

from hasten._core.errors import ConfigurationError
from hasten._core.targets import import_object
from hasten._install import install, monitor_of
from hasten._monitoring import monitoring
from hasten._serving import Ending, Server, Watcher
from hasten.concurrency import GcPolicy
from hasten.ledger import Recorder
from hasten.monitor import Monitor
from hasten.profiling import ProfileOptions
from hasten.profiling._triggers import WHEN_ASKED

if TYPE_CHECKING:
    from hasten.events import Bus

Loop = Literal["uvloop", "asyncio"]


class ServiceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
      service: Name in accounts and messages.
      sample_every: One request in this many is recorded; recording to a folder records every one.
      record: Folder for `<service>-<pid>.accounts`; None records nothing.
      slo: File of objectives.
      admin: Address of the admin port; None has none. What the app has installed itself comes first.
      admin_token: Needed where others than this machine can reach it.
      profile: Whether profiles are captured by itself, not only when somebody asks.
      profiles: Folder of the last ones; None for the usual one.
      ending: How long it takes to leave.
      warm_up: `module:function`, called with the app before connections are accepted; empty for nothing.
      gc: `frozen` leaves what is there after the warm-up out of garbage collections, and has fewer of them.
      worker: Its number among the workers of a supervisor; None for a process alone.
    """

    service: str = "app"
    sample_every: int = 20
    record: Path | None = None
    slo: Path | None = None
    admin: str | None = None
    admin_token: str = ""
    profile: bool = False
    profiles: Path | None = None
    loop: Loop = "uvloop"
    http: Literal["httptools", "h11"] = "httptools"
    ending: Ending = Ending()
    warm_up: str = ""
    gc: Literal["python", "frozen"] = "python"
    worker: int | None = None


def serve(app: Any, options: ServiceOptions, listeners: Sequence[socket.socket], watcher: Watcher) -> bool:
    """Serve `app` until it is told to leave: by SIGTERM or SIGINT, or by its watcher.

    Args:
      listeners: Bound sockets; closed at the end.
      watcher: Told of its life.
    Returns:
      False if a second signal has ended it.
    Raises:
      ConfigurationError: an option is wrong.
      TargetUnreachable: the app's start-up (lifespan) failed, or its warm-up.
    """
    recorder = Recorder(options.record / f"{options.service}-{os.getpid()}.accounts") if options.record else None
    try:
        app = install(
            app,
            service=options.service,
            slo=options.slo,
            admin=options.admin,
            admin_token=options.admin_token,
            profile=_profile_options(options),
            sample_every=1 if recorder else options.sample_every,
            detail=recorder is not None,
            listeners=(recorder,) if recorder else (),
        )
        return _run(app, options, listeners, watcher)
    finally:
        if recorder is not None:
            recorder.close()
        for listener in listeners:
            listener.close()


def _run(app: Any, options: ServiceOptions, listeners: Sequence[socket.socket], watcher: Watcher) -> bool:
    # It loads the cache: half as much time again as the whole command takes to start, whichever is wanted.
    from hasten.http import HttpProtocol

    config = uvicorn.Config(
        app,
        loop=options.loop,
        http=HttpProtocol if options.http == "httptools" else options.http,
        interface="asgi3",
        access_log=False,
        log_level="warning",
    )
    server = Server(
        config,
        watcher,
        name=options.service,
        ending=options.ending,
        warm_up=_warm_up(app, options),
        collections=GcPolicy() if options.gc == "frozen" else None,
        monitor=monitor_of(app),
        worker=options.worker,
    )
    # uvicorn has them only while its loop runs: one before that is heeded, too, and one behind it ends nothing halfway.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, server.handle_exit)
    server.run(sockets=list(listeners))
    return not server.hurried


def _warm_up(app: Any, options: ServiceOptions) -> Callable[[], Awaitable[object]] | None:
    """Return what warms an app up; what is not async runs in a thread, so that the admin port sees the loop run.

    Raises:
      ConfigurationError: it is not there, or nothing that can be called.
    """
    if not options.warm_up:
        return None
    function = import_object(options.warm_up)
    if not callable(function):
        raise ConfigurationError(
            "--warm-up", f"{options.warm_up} cannot be called", "name a function that takes the app"
        )

    async def warm_up() -> None:
        if inspect.iscoroutinefunction(function):
            await function(app)
            return
        made = await asyncio.to_thread(function, app)
        if inspect.isawaitable(made):
            await made

    return warm_up


# ---- a bus alone


class ConsumerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a bus.

    Attributes:
      service: Name in messages.
      slo, admin, admin_token, profile, profiles: As of an app.
      grace: Seconds that messages under way have to finish after a stop signal; None leaves it to the bus's `drain`.
    """

    service: str = "bus"
    slo: Path | None = None
    admin: str | None = None
    admin_token: str = ""
    profile: bool = False
    profiles: Path | None = None
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
            profile=_profile_options(options),
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


def _profile_options(options: ServiceOptions | ConsumerOptions) -> ProfileOptions:
    return msgspec.structs.replace(ProfileOptions() if options.profile else WHEN_ASKED, folder=options.profiles)


def _announce_admin(announce: Callable[[str], None], service: str, monitor: Monitor) -> None:
    if monitor.url:
        announce(f"hasten: {service} is seen live on {monitor.url}")
