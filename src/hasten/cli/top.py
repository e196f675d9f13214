"""`hasten top`: what services do now, in the terminal."""

import contextlib
import os
import queue
import select
import signal
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.live import Live as Display

from hasten._core.errors import HastenError
from hasten.admin.live import Place, admin_ports_of, fetch_story, follow, parse_place, pids_of
from hasten.cli._console import output
from hasten.cli._options import JsonOption
from hasten.cli._top_view import SORTS, Screen, Seen, draw
from hasten.monitor._sample import Point, Sample, Story

_DEFAULT = "http://127.0.0.1:9464"
_KEPT = 120  # points; more than a line has room for
_RETRY = 1.0  # seconds
_TERMINATED = 128 + signal.SIGTERM


def top(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL|PID|TARGET]",
            help=f"Of admin ports, or of processes on this machine; default: {_DEFAULT}.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str, typer.Option("--token", envvar="HASTEN_ADMIN_TOKEN", help="Token of the admin ports.", show_envvar=True)
    ] = "",
    once: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--once", envvar="HASTEN_ONCE", help="Print one frame and exit; so does a pipe.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show what a service does now: rates, latency, where the time goes, what blocks the event loop.

    It reads the admin port that hasten.install opens. Keys: q quits, p pauses, s sorts the routes, tab takes the next
    process. With --json each sample is one line, one a second.
    """
    places = [place for target in targets or [_DEFAULT] for place in _places(target, token)]
    console = output()
    if json:
        _print_lines(places, once=once)
    elif once or not console.is_terminal:
        _print_once(console, places)
    else:
        _Top(console, places).run()


# ---- which ones


def _places(target: str, token: str) -> list[Place]:
    """Return the admin ports that a word names: a PID's, those of processes with a target, or a URL's."""
    if target.isdigit():
        return admin_ports_of(target, [int(target)], token)
    module, colon, attribute = target.partition(":")
    if colon and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        return admin_ports_of(target, pids_of(target), token)
    return [parse_place(target, token)]


# ---- without keys


def _print_once(console: Console, places: list[Place]) -> None:
    seen = []
    for place in places:
        story = fetch_story(place)
        seen.append(Seen(url=place.url, sample=story.sample, points=story.points))
    for number in range(len(seen)):
        shown = tuple(seen) if number == 0 else (seen[number],)
        console.print(draw(Screen(processes=shown, colours=_has_colours(console), width=console.width)))


def _has_colours(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def _print_lines(places: list[Place], *, once: bool) -> None:
    """Print samples as JSON, one a line, with the URL that they are from."""
    if once:
        for place in places:
            _print_line(place.url, fetch_story(place).sample)
        return
    inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    _start_sources(places, inbox)
    heard: set[int] = set()
    while True:
        number, told = inbox.get()
        if isinstance(told, HastenError) and number not in heard:
            raise told
        if isinstance(told, Story | Sample):
            heard.add(number)
            _print_line(places[number].url, told.sample if isinstance(told, Story) else told)


def _print_line(url: str, sample: Sample | None) -> None:
    if sample is not None:
        named = {"url": url, **msgspec.to_builtins(sample), "point": _named(sample.point)}
        sys.stdout.write(msgspec.json.encode(named).decode() + "\n")
        sys.stdout.flush()


def _named(point: Point) -> dict[str, float | None]:
    return {field: getattr(point, field) for field in point.__struct_fields__}


# ---- with keys


def _start_sources(places: list[Place], inbox: "queue.SimpleQueue[tuple[int, Any]]") -> None:
    """Have each place followed by a thread, again and again; what it tells, and what goes wrong, comes to the inbox."""

    def run(number: int, place: Place) -> None:
        while True:
            try:
                for told in follow(place):
                    inbox.put((number, told))
            except HastenError as error:
                inbox.put((number, error))
            threading.Event().wait(_RETRY)

    for number, place in enumerate(places):
        threading.Thread(target=run, args=(number, place), daemon=True).start()


class _Top:
    """The screen, until q is pressed.

    Args:
      console: On a terminal.
    """

    def __init__(self, console: Console, places: list[Place]) -> None:
        self._console = console
        self._places = places
        self._seen = [Seen(url=place.url) for place in places]
        self._points: list[deque[Point]] = [deque(maxlen=_KEPT) for _ in places]
        self._shown = tuple(self._seen)
        self._chosen = 0
        self._sort = 0
        self._paused = False

    def run(self) -> None:
        """Show it.

        Raises:
          TargetUnreachable: a place does not answer at all; one that has answered is waited for.
        """
        for place in self._places:
            fetch_story(place)
        inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        _start_sources(self._places, inbox)
        with _keys(inbox), Display(console=self._console, screen=True, auto_refresh=False) as display:
            display.update(self._frame(), refresh=True)
            while self._take(*inbox.get()):
                display.update(self._frame(), refresh=True)

    def _take(self, number: int, told: Any) -> bool:
        """Take in what has come, and return whether to go on."""
        if isinstance(told, str):
            return self._press(told)
        seen, points = self._seen[number], self._points[number]
        if isinstance(told, HastenError):
            reason = getattr(told, "reason", str(told))
            self._seen[number] = msgspec.structs.replace(seen, trouble=reason)
        else:
            sample = told.sample if isinstance(told, Story) else told
            points.extend(told.points if isinstance(told, Story) else (told.point,))
            self._seen[number] = Seen(url=seen.url, sample=sample or seen.sample, points=tuple(points))
        return True

    def _press(self, key: str) -> bool:
        if key == "p":
            self._paused = not self._paused
        elif key == "s":
            self._sort = (self._sort + 1) % len(SORTS)
        elif key == "\t":
            self._chosen = (self._chosen + 1) % len(self._seen)
        return key != "q"

    def _frame(self) -> Any:
        if not self._paused:
            self._shown = tuple(self._seen)
        return draw(
            Screen(
                processes=self._shown,
                chosen=self._chosen,
                sort=SORTS[self._sort],
                paused=self._paused,
                keys=True,
                colours=_has_colours(self._console),
                width=self._console.width,
            )
        )


@contextlib.contextmanager
def _keys(inbox: "queue.SimpleQueue[tuple[int, Any]]") -> Iterator[None]:
    """Put each key that is pressed into the inbox, and leave the terminal as it was."""
    signal.signal(signal.SIGTERM, _leave)  # else the terminal would stay as it is now
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    ended, end = os.pipe()

    def read() -> None:
        while True:
            ready, _, _ = select.select([descriptor, ended], [], [])
            if ended in ready:
                return
            for key in os.read(descriptor, 64).decode(errors="replace") or "q":  # nothing: the terminal has gone
                inbox.put((0, key))

    reader = threading.Thread(target=read, daemon=True)
    try:
        tty.setcbreak(descriptor)
        reader.start()
        yield
    finally:
        os.write(end, b"\0")
        reader.join()
        os.close(end)
        os.close(ended)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _leave(*_: object) -> None:
    raise SystemExit(_TERMINATED)
