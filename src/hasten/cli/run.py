"""`hasten run`: serve an ASGI app with the ledger in it."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hasten._core.targets import find_target, import_app
from hasten.cli._console import messages
from hasten.cli._options import TargetArgument, duration_option
from hasten.service import ServiceOptions, serve


def run(
    target: TargetArgument = None,
    host: Annotated[str, typer.Option(envvar="HASTEN_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(envvar="HASTEN_PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    ] = 8000,
    service: Annotated[
        str,
        typer.Option(envvar="HASTEN_SERVICE", help="Name of the service; default: the module's last part."),
    ] = "",
    sample_every: Annotated[
        int,
        typer.Option(envvar="HASTEN_SAMPLE_EVERY", min=1, help="Record one request in this many, at random."),
    ] = 20,
    record: Annotated[
        Path | None,
        typer.Option(
            envvar="HASTEN_RECORD",
            help="Record every request in detail into this folder, for hasten doctor --from.",
        ),
    ] = None,
    loop: Annotated[
        Literal["uvloop", "asyncio"], typer.Option(envvar="HASTEN_LOOP", help="Event loop to run on.")
    ] = "uvloop",
    http: Annotated[
        Literal["httptools", "h11"], typer.Option(envvar="HASTEN_HTTP", help="HTTP/1.1 parser.")
    ] = "httptools",
    grace: Annotated[
        float, duration_option("--grace", "HASTEN_GRACE", "Time for requests in flight after SIGTERM.")
    ] = "10s",  # type: ignore[assignment]
) -> None:
    """Serve an app: uvicorn, uvloop and httptools in one process, with the ledger in it."""
    name = find_target(target, Path.cwd())
    options = ServiceOptions(
        host=host,
        port=port,
        service=service or name.partition(":")[0].rpartition(".")[2],
        sample_every=sample_every,
        record=record,
        loop=loop,
        http=http,
        grace=grace,
    )
    serve(import_app(name), options, _announce)


def _announce(line: str) -> None:
    messages().print(line, soft_wrap=True)
    sys.stderr.flush()
