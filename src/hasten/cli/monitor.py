"""`hasten monitor`: writes rules, alerts, dashboards and what runs them, from slo.toml and the apps it is about."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from hasten._core.errors import ConfigurationError
from hasten._core.targets import find_target, import_app
from hasten._install import monitor_of
from hasten.cli._console import output, print_json, print_next
from hasten.cli._options import JsonOption
from hasten.monitor import Monitor
from hasten.monitor.slo import SloFile, check_objectives, read_slo, surface_of

_SHOWN = 20  # paths of one kind on a terminal


def monitor(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]",
            help="module:app, each with hasten.install in it: its objectives are checked against its routes, methods, "
            "topics and buckets. Default: the project's own, as for hasten doctor.",
            show_default=False,
        ),
    ] = None,
    slo: Annotated[
        Path, typer.Option("--slo", envvar="HASTEN_SLO", metavar="FILE", help="Objectives, services, receivers.")
    ] = Path("slo.toml"),
    folder: Annotated[
        Path, typer.Option("--output", "-o", envvar="HASTEN_OUTPUT", metavar="FOLDER", help="Where files are written.")
    ] = Path("deploy"),
    check: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool,
        typer.Option("--check", envvar="HASTEN_CHECK", help="Write nothing; exit 1 if anything would be different."),
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Write rules, alerts and dashboards for Prometheus, Alertmanager and Grafana, from an app and its objectives.

    An objective about a route, a method, a topic or a bucket that the app does not have is an error. Only what is
    different is written, and other files are left alone. What it needs: pip install 'hasten\\[monitor]'.
    """
    from hasten.monitor import deploy  # needs PyYAML, which not everybody has

    read = read_slo(slo)
    checked = _check(targets or [], read, str(slo))
    files = deploy.files(read)
    drift = deploy.drift_of(folder, files)
    if not check:
        deploy.write(folder, files, drift)
    kinds = {"missing": drift.missing, "changed": drift.changed, "left_over": drift.left_over}
    unchecked = sorted({one.service for one in read.objectives} - set(checked))
    if json:
        counts = {"files": len(files), "objectives": len(read.objectives), "checked": checked, "unchecked": unchecked}
        print_json({"folder": str(folder), "written": not check, **counts, **kinds})
    else:
        _print(folder, len(files), kinds, unchecked, check=check)
    if check and drift:
        raise typer.Exit(1)


# ---- what the objectives are about


def _check(targets: list[str], read: SloFile, where: str) -> dict[str, int]:
    """Check the objectives of each app's service; return how many there are, by service."""
    checked: dict[str, int] = {}
    for target in targets or _default():
        app = import_app(target)
        found = monitor_of(app) or _monitor_of_run(target, read)
        if found.service not in {service.name for service in read.services}:
            problem = f"is the service {found.service!r}, of which the file says nothing"
            raise ConfigurationError(f"target {target!r}", problem, "give hasten.install the service= that it names")
        if found.service in checked:
            problem = f"another target is the service {found.service}, too"
            raise ConfigurationError(f"target {target!r}", problem, "give one of them")
        checked[found.service] = check_objectives(read.objectives, surface_of(app, found), where)
    return checked


def _default() -> list[str]:
    """Return the project's own app; none where there is none: a folder of configuration alone may be generated."""
    try:
        return [find_target(None, Path.cwd())]
    except ConfigurationError as error:
        if error.where == "target":
            return []
        raise


def _monitor_of_run(target: str, read: SloFile) -> Monitor:
    """Return the monitor that `hasten run --slo` gives an app without one, if it is clear which service that is."""
    if len(read.services) != 1:
        problem = "has no monitor that says which service it is"
        raise ConfigurationError(f"target {target!r}", problem, "call hasten.install(app, service=..., slo=...)")
    return Monitor(read.services[0].name, objectives=read.objectives)


# ---- report


def _print(folder: Path, count: int, kinds: dict[str, Any], unchecked: Iterable[str], *, check: bool) -> None:
    console = output()
    words = {
        "missing": "missing" if check else "new",
        "changed": "different" if check else "changed",
        "left_over": "generated once, not any more",
    }
    for kind, paths in kinds.items():
        for path in paths[:_SHOWN]:
            console.print(f"  {folder / path}: {words[kind]}", soft_wrap=True, markup=False)
        if len(paths) > _SHOWN:
            console.print(f"  and {len(paths) - _SHOWN} more: {words[kind]}", soft_wrap=True, markup=False)
    console.print(f"{folder}: {_summary(count, kinds, check=check)}", soft_wrap=True, markup=False)
    for service in unchecked:
        console.print(f"not checked: objectives of {service}, whose app was not given", soft_wrap=True, markup=False)
    print_next(_next(folder, kinds, check=check))


def _summary(count: int, kinds: dict[str, Any], *, check: bool) -> str:
    different = len(kinds["missing"]) + len(kinds["changed"])
    if check:
        return f"{different} of {count} files would be written" if different else f"all {count} files are as generated"
    return f"{different} of {count} files written" if different else f"all {count} files were as they are"


def _next(folder: Path, kinds: dict[str, Any], *, check: bool) -> str:
    if check and (kinds["missing"] or kinds["changed"]):
        return "the same without --check writes them"
    if kinds["left_over"]:
        return "delete what is not generated any more"
    return f"docker compose -f {folder / 'compose.yaml'} up starts Prometheus, Alertmanager and Grafana with them"
