"""`hasten run`: serve an ASGI app with the ledger in it, or run the consumers of a bus."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from hasten._core.errors import ConfigurationError
from hasten._core.targets import find_target, import_app, import_object
from hasten.admin import DEFAULT_ADMIN
from hasten.cli._console import messages
from hasten.cli._options import TargetArgument, duration_option
from hasten.monitor import is_bus
from hasten.profiling import ProfileOptions
from hasten.profiling._triggers import WHEN_ASKED
from hasten.service import ConsumerOptions, Loop, ServiceOptions, consume, serve

_FOR_APPS = ("host", "port", "sample_every", "record", "http")
_INTERRUPTED = 130


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
) -> None:
    """Serve an app, or run a bus.

    An app is served by uvicorn, uvloop and httptools in one process, with the ledger in it. A target that is a bus,
    module:bus, has its consumers run, without a port; --grace is the bus's own drain if it is not given.
    """
    name = find_target(target, Path.cwd())
    address = admin if record is None else None
    service = service or name.partition(":")[0].rpartition(".")[2]
    found = _imported(name)
    if is_bus(found):
        _refuse_options_of_apps(context, name)
        bounded = grace if _source(context, "grace") != "DEFAULT" else None
        consuming = ConsumerOptions(
            service=service,
            slo=slo,
            admin=address,
            admin_token=admin_token,
            profile=_profile_options(profiles, by_itself=profile),
            loop=loop,
            grace=bounded,
        )
        if not consume(found, consuming, _announce):
            raise typer.Exit(_INTERRUPTED)
        return
    options = ServiceOptions(
        host=host,
        port=port,
        service=service,
        sample_every=sample_every,
        record=record,
        slo=slo,
        admin=address,
        admin_token=admin_token,
        profile=_profile_options(profiles, by_itself=profile),
        loop=loop,
        http=http,
        grace=grace,
    )
    serve(found, options, _announce)


def _profile_options(folder: Path | None, *, by_itself: bool) -> ProfileOptions:
    options = ProfileOptions() if by_itself else WHEN_ASKED
    return msgspec.structs.replace(options, folder=folder)


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
    messages().print(line, soft_wrap=True)
    sys.stderr.flush()
