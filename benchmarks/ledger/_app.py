"""The service under measurement: `python -m benchmarks.ledger._app SUBJECT ECHO_ADDRESS FOLDER`.

Two routes, and one subject installed. Each peer runs in its cheapest configuration that does its job:

- pyinstrument profiles every request, as its FastAPI recipe does, but from pure ASGI middleware, not from
  `@app.middleware("http")`, whose own cost would be counted against it; no report is rendered.
- yappi runs all the time with the CPU clock, without built-in functions and on the loop's thread alone.
"""

import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from benchmarks._child import die_with_parent, serve
from benchmarks.ledger._echo import ROUND_TRIPS, EchoClient


def build_app(echo_address: str) -> FastAPI:
    """Return the service with its two routes, and nothing installed."""
    clients: list[EchoClient] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        clients.append(await EchoClient.connect(echo_address))
        yield
        clients.pop().close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/hello")
    async def hello() -> PlainTextResponse:
        return PlainTextResponse("hello")

    @app.get("/ten")
    async def ten() -> PlainTextResponse:
        echo = clients[0]
        for _ in range(ROUND_TRIPS):
            await echo.round_trip()
        return PlainTextResponse("ten")

    return app


def bare(app: Any, _: Path) -> Any:
    """Install nothing."""
    return app


def default(app: Any, _: Path) -> Any:
    """Install the ledger as a service in production would."""
    from hasten.ledger import install

    return install(app)


def every(app: Any, _: Path) -> Any:
    """Install the ledger on every request, without detail."""
    from hasten.ledger import install

    return install(app, sample_every=1)


def doctor(app: Any, folder: Path) -> Any:
    """Install the ledger as `hasten doctor` does: every request, in detail, written to a file."""
    from hasten.ledger import Recorder, install

    recorder = Recorder(folder / "benchmark.accounts")
    return install(app, sample_every=1, detail=True, listeners=[recorder])


def pyinstrument(app: Any, _: Path) -> Any:
    """Profile each request on its own; the asynchronous mode keeps concurrent requests apart."""
    from pyinstrument import Profiler

    async def profiled(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            with Profiler(async_mode="enabled"):
                await app(scope, receive, send)
        else:
            await app(scope, receive, send)

    return profiled


def yappi(app: Any, _: Path) -> Any:
    """Profile this thread, which runs the loop, from now on."""
    import yappi  # type: ignore[import-untyped]

    yappi.set_clock_type("cpu")
    yappi.start(builtins=False, profile_threads=False)
    return app


class EndProcess(logging.Handler):
    """Ends the process at the first record: a ledger that has turned itself off costs nothing and proves nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record and end."""
        print(self.format(record), file=sys.stderr, flush=True)
        os._exit(3)


INSTALLERS: dict[str, Callable[[Any, Path], Any]] = {
    installer.__name__: installer for installer in (bare, default, every, doctor, pyinstrument, yappi)
}

if __name__ == "__main__":
    die_with_parent()
    logging.getLogger("hasten.ledger").addHandler(EndProcess(logging.WARNING))
    subject, echo, folder = sys.argv[1:]
    serve(INSTALLERS[subject](build_app(echo), Path(folder)))
