"""A request's waterfall on a terminal: each row's stretches of time on one axis."""

import math
from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from hasten._core.durations import format_duration
from hasten.cli._kinds import KIND_MARKS, KIND_STYLES
from hasten.waterfall import Row, Waterfall

_FEWEST_CELLS = 16
_MOST_CELLS = 100
_WORDS = {"call": "→", "published": "→", "served": "←", "handled": "←", "request": "←", "client": ""}
_WORK = "bold"
_WIDEST_NAME = 0.5  # share of the width


def waterfall_table(waterfall: Waterfall, width: int) -> Table:
    """Return the rows with their bars, to be printed on so many columns."""
    names = [_name(row) for row in waterfall.rows]
    room = max(24, int(width * _WIDEST_NAME))
    longest = min(room, max(len(name) for name in names))
    outcomes = max(len(row.outcome or row.kind) for row in waterfall.rows)
    cells = max(_FEWEST_CELLS, min(_MOST_CELLS, width - longest - outcomes - 9 - 9))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("what", no_wrap=True, width=longest)
    table.add_column("", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column(_axis(waterfall.seconds, cells), no_wrap=True, width=cells)
    for row, name in zip(waterfall.rows, names, strict=True):
        table.add_row(*_cells(row, name, longest, waterfall.seconds, cells))
    return table


def _name(row: Row) -> str:
    if not row.service:
        return f"{'  ' * row.depth}{row.name}"
    return f"{'  ' * row.depth}{row.service} {_WORDS[row.kind]} {row.name}".replace("  →", " →")


def _cells(row: Row, name: str, room: int, seconds: float, cells: int) -> Iterator[Text]:
    own = not row.service
    style = KIND_STYLES.get(row.kind, "bright_black") if own else _WORK
    yield Text(_shortened(name, room), "" if own else _WORK)
    yield Text(row.kind if own else row.outcome, style if own else _outcome_style(row))
    yield Text(format_duration(row.seconds))
    yield _bar(row, seconds, cells, style, KIND_MARKS.get(row.kind, "█") if own else "█")


def _outcome_style(row: Row) -> str:
    good = row.outcome in {"OK", "ok"} or (row.outcome.isdigit() and int(row.outcome) < 400)
    return "green" if good else "bold red"


def _shortened(name: str, room: int) -> str:
    """Return a name as it fits: the middle of what is too long is left out, as both its ends say most."""
    if len(name) <= room:
        return name
    head = (room - 1) // 2
    return f"{name[:head]}…{name[len(name) - (room - 1 - head) :]}"


def _bar(row: Row, seconds: float, cells: int, style: str, mark: str) -> Text:
    """Return the row's stretches, each at least a cell wide."""
    signs = [" "] * cells
    for bar in row.bars:
        first = min(cells - 1, max(0, math.floor(bar.start / seconds * cells)))
        last = min(cells, max(first + 1, round((bar.start + bar.seconds) / seconds * cells)))
        signs[first:last] = mark * (last - first)
    return Text("".join(signs).rstrip(), style)


def _axis(seconds: float, cells: int) -> str:
    end = format_duration(seconds)
    return f"0{end.rjust(cells - 1)}"
