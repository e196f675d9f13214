"""`hasten events`: how far groups are behind, their dead letters, and what a bus subscribes to."""

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich import box
from rich.table import Table

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten._core.targets import import_object
from hasten.cli._console import output, print_json, print_next
from hasten.cli._options import JsonOption, duration_option
from hasten.events import Backlog, BrokerError, BrokerUnavailable, Bus, Envelope, Inspection
from hasten.events._letters import Choice, payload_text, record_of, shown
from hasten.events._names import checked_name

_PIPE_WIDTH = 160  # columns where there is no terminal to ask
_MOST_LISTED = 20  # ids of replayed messages on a terminal

events = typer.Typer(
    help="Look after messages: lag of groups, dead letters, and a bus's AsyncAPI document.",
    invoke_without_command=True,
)

UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="Of the broker: amqp://user:password@host, kafka://host, memory://...")
]
TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="What messages are published to.")]
GroupOption = Annotated[
    str,
    typer.Option(
        "--group",
        envvar="HASTEN_GROUP",
        help="Whose dead letters; needed where a topic has several groups, or the broker cannot list them (RabbitMQ).",
    ),
]


class Place(NamedTuple):
    """A group's dead letters, and who is asked for them."""

    broker: str
    inspection: Inspection
    topic: str
    group: str

    @property
    def words(self) -> str:
        """How a command goes on about it: the URL is not repeated, it may have a password."""
        return f"URL {self.topic} --group {self.group}"


@events.callback()
def choose(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


# ---- lag


@events.command("lag")
def lag(
    url: UrlArgument,
    topic: TopicArgument,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            envvar="HASTEN_GROUP",
            help="Only this group; repeatable; needed where the broker cannot list them (RabbitMQ).",
        ),
    ] = None,
    json: JsonOption = False,  # noqa: FBT002 - a flag is what typer makes of a bool
) -> None:
    """Say how many messages wait for each group of a topic, and how many are dead.

    Messages that a consumer is at count as waiting in Kafka, and not elsewhere.
    """
    broker, found = asyncio.run(_backlogs(url, topic, group or []))
    if json:
        rows = [{"group": name, "waiting": each.waiting, "dead": each.dead} for name, each in found.items()]
        print_json({"broker": broker, "topic": topic, "groups": rows})
        return
    console = output()
    console.print(f"{broker}: {topic}", soft_wrap=True, markup=False)
    console.print(_table(found))
    dead = next((name for name, each in found.items() if each.dead), None)
    if dead is not None:
        print_next(f"hasten events peek URL {topic} --group {dead} says why messages died")
    else:
        print_next("run it again: a group whose waiting grows has too few consumers, or none")


async def _backlogs(url: str, topic: str, groups: list[str]) -> tuple[str, dict[str, Backlog]]:
    async with _inspecting(url, topic) as (broker, inspection):
        found = {}
        for group in groups or await _groups(broker, inspection, topic):
            found[group] = await _backlog(inspection, topic, group)
        return broker, found


def _table(found: dict[str, Backlog]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("group", no_wrap=True)
    table.add_column("waiting", justify="right")
    table.add_column("dead", justify="right")
    for name, each in found.items():
        table.add_row(name, f"{each.waiting:,}", f"[bold red]{each.dead:,}[/]" if each.dead else "0")
    return table


# ---- dead letters


@events.command("peek")
def peek(
    url: UrlArgument,
    topic: TopicArgument,
    group: GroupOption = "",
    most: Annotated[
        int, typer.Option("--most", envvar="HASTEN_MOST", min=1, help="So many dead letters, the oldest ones.")
    ] = 20,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show dead letters of a group, the oldest first: id, when published, key, last attempt, reason, payload.

    They stay where they are. With --json each is one line, whole.
    """
    place, dead, letters = asyncio.run(_peeked(url, topic, group, most))
    if json:
        for each in letters:
            sys.stdout.write(msgspec.json.encode(record_of(each, place.group)).decode() + "\n")
        return
    of = f"{len(letters)} of {dead:,} dead letters" if dead > len(letters) else _count(dead)
    output().print(f"{place.broker}: {of} of {place.group} on {topic}", soft_wrap=True, markup=False)
    for each in letters:
        _print_letter(each)
    if letters:
        output().print()
        print_next(f"hasten events replay {place.words} --dry-run says what would be handled again")
    else:
        print_next(f"hasten events lag {place.words} says what waits")


async def _peeked(url: str, topic: str, group: str, most: int) -> tuple[Place, int, list[Envelope]]:
    async with _at_letters(url, topic, group) as (place, dead):
        letters = await place.inspection.dead_letters(topic, place.group, most) if dead else []
        return place, dead, letters


def _print_letter(letter: Envelope) -> None:
    console = output()
    width = console.width if console.is_terminal else _PIPE_WIDTH
    published = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(letter.time)) if 0.0 < letter.time < 1e11 else "?"
    key = f"  key {letter.key}" if letter.key else ""
    head = f"{letter.id}  {published}{key}"
    why = f"attempt {letter.attempt}, {letter.reason}"
    console.print(f"\n{shown(head, max(width, len(letter.id)))}", style="bold", soft_wrap=True, markup=False)
    console.print(f"  {shown(why, width - 2)}", soft_wrap=True, markup=False)
    console.print(f"  {payload_text(letter, width - 2)}", style="dim", soft_wrap=True, markup=False)


@events.command("replay")
def replay(
    url: UrlArgument,
    topic: TopicArgument,
    group: GroupOption = "",
    message_id: Annotated[
        list[str] | None, typer.Option("--id", envvar="HASTEN_ID", help="Only this message; repeatable.")
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", envvar="HASTEN_REASON", metavar="TEXT", help="Only those whose reason has this.")
    ] = "",
    older_than: Annotated[
        float | None,
        duration_option("--older-than", "HASTEN_OLDER_THAN", "Only those that were published before: 30s, 2h."),
    ] = None,
    newer_than: Annotated[
        float | None,
        duration_option("--newer-than", "HASTEN_NEWER_THAN", "Only those that were published since: 30s, 2h."),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", envvar="HASTEN_MOST", min=1, help="Look at so many, the oldest ones.")
    ] = 1000,
    dry_run: Annotated[  # noqa: FBT002
        bool, typer.Option("--dry-run", envvar="HASTEN_DRY_RUN", help="Change nothing, only say which ones.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Have dead letters handled again by their group, as if they had never been tried.

    All filters must hold. The others stay. Exit code 1 says that there was none to replay.
    """
    now = time.time()
    after = now - newer_than if newer_than is not None else -math.inf
    before = now - older_than if older_than is not None else math.inf
    choice = Choice(frozenset(message_id or ()), reason, after, before)
    work = _replayed(url, topic, group, choice, most, dry_run=dry_run)
    place, looked_at, chosen = asyncio.run(work)
    if json:
        outcome = {"looked_at": looked_at, "dry_run": dry_run, "replayed": 0 if dry_run else len(chosen)}
        print_json({"broker": place.broker, "topic": topic, "group": place.group, **outcome, "ids": chosen})
    else:
        _print_replay(place, looked_at, chosen, dry_run=dry_run)
    if not chosen:
        raise typer.Exit(1)


async def _replayed(
    url: str, topic: str, group: str, choice: Choice, most: int, *, dry_run: bool
) -> tuple[Place, int, list[str]]:
    """Return how many were looked at, and the ids of those that are meant, the oldest first."""
    seen: dict[str, bool] = {}

    def note(envelope: Envelope) -> bool:
        seen[envelope.id] = choice(envelope)
        return seen[envelope.id]

    async with _at_letters(url, topic, group) as (place, dead):
        if dead and dry_run:
            for envelope in await place.inspection.dead_letters(topic, place.group, most):
                note(envelope)
        elif dead:
            await place.inspection.replay(topic, place.group, note, most)
        return place, len(seen), [one for one, is_meant in seen.items() if is_meant]


def _print_replay(place: Place, looked_at: int, chosen: list[str], *, dry_run: bool) -> None:
    console = output()
    what = "would be replayed" if dry_run else "replayed"
    line = f"{place.broker}: {len(chosen):,} of {_count(looked_at)} of {place.group} on {place.topic} {what}"
    console.print(line, soft_wrap=True, markup=False)
    for one in chosen[:_MOST_LISTED]:
        console.print(f"  {one}", soft_wrap=True, markup=False)
    if len(chosen) > _MOST_LISTED:
        console.print(f"  and {len(chosen) - _MOST_LISTED:,} more; --json names all")
    if not chosen:
        print_next(f"hasten events peek {place.words} shows what is there")
    elif dry_run:
        print_next("the same without --dry-run")
    else:
        print_next(f"hasten events lag {place.words} says whether they are handled, or dead again")


def _count(dead: int) -> str:
    return "1 dead letter" if dead == 1 else f"{dead:,} dead letters"


# ---- the broker


@asynccontextmanager
async def _inspecting(url: str, topic: str) -> AsyncIterator[tuple[str, Inspection]]:
    """Connect, and give the broker's name and what it is asked by."""
    checked_name(topic, "TOPIC")
    bus = Bus(url)
    broker = bus.broker
    assert isinstance(broker, Inspection)  # all of ours are
    async with _connected(bus):
        yield broker.name, broker


@asynccontextmanager
async def _connected(bus: Bus) -> AsyncIterator[None]:
    try:
        async with bus:
            yield
    except BrokerUnavailable as error:
        raise TargetUnreachable(error.broker, error.reason, "start it, or mend the URL") from error


async def _groups(broker: str, inspection: Inspection, topic: str) -> list[str]:
    found = await inspection.groups_of(topic)
    if found is None:
        raise ConfigurationError("--group", f"{broker} cannot list the groups of a topic", "name one")
    if not found:
        raise TargetUnreachable(broker, f"no group has subscribed to {topic}", "see whether its name is right")
    return found


@asynccontextmanager
async def _at_letters(url: str, topic: str, group: str) -> AsyncIterator[tuple[Place, int]]:
    """Connect, and give the group that is meant, and how many dead letters it has."""
    async with _inspecting(url, topic) as (broker, inspection):
        if not group:
            found = await _groups(broker, inspection, topic)
            if len(found) > 1:
                raise ConfigurationError("--group", f"{topic} has the groups {', '.join(found)}", "name one")
            group = found[0]
        backlog = await _backlog(inspection, topic, group)
        yield Place(broker, inspection, topic, group), backlog.dead


async def _backlog(inspection: Inspection, topic: str, group: str) -> Backlog:
    checked_name(group, "--group")
    try:
        return await inspection.backlog(topic, group)
    except BrokerUnavailable:
        raise
    except BrokerError as error:
        remedy = "see whether the names are right: a group is there once it has subscribed"
        raise TargetUnreachable(error.broker, error.reason, remedy) from error


# ---- AsyncAPI


@events.command("asyncapi")
def asyncapi(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="module:bus, imported from the current folder.")],
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", envvar="HASTEN_OUTPUT", metavar="FILE", help="Write it there, not to stdout."),
    ] = None,
    title: Annotated[
        str, typer.Option("--title", envvar="HASTEN_TITLE", help="Of the application; default: the module's name.")
    ] = "",
    version: Annotated[
        str, typer.Option("--app-version", envvar="HASTEN_APP_VERSION", help="Of the application.")
    ] = "0.0.0",
) -> None:
    """Write what a bus subscribes to as an AsyncAPI 3.0 document, in JSON. The broker is not asked."""
    made = _bus_at(target).asyncapi(title=title or target.partition(":")[0], version=version)
    text = msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n"
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("--output", f"cannot write {file}: {error.strerror or error}") from error


def _bus_at(target: str) -> Bus:
    found = import_object(target)
    if not isinstance(found, Bus):
        problem = f"{target.partition(':')[2]!r} is no hasten.events.Bus"
        raise ConfigurationError(f"target {target!r}", problem, "name the bus itself")
    return found
