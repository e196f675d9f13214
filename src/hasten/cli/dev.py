"""`hasten dev`: serve an app while it is written."""

from pathlib import Path
from typing import Annotated

import typer

from hasten._core.targets import find_target
from hasten._serving import Ending
from hasten.admin import DEFAULT_ADMIN
from hasten.cli._options import TargetArgument
from hasten.cli.run import RELOAD_GRACE, run_workers
from hasten.service import ServiceOptions
from hasten.workers import Binding, SupervisorOptions

_START_TIMEOUT = 3600.0
"""Seconds: somebody may sit at a breakpoint."""


def dev(
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
    slo: Annotated[
        Path | None,
        typer.Option(envvar="HASTEN_SLO", help="File of objectives, which the live page shows."),
    ] = None,
    admin: Annotated[
        str,
        typer.Option(envvar="HASTEN_ADMIN", metavar="ADDRESS", help="Where the live page is; off for none."),
    ] = DEFAULT_ADMIN,
) -> None:
    """Serve an app while you write it.

    It starts anew whenever a Python file in this folder or below it changes, and records every request: the live page
    shows where each one's time went. Code that does not import is said, and waits for the next change. Like
    hasten run --reload --sample-every 1.
    """
    name = find_target(target, Path.cwd())
    options = ServiceOptions(
        service=service or name.partition(":")[0].rpartition(".")[2],
        sample_every=1,
        slo=slo,
        admin=admin,
        ending=Ending(lame_duck=0.0, grace=RELOAD_GRACE),
    )
    above = SupervisorOptions(target=name, service=options, start_timeout=_START_TIMEOUT, reload=True)
    run_workers(above, Binding(host=host, port=port))
