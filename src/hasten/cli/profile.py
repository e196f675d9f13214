"""`hasten profile`: say where a process's time goes; `hasten profile diff` what changed.

`profile` is a group with a command that has no name: whatever is no other command's name is its first argument.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten._core.interruption import run_interruptible
from hasten._core.processes import termination_unwinds
from hasten._core.targets import find_target
from hasten.admin.live import admin_ports_of, parse_place
from hasten.cli import profile_diff
from hasten.cli._console import announcing, messages, output, print_next
from hasten.cli._options import JsonOption, duration
from hasten.cli._profile_view import profile_table
from hasten.load import Plan
from hasten.profiling import CaptureOptions, Profile
from hasten.profiling._files import encode, format_of, write_profile
from hasten.profiling._options import LONGEST, Clock, Engine
from hasten.profiling._ptrace import exists, why_refused
from hasten.profiling._pyspy import record
from hasten.profiling._remote import fetch_profile
from hasten.profiling._session import Announce, Served, profile_app

_UNNAMED = "record"
_USUAL_SECONDS = 10.0
_STACKS_ONLY = ("speedscope", "folded")


class _Context(typer.Context):
    """Of the command without a name: messages and help call it by the group's."""

    @property
    def command_path(self) -> str:
        return self.parent.command_path if self.parent is not None else ""


class _Unnamed(TyperCommand):
    context_class = _Context


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [_UNNAMED, *args])


profile = typer.Typer(cls=_Group, help="Say where a process's time goes, and what changed: py-spy, yappi, the ledger.")
profile.command("diff")(profile_diff.diff)


@profile.command(_UNNAMED, cls=_Unnamed, hidden=True)
def record_profile(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="PID|URL|TARGET",
            help="Of a process on this machine, of an admin port, or with --plan module:app, which is served for it; "
            "default: the project's app.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option(
            "--engine",
            envvar="HASTEN_ENGINE",
            help="ledger: by endpoint, what requests compute, wait for, and are held by. py-spy: all threads, from "
            "outside. yappi: every call, as a table. Default: py-spy for a PID, else ledger.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            "-d",
            envvar="HASTEN_SECONDS",
            metavar="DURATION",
            parser=duration,
            help="How long. Default: 10s; of an app the plan's duration.",
        ),
    ] = None,
    clock: Annotated[
        Clock | None,
        typer.Option(
            "--clock",
            envvar="HASTEN_CLOCK",
            help="py-spy: cpu for threads that run, in CPU time; wall for every thread, waiting or not. yappi: CPU "
            "time or time. Default: cpu for py-spy, else wall.",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate", envvar="HASTEN_SAMPLING_RATE", help="Samples a second, of engines that sample. Default: 100."
        ),
    ] = None,
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint", envvar="HASTEN_ENDPOINT", help="Only its requests: 'GET /products/{id}'; not py-spy."
        ),
    ] = "",
    native: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--native", envvar="HASTEN_NATIVE", help="py-spy: C functions, too.")
    ] = False,
    gil: Annotated[  # noqa: FBT002
        bool, typer.Option("--gil", envvar="HASTEN_GIL", help="py-spy: only what holds the interpreter's lock.")
    ] = False,
    idle: Annotated[  # noqa: FBT002
        bool, typer.Option("--idle", envvar="HASTEN_IDLE", help="py-spy: threads that sleep, too: --clock wall.")
    ] = False,
    subprocesses: Annotated[  # noqa: FBT002
        bool, typer.Option("--subprocesses", envvar="HASTEN_SUBPROCESSES", help="py-spy: its children, too.")
    ] = False,
    threads: Annotated[  # noqa: FBT002
        bool, typer.Option("--threads", envvar="HASTEN_THREADS", help="py-spy: by thread.")
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", envvar="HASTEN_PLAN", help="TOML file that says what to send to an app (see load)."),
    ] = None,
    service: Annotated[
        str, typer.Option("--service", envvar="HASTEN_SERVICE", help="Name of an app's service; default: the module's.")
    ] = "",
    token: Annotated[str, typer.Option("--token", envvar="HASTEN_ADMIN_TOKEN", help="Token of the admin port.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            envvar="HASTEN_OUTPUT",
            metavar="FILE",
            help="Write it, too: .html is a flame graph to look at, .json is for hasten profile diff; .speedscope.json "
            "and .folded are for other viewers.",
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", envvar="HASTEN_TOP", min=1, max=1000, help="Rows of the table at most.")
    ] = 20,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Say where the time of a process goes, function by function.

    hasten profile 4711 samples a process from outside.

    hasten profile http://127.0.0.1:9464 has a service with hasten.install look at itself.

    hasten profile main:app --plan plan.toml serves an app and drives it meanwhile.

    hasten profile diff BEFORE AFTER says what changed between two profiles.
    """
    # Over 40 lines because each option is a parameter, with its help.
    flags = {"native": native, "gil": gil, "idle": idle, "subprocesses": subprocesses, "threads": threads}
    name = _target(target, plan)
    chosen = engine or ("py-spy" if name.isdecimal() else "ledger")
    driven = _plan(name, plan)
    length = seconds if seconds is not None else min(driven.duration, LONGEST) if driven else _USUAL_SECONDS
    options = _options(chosen, length, clock, rate, endpoint, flags)
    if file is not None:
        _check_file(file, options)
    with announcing() as announce, termination_unwinds():
        if driven is not None:
            served = Served(app=name, service=service, token=token)
            found = profile_app(served, driven, options, announce=announce)
        else:
            found = _of_running(name, token, options, announce)
    again = " ".join([name, *([f"--engine {engine}"] if engine else []), *([f"--plan {plan}"] if driven else [])])
    _report(found, file, top, endpoint, json=json, again=again)


# ---- what is to be done


def _target(target: str | None, plan: Path | None) -> str:
    if target:
        return target
    if plan is None:
        remedy = "give a PID, the URL of an admin port, or an app with --plan"
        raise ConfigurationError("hasten profile", "nothing to profile", remedy)
    return find_target(None, Path.cwd())


def _is_app(name: str) -> bool:
    """Tell `module:app` from `localhost:9464` and URLs; a file's name is an app's, too, wrong as it is."""
    attribute = name.partition(":")[2]
    return bool(attribute) and all(part.isidentifier() for part in attribute.split("."))


def _plan(name: str, file: Path | None) -> Plan | None:
    """Return what an app is driven with; None where TARGET is something that runs already."""
    if not _is_app(name):
        if file is not None and not os.environ.get("HASTEN_PLAN"):  # a variable may be there for other commands
            raise ConfigurationError(
                "--plan", "it is for an app that is served here", "leave it out, or name module:app"
            )
        return None
    if file is None:
        remedy = "write one (see hasten load --help); of a service that runs, give the PID or the URL of its admin port"
        raise ConfigurationError("--plan", "no plan given", remedy)
    # The app is served on a free port that stands in no plan: the address here is replaced by it.
    return Plan.from_file(file, target="http://127.0.0.1")


def _options(
    engine: Engine, seconds: float, clock: Clock | None, rate: int | None, endpoint: str, flags: dict[str, bool]
) -> CaptureOptions:
    if flags["idle"] and clock == "cpu":
        raise ConfigurationError("--idle", "threads that sleep take no CPU time", "leave out --clock cpu")
    if rate is not None and engine == "yappi":
        raise ConfigurationError("--rate", "yappi sees every call and does not sample", "leave it out")
    usual: Clock = "cpu" if engine == "py-spy" and not flags["idle"] else "wall"
    return CaptureOptions(
        engine=engine,
        seconds=seconds,
        clock=clock or usual,
        rate=rate if rate is not None else CaptureOptions().rate,
        endpoint=endpoint,
        **flags,
    ).checked("--")


def _check_file(file: Path, options: CaptureOptions) -> None:
    """Raise ConfigurationError for what would only fail when the profile is there."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise ConfigurationError("--output", f"there is no folder {folder}")
    if file.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigurationError("--output", f"{file} cannot be written")
    if options.engine == "yappi" and format_of(file) in _STACKS_ONLY:
        problem = f"yappi knows functions and no stacks, which {format_of(file)} is made of"
        raise ConfigurationError("--output", problem, "take .json or .html, or another engine")


# ---- doing it


def _of_running(name: str, token: str, options: CaptureOptions, announce: Announce) -> Profile:
    if not name.isdecimal():
        place = parse_place(name, token)
    elif options.engine == "py-spy":
        return run_interruptible(lambda: record(int(name), options, announce=announce))
    else:
        if not exists(int(name)):
            raise TargetUnreachable(f"PID {name}", why_refused(int(name)))
        place, *others = admin_ports_of(name, [int(name)], token)
        if others:
            urls = ", ".join(one.url for one in (place, *others))
            raise ConfigurationError(f"PID {name}", f"has several admin ports: {urls}", "give the URL of one")
    return fetch_profile(place.url, options, token=place.token, announce=announce)


def _report(found: Profile, file: Path | None, top: int, endpoint: str, *, json: bool, again: str) -> None:
    if file is not None:
        write_profile(found, file)
        messages().print(f"profile written to {file}", soft_wrap=True, markup=False)
    if json:
        sys.stdout.write(encode(found, "json").decode() + "\n")
        return
    output().print(profile_table(found, top=top, endpoint=endpoint))
    print_next(_hint(found, file, again))


def _hint(found: Profile, file: Path | None, again: str) -> str:
    if not found.stacks and not found.functions:
        waits = found.engine == "py-spy" and found.clock == "cpu"
        return f"hasten profile {again} {'--clock wall' if waits else '--seconds 30'}, while it has something to do"
    if file is None:
        return f"hasten profile {again} -o profile.html shows it as a flame graph, -o before.json keeps it for a diff"
    if format_of(file) == "html":
        return f"open {file} in a browser"
    before = file.with_name("before.json")
    if before.exists() and file.name != before.name:
        return f"hasten profile diff {before} {file} says what has changed"
    return f"change something, profile it again into after.json, and run hasten profile diff {file} after.json"
