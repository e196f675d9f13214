"""`hasten run`: serve an ASGI app with the ledger in it, or run the consumers of a bus."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from hasten._core.errors import ConfigurationError
from hasten._core.targets import find_target, import_app, import_object
from hasten._serving import Ending
from hasten.admin import DEFAULT_ADMIN
from hasten.cli._console import messages
from hasten.cli._options import TargetArgument, duration_option
from hasten.monitor import is_bus
from hasten.service import ConsumerOptions, Loop, ServiceOptions, consume
from hasten.workers import (
    Binding,
    SupervisorOptions,
    Systemd,
    available_cores,
    bind,
    parse_size,
    serve_alone,
    supervise,
    take_sockets,
)

_FOR_APPS = (
    "host", "port", "uds", "fd", "sample_every", "record", "http", "warm_up", "gc", "lame_duck", "start_timeout",
)  # fmt: skip
RELOAD_GRACE = 1.0
"""Seconds for requests in flight where somebody waits for the new code: a stream would go on for ever."""
_INTERRUPTED = 130
_MOST_WORKERS = 256


def run(
    context: typer.Context,
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
    slo: Annotated[
        Path | None,
        typer.Option(envvar="HASTEN_SLO", help="File of objectives: latency thresholds get a bucket of their own."),
    ] = None,
    admin: Annotated[
        str,
        typer.Option(
            envvar="HASTEN_ADMIN",
            metavar="ADDRESS",
            help="Where /metrics, /readyz and the live page are, on a thread of their own; the next free port if this "
            "one is taken; off for none. With --record there is none.",
        ),
    ] = DEFAULT_ADMIN,
    admin_token: Annotated[
        str,
        typer.Option(
            envvar="HASTEN_ADMIN_TOKEN", help="What must be sent to the admin port, where others can reach it."
        ),
    ] = "",
    profile: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool,
        typer.Option(
            "--profile/--no-profile",
            envvar="HASTEN_PROFILE",
            help="Capture profiles when the loop is held, an objective is missed, or Alertmanager tells the admin "
            "port's /alerts, and let py-spy attach. Without it, when somebody asks.",
        ),
    ] = False,
    profiles: Annotated[
        Path | None,
        typer.Option(
            envvar="HASTEN_PROFILES",
            metavar="FOLDER",
            help="Keep the last profiles here; default: ~/.local/state/hasten/profiles/SERVICE.",
            show_default=False,
        ),
    ] = None,
    loop: Annotated[Loop, typer.Option(envvar="HASTEN_LOOP", help="Event loop to run on.")] = "uvloop",
    http: Annotated[
        Literal["httptools", "h11"], typer.Option(envvar="HASTEN_HTTP", help="HTTP/1.1 parser.")
    ] = "httptools",
    grace: Annotated[
        float, duration_option("--grace", "HASTEN_GRACE", "Time for requests or messages under way after SIGTERM.")
    ] = "10s",  # type: ignore[assignment]
    lame_duck: Annotated[
        float,
        duration_option(
            "--lame-duck",
            "HASTEN_LAME_DUCK",
            "Time after SIGTERM in which it goes on serving, not ready, and asks clients to close their connections; "
            "none with --record and --reload.",
        ),
    ] = "1s",  # type: ignore[assignment]
    warm_up: Annotated[
        str,
        typer.Option(
            envvar="HASTEN_WARM_UP",
            metavar="MODULE:FUNCTION",
            help="Called with the app when it has started, before connections are accepted.",
            show_default=False,
        ),
    ] = "",
    gc: Annotated[
        Literal["python", "frozen"],
        typer.Option(
            envvar="HASTEN_GC",
            help="Garbage collections: as Python has them, or without what is there after the warm-up, and fewer.",
        ),
    ] = "python",
    uds: Annotated[
        Path | None, typer.Option(envvar="HASTEN_UDS", metavar="PATH", help="Listen on a unix socket instead.")
    ] = None,
    fd: Annotated[
        int | None,
        typer.Option(envvar="HASTEN_FD", min=0, metavar="NUMBER", help="Listen on an open socket instead."),
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            envvar="HASTEN_WORKERS",
            metavar="NUMBER",
            help="Serve by so many processes below a supervisor; auto: one a core.",
            show_default=False,
        ),
    ] = "",
    max_requests: Annotated[
        int | None,
        typer.Option(
            envvar="HASTEN_MAX_REQUESTS",
            min=1,
            help="Replace a worker after so many requests, and up to a tenth more.",
        ),
    ] = None,
    max_memory: Annotated[
        str,
        typer.Option(
            envvar="HASTEN_MAX_MEMORY",
            metavar="SIZE",
            help="Replace a worker that has more in RAM: 512mb, 1.5gb.",
            show_default=False,
        ),
    ] = "",
    start_timeout: Annotated[
        float, duration_option("--start-timeout", "HASTEN_START_TIMEOUT", "Time in which a worker must be ready.")
    ] = "60s",  # type: ignore[assignment]
    reload: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--reload", envvar="HASTEN_RELOAD", help="Start anew when a Python file changes.")
    ] = False,
) -> None:
    """Serve an app, or run a bus.

    An app is served by uvicorn, uvloop and httptools, with the ledger in it: in this process, or by workers below it
    with --workers, --max-requests, --max-memory or --reload. SIGHUP then replaces them one after another. A target
    that is a bus, module:bus, has its consumers run, without a port; --grace is the bus's own drain if it is not given.
    """
    # Over 40 lines because each option is a parameter, and is put in its place here.
    name = find_target(target, Path.cwd())
    service = service or name.partition(":")[0].rpartition(".")[2]
    common: dict[str, Any] = {
        "service": service,
        "slo": slo,
        "admin": admin if record is None else None,
        "admin_token": admin_token,
        "profile": profile,
        "profiles": profiles,
        "loop": loop,
    }
    supervised = bool(workers or max_requests or max_memory or reload)
    found = None if supervised else _imported(name)
    if is_bus(found):
        _refuse_options_of_apps(context, name)
        bounded = grace if _source(context, "grace") != "DEFAULT" else None
        _finish(in_time=consume(found, ConsumerOptions(**common, grace=bounded), _announce))
    if (reload or record is not None) and _source(context, "lame_duck") == "DEFAULT":
        lame_duck = 0.0  # whoever sends requests here knows when it ends
    if reload and _source(context, "grace") == "DEFAULT":
        grace = RELOAD_GRACE
    options = ServiceOptions(
        **common,
        sample_every=sample_every,
        record=record,
        http=http,
        ending=Ending(lame_duck=lame_duck, grace=grace),
        warm_up=warm_up,
        gc=gc,
    )
    binding = Binding(host=host, port=port, uds=uds, fd=fd)
    if not supervised:
        systemd, inherited = Systemd.of(os.environ), take_sockets(os.environ)
        listeners = bind(binding, inherited, workers=False)
        _finish(in_time=serve_alone(found, options, listeners, _announce, systemd))
    above = SupervisorOptions(
        target=name,
        service=options,
        workers=_count(workers, alone=reload),
        start_timeout=start_timeout,
        max_requests=max_requests,
        max_memory=parse_size(max_memory, "--max-memory") if max_memory else None,
        reload=reload,
    )
    run_workers(above, binding)


def run_workers(options: SupervisorOptions, binding: Binding) -> NoReturn:
    """Have workers serve, and exit when they have ended."""
    systemd, inherited = Systemd.of(os.environ), take_sockets(os.environ)
    listeners = bind(binding, inherited, workers=True)
    _finish(in_time=supervise(options, listeners, _announce, systemd))


def _finish(*, in_time: bool) -> NoReturn:
    """Exit with 0, or as interrupted where a second signal has ended what was under way."""
    raise typer.Exit(0 if in_time else _INTERRUPTED)


def _count(workers: str, *, alone: bool) -> int:
    """Return how many workers `auto`, a number, or nothing says.

    Raises:
      ConfigurationError: it says none, or several that would share one admin port.
    """
    count = available_cores() if workers == "auto" else int(workers or 1) if (workers or "1").isdigit() else 0
    if not 1 <= count <= _MOST_WORKERS:
        raise ConfigurationError(f"--workers {workers}", "no number of workers", f"use 1 to {_MOST_WORKERS}, or auto")
    if alone and count > 1:
        raise ConfigurationError("--workers", "--reload is for one", "leave one of them out")
    return count


def _imported(name: str) -> Any:
    """Return the app that a target names, or the bus: the one thing besides that can be run."""
    found = import_object(name)
    return found if is_bus(found) else import_app(name)


def _refuse_options_of_apps(context: typer.Context, name: str) -> None:
    for option in _FOR_APPS:
        if _source(context, option) == "COMMANDLINE":  # a variable may be there for other services
            flag = f"--{option.replace('_', '-')}"
            raise ConfigurationError(flag, f"{name} is a bus, which serves no requests", "leave it out")


def _source(context: typer.Context, option: str) -> str:
    """Return where an option's value is from: COMMANDLINE, ENVIRONMENT, DEFAULT, ..."""
    source = context.get_parameter_source(option)
    return source.name if source is not None else "DEFAULT"


def _announce(line: str) -> None:
    messages().print(line, soft_wrap=True, markup=False)
    sys.stderr.flush()
