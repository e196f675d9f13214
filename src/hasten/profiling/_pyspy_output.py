"""What py-spy's raw output tells: a line for each stack that it has seen, `outermost;...;innermost count`. Pure.

    thread (4711): MainThread;<module> (/app/main.py:9);Basket.load (/app/basket.py:41) 116
    process 4711:"python -m app";process 4712:"python -c ...";thread (4712): MainThread;<module> (...) 7

Nothing in it is escaped: semicolons, quotes and ends of lines stand in names of threads, and in command lines, as they
are. A command line is not taken over: it may hold a password.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from hasten.profiling._names import named_frame
from hasten.profiling._profile import Frame

_THREAD = re.compile(r"thread \((0x[0-9a-fA-F]+|\d{1,19})\)(?:: ?(.*))?", re.DOTALL)
_PROCESS = re.compile(r'(?:^|";)process (\d{1,10}):"')
_START_OF_THREAD = re.compile(r"^thread \(", re.MULTILINE)
_START_OF_PROCESS = re.compile(r'^process \d{1,10}:"', re.MULTILINE)
_COUNT = re.compile(r" (\d{1,12})\s*", re.ASCII)
_PLACE = re.compile(r"(.*?)(?::(\d{1,9}))?\)", re.DOTALL | re.ASCII)
_NAME_ALONE = re.compile(r"[\w.<>]+")


class Seen(NamedTuple):
    """A stack of one thread.

    Attributes:
      frames: The outermost first.
      samples: How often it was seen.
      thread: The system's id of the thread, or where py-spy does not know it, the library's, which is no small number.
      name: The thread's; empty without one.
      processes: Ids of the process and of those above it that were looked at, the outermost first; empty if only one
        process was.
    """

    frames: tuple[Frame, ...]
    samples: int
    thread: int = 0
    name: str = ""
    processes: tuple[int, ...] = ()


def parse_raw(text: str, *, processes: bool = False) -> tuple[list[Seen], int]:
    """Return the stacks of `py-spy record --format raw --full-filenames --threads`.

    Args:
      processes: It was run with `--subprocesses`.
    Returns:
      The stacks, and the number of entries that do not read as one.
    """
    entries = list(_entries(text, _START_OF_PROCESS if processes else _START_OF_THREAD))
    parse = _of_process if processes else _of_thread
    found = [seen for seen in map(parse, entries) if seen is not None]
    return found, len(entries) - len(found)


def _entries(text: str, start: re.Pattern[str]) -> Iterator[str]:
    """Yield the entries: a line, or several where a name holds the end of one."""
    edges = [*(match.start() for match in start.finditer(text)), len(text)]
    if text[: edges[0]].strip():
        yield text[: edges[0]]
    for begin, end in pairwise(edges):
        yield text[begin:end]


def _of_process(entry: str) -> Seen | None:
    above, quote, rest = entry.rpartition('";')  # the last: it may stand in a command line, and does not in a frame
    seen = _of_thread(rest) if quote else None
    return seen._replace(processes=tuple(map(int, _PROCESS.findall(above)))) if seen else None


def _of_thread(entry: str) -> Seen | None:
    count = _COUNT.fullmatch(entry, entry.rstrip().rfind(" ") if " " in entry else 0)
    parts = entry[: count.start()].split(";") if count else []
    while len(parts) > 1 and not _is_frame(parts[1]):  # of the thread's name
        parts[:2] = [f"{parts[0]};{parts[1]}"]
    thread = _THREAD.fullmatch(parts[0]) if parts else None
    if count is None or thread is None or len(parts) < 2:
        return None
    number = int(thread[1], 16 if thread[1].startswith("0x") else 10)
    return Seen(tuple(_frames(parts[1:])), int(count[1]), number, thread[2] or "")


def _frames(parts: Iterable[str]) -> Iterator[Frame]:
    text = ""
    for part in parts:
        text = f"{text};{part}" if text else part
        if _is_frame(text) or _NAME_ALONE.fullmatch(text):
            yield _frame(text)
            text = ""
    if text:
        yield _frame(text)


def _is_frame(text: str) -> bool:
    return text.endswith(")") and " (" in text


def _frame(text: str) -> Frame:
    """Return the frame that `function (file:line)` or `function (file)` is."""
    # Paths may hold " (", and so do C++'s names: a path that begins as one does is told by that.
    split = min((at for at in (text.find(" (/"), text.find(" (<")) if at > 0), default=text.rfind(" ("))
    place = _PLACE.fullmatch(text, split + 2) if split > 0 else None
    if place is None:
        return named_frame(text)
    return named_frame(text[:split], place[1], int(place[2] or 0))
