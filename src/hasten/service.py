"""One process of a service: the ASGI app under uvicorn, uvloop and httptools, with the ledger in it."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvicorn

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.ledger import Recorder, install


class ServiceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
      host, port: Address to listen on; port 0 takes a free one.
      service: Name in accounts and messages.
      sample_every: One request in this many is recorded; recording to a folder records every one.
      record: Folder for `<service>-<pid>.accounts`; None records nothing.
      grace: Seconds that requests in flight have to finish after a stop signal.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    service: str = "app"
    sample_every: int = 20
    record: Path | None = None
    loop: Literal["uvloop", "asyncio"] = "uvloop"
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
    server = _Server(config, lambda: announce(_announcement(options.service, listener)))
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
