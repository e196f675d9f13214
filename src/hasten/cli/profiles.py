"""`hasten profiles`: the last captures of services, in their folders or at their admin ports."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.text import Text

from hasten._core.durations import format_duration
from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.cli._console import messages, output, print_json, print_next
from hasten.cli._options import JsonOption
from hasten.profiling import Profile
from hasten.profiling._store import Entry, ProfileStore, state_folder

_LATEST = "latest"
_SHOWN = 5  # endpoints that a message names
_BYTES = ("B", "kB", "MB")

profiles = typer.Typer(
    help="Look at the profiles that services have made: when asked, by an alert, or by themselves.",
    invoke_without_command=True,
)

PlaceArgument = Annotated[
    str,
    typer.Argument(
        metavar="[FOLDER|URL]",
        help="Where profiles lie, or the admin port of a service; default: ~/.local/state/hasten/profiles.",
        show_default=False,
    ),
]
TokenOption = Annotated[str, typer.Option("--token", envvar="HASTEN_ADMIN_TOKEN", help="Token of the admin port.")]


class _Place(NamedTuple):
    """Where profiles are.

    Attributes:
      name: As messages call it.
      entries: Returns what there is, the newest first.
      profile: Returns the profile of an id that is among them.
    """

    name: str
    entries: Callable[[], list[Entry]]
    profile: Callable[[str], Profile]


@profiles.callback()
def choose(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@profiles.command("list")
def list_(
    place: PlaceArgument = "",
    token: TokenOption = "",
    json: JsonOption = False,  # noqa: FBT002 - a flag is what typer makes of a bool
) -> None:
    """List profiles, the newest first: why each was made, and for what."""
    found = _place(place, token)
    entries = found.entries()
    if json:
        print_json({"place": found.name, "profiles": entries})
        return
    console = output()
    console.print(Text(f"{found.name}: {_counted(len(entries))}"), soft_wrap=True)
    if not entries:
        print_next(
            "hasten profile URL makes one; hasten.install(app, profile=True) has them made when something is slow"
        )
        return
    for line in _listed(entries):
        console.print(line, soft_wrap=True)
    print_next(f"hasten profiles show {entries[0].id}{f' {place}' if place else ''} shows the newest")


@profiles.command("show")
def show(
    id: Annotated[  # noqa: A002 - what everybody calls it
        str, typer.Argument(metavar="ID", help="Of the profile, or how its id begins; latest for the newest.")
    ],
    place: PlaceArgument = "",
    token: TokenOption = "",
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            envvar="HASTEN_OUTPUT",
            metavar="FILE",
            help="Write it: .html is a flame graph, .speedscope.json and .folded are for other tools, else JSON.",
        ),
    ] = None,
    endpoint: Annotated[
        str, typer.Option("--endpoint", envvar="HASTEN_ENDPOINT", help="Only its requests: 'GET /products/{id}'.")
    ] = "",
    top: Annotated[
        int, typer.Option("--top", envvar="HASTEN_TOP", min=1, max=1000, help="Rows of the table at most.")
    ] = 20,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show a profile: the functions with the most time, and what it was made for."""
    from hasten.profiling._files import encode, write_profile  # all formats, for who has a profile

    found = _place(place, token)
    entry = _chosen(id, found)
    profile = _of(found.profile(entry.id), endpoint)
    if file is not None:
        write_profile(profile, file)
        messages().print(f"written to {file}", soft_wrap=True, markup=False)
    if json:
        print_json(msgspec.Raw(encode(profile, "json")))
        return
    if file is None:
        _print(entry, profile, top, endpoint)
        again = f"hasten profiles show {entry.id}{f' {place}' if place else ''}"
        print_next(f"{again} -o profile.html writes it as a flame graph")


def _of(profile: Profile, endpoint: str) -> Profile:
    """Return the part of an endpoint; all without one."""
    if not endpoint:
        return profile
    if endpoint not in profile.endpoints():
        known = ", ".join(map(_plain, profile.endpoints()[:_SHOWN])) or "none"
        raise ConfigurationError("--endpoint", f"nothing of {endpoint!r} is in the profile", f"there is {known}")
    return profile.of_endpoint(endpoint)


def _print(entry: Entry, profile: Profile, top: int, endpoint: str) -> None:
    from hasten.cli._profile_view import profile_table  # tables, for who looks at one

    console = output()
    console.print(Text.assemble((entry.id, "bold"), "  ", _when(entry), "  ", entry.trigger), soft_wrap=True)
    for name, value in entry.labels.items():
        console.print(Text(f"  {_plain(name)}: {_plain(value)}"), soft_wrap=True)
    console.print(profile_table(profile, top=top, endpoint=endpoint))


def _chosen(id: str, place: _Place) -> Entry:  # noqa: A002
    """Return the one finished entry that an id, its beginning or `latest` names."""
    entries = place.entries()
    named = [entry for entry in entries if id == _LATEST or entry.id.startswith(id)]
    found = [entry for entry in named if entry.state == "done"]
    if id == _LATEST and found:
        return found[0]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(id, f"{len(found)} profiles begin so", "give more of the id")
    if named and named[0].state == "failed":
        raise TargetUnreachable(named[0].id, f"the capture has failed: {_plain(named[0].reason)}")
    if named:
        raise ConfigurationError(named[0].id, "is under way", f"it takes {format_duration(named[0].seconds)}")
    raise ConfigurationError(id, f"no such profile in {place.name}", "hasten profiles list says what there is")


# ---- where they are


def _place(text: str, token: str) -> _Place:
    """Return what a word names: a folder, or the URL of an admin port.

    Raises:
      ConfigurationError: it is neither.
    """
    folder = Path(text) if text else state_folder()
    if folder is None:
        raise ConfigurationError("folder", "there is no home that a default could be in", "give a folder or a URL")
    if "://" not in text and (folder.is_dir() or not text):
        return _folder(folder)
    if "://" not in text and not text.rpartition(":")[2].isdigit():
        raise ConfigurationError(text, "is no folder, and no URL of an admin port", "write one like 127.0.0.1:9464")
    return _port(text, token)


def _folder(folder: Path) -> _Place:
    """Return a service's folder, or one of several services."""
    try:
        within = sorted(place for place in folder.iterdir() if place.is_dir()) if folder.is_dir() else []
    except OSError as error:
        raise ConfigurationError(str(folder), f"cannot be read: {error.strerror or error}") from None
    stores = [ProfileStore(place) for place in (folder, *within)]

    def profile(id: str) -> Profile:  # noqa: A002
        from hasten.profiling._files import decode  # all formats, for who has a profile

        data = next((data for store in stores if (data := store.read(id)) is not None), None)
        if data is None:
            raise ConfigurationError(id, "has gone", "there were newer ones")
        return decode(data, f"{folder}: {id}")

    def entries() -> list[Entry]:
        return sorted((entry for store in stores for entry in store.entries()), key=lambda one: one.id, reverse=True)

    return _Place(str(folder), entries, profile)


def _port(text: str, token: str) -> _Place:
    from hasten.admin.live import parse_place  # for who asks one
    from hasten.profiling._remote import get_profile, list_profiles

    url = parse_place(text, token).url
    return _Place(url, lambda: list_profiles(url, token=token), lambda each: get_profile(url, each, token=token))


# ---- report


def _listed(entries: list[Entry]) -> Iterator[Text]:
    """Yield two lines for each: what it is, and indented why it was made, which may be long."""
    rows = [(entry.id, _when(entry), _plain(entry.service), _made(entry), _state(entry)) for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for entry, row in zip(entries, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False) if width]
        yield Text("  ".join([*cells, row[-1].rjust(widths[-1])]))
        yield Text(f"    {_plain(entry.about)}", style="red" if entry.state == "failed" else "dim")


def _made(entry: Entry) -> str:
    return f"{_plain(entry.engine)} {format_duration(entry.seconds)}"


def _state(entry: Entry) -> str:
    return _size(entry.size_bytes) if entry.state == "done" else entry.state


def _size(size_bytes: float) -> str:
    for unit in _BYTES[:-1]:
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} {_BYTES[-1]}"


def _when(entry: Entry) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.started))
    except (OverflowError, ValueError, OSError):  # no time that there is
        return "?"


def _counted(count: int) -> str:
    return f"{count or 'no'} profile{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """Return a text without what a terminal would obey: labels are written by others."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
