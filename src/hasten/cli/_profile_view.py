"""What `hasten profile` shows in a terminal: the functions of a profile, and what changed between two. Pure."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hasten._core.durations import format_duration
from hasten.profiling import Function, Profile
from hasten.profiling._diff import Change, Difference
from hasten.profiling._functions import answered, callers, functions, is_library, is_sampled, short_place

_ENOUGH = 46  # columns for a function and its place; where there are fewer, figures are left out
_LEAST = 0.5e-6  # seconds; smaller changes are shown as none
_CUT = ("function", "where")


def profile_table(profile: Profile, *, top: int = 20, endpoint: str = "") -> RenderableType:
    """Return a profile's functions, those with the most seconds of their own first.

    Args:
      top: Rows at most.
      endpoint: Of its requests alone; empty for everything.
    """
    rows = [one for one in functions(profile, endpoint=endpoint) if one.own]  # what only calls is seen in the graph
    requests = answered(profile, endpoint=endpoint)
    parts: list[RenderableType] = [_head(profile, endpoint, requests)]
    if not rows:
        parts.append(Text("nothing was recorded"))
    else:
        parts.append(_functions(profile, rows, top, endpoint))
    parts += [Text(f"note: {_shown(note)}") for note in profile.notes]
    return Group(*parts)


def _head(profile: Profile, endpoint: str, requests: int) -> Text:
    said = [f"{profile.engine} {profile.clock}"]
    if profile.seconds:
        said.append(format_duration(profile.seconds))
    if is_sampled(profile):
        said.append(f"{sum(stack.count for stack in profile.stacks):,} samples")
    if requests:
        said.append(_counted(requests, "request"))
    if endpoint:
        said.append(_shown(endpoint))
    return Text.assemble((_shown(profile.service) or "profile", "bold"), "  ", " · ".join(said))


class _Rows:
    """A table in which `function` and `where` get what the others leave of the terminal's width, and are cut to it.

    Args:
      texts: How many columns are texts, from the first on.
      spared: Columns that a narrow terminal does without, the first first.
    """

    def __init__(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        styles: Sequence[str],
        *,
        texts: int,
        spared: Sequence[str] = (),
    ) -> None:
        self._heads = heads
        self._rows = rows
        self._styles = styles
        self._texts = texts
        self._spared = spared

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = {head: [row[number] for row in self._rows] for number, head in enumerate(self._heads)}
        self._fit(columns, options.max_width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
        for head in columns:
            table.add_column(head, justify="left" if head in self._heads[: self._texts] else "right", no_wrap=True)
        for row, style in zip(zip(*columns.values(), strict=True), self._styles, strict=True):
            table.add_row(*(Text(cell, style=style if at == 0 else "") for at, cell in enumerate(row)))
        yield table

    def _fit(self, columns: dict[str, list[str]], width: int) -> None:
        wanted = {head: max(map(len, (head, *cells))) for head, cells in columns.items()}
        for head in (*self._spared, ""):
            room = width - 2 * (len(columns) - 1) - sum(wanted[head] for head in columns if head not in _CUT)
            if room >= min(_ENOUGH, sum(wanted[head] for head in columns if head in _CUT)):
                break
            columns.pop(head, None)
        name, place = _shared(wanted["function"], wanted["where"] if "where" in columns else 0, room)
        columns["function"] = [_middle_cut(cell, name) for cell in columns["function"]]
        if "where" in columns:
            columns["where"] = [_front_cut(cell, place) for cell in columns["where"]]


def _shared(first: int, second: int, room: int) -> tuple[int, int]:
    """Return the widths of two texts in `room`: what one does not need is the other's."""
    room = max(room, 24)
    if first + second <= room:
        return first, second
    half = room // 2
    if first <= half:
        return first, room - first
    return (room - second, second) if second <= room - half else (half, room - half)


def _functions(profile: Profile, rows: Sequence[Function], top: int, endpoint: str) -> RenderableType:
    whole = sum(one.own for one in rows)
    requests = answered(profile, endpoint=endpoint)
    due = callers(profile, endpoint=endpoint)
    kinds = any(one.kind for one in rows)
    heads = ["function", "where", *(["kind"] if kinds else []), "own", "share", *(["a request"] if requests else [])]
    cells = []
    for one in rows[:top]:
        caller = due.get((one.frame.function, one.frame.file, one.kind))
        place = f"by {short_place(caller)}" if caller else short_place(one.frame)
        figures = [_time(one.own), _share(one.own, whole), *([_time(one.own / requests)] if requests else [])]
        cells.append(
            [_shown(one.frame.function), _shown(place), *([one.kind] if kinds else []), *figures, _time(one.total)]
        )
    styles = ["dim" if is_library(one.frame) else "" for one in rows[:top]]
    spared = ("total", "own") if kinds and requests else ()
    table = _Rows([*heads, "total"], cells, styles, texts=3 if kinds else 2, spared=spared)
    if len(rows) <= top:
        return table
    rest = sum(one.own for one in rows[top:])
    more = f"and {_counted(len(rows) - top, 'more row')}"
    return Group(table, Text(f"{more}: {_time(rest)}, {_share(rest, whole)}" if rest else more, style="dim"))


# ---- what changed


def diff_table(difference: Difference, top: int = 20) -> RenderableType:
    """Return what changed between two profiles, what changed most first.

    Args:
      top: Rows at most.
    """
    told = [one for one in difference.changes if one.sure and abs(one.change) >= _LEAST]
    chance = sum(not one.sure and abs(one.change) >= _LEAST for one in difference.changes)
    parts: list[RenderableType] = [_sides(difference)]
    parts.append(_changes(difference, told[:top]) if told else Text("no function changed beyond chance"))
    rest = [_counted(len(told) - top, "more change")] if len(told) > top else []
    rest += [f"{_counted(chance, 'change')} that may be chance"] if chance else []
    if rest:
        parts.append(Text(f"and {', '.join(rest)}", style="dim"))
    parts += [Text(f"note: {_shown(note)}") for note in difference.notes]
    return Group(*parts)


def _sides(difference: Difference) -> Text:
    before, after = difference.before, difference.after
    said = [f"{difference.engine} {difference.clock}"]
    if difference.per == "request":
        said.append(f"{before.requests:,} -> {_counted(after.requests, 'request')}")
    if difference.endpoint:
        said.append(_shown(difference.endpoint))
    whole = f"\na {difference.per}: {_time(before.spent)} -> {_time(after.spent)}"
    grown = f" ({after.spent / before.spent - 1.0:+.1%})" if before.spent else ""
    return Text.assemble((_shown(difference.service) or "profiles", "bold"), "  ", " · ".join(said), whole, grown)


def _changes(difference: Difference, changes: Sequence[Change]) -> RenderableType:
    kinds = any(one.kind for one in difference.changes)
    heads = ["function", "where", *(["kind"] if kinds else []), "before", "after", f"a {difference.per}", "change"]
    rows = []
    for one in changes:
        grown = f"{'+' if one.change > 0 else '-'}{_time(abs(one.change))}"
        figures = [_time(one.before), _time(one.after), grown, change_in_words(one)]
        place = f"by {short_place(one.caller)}" if one.caller else short_place(one.frame)
        rows.append([_shown(one.frame.function), _shown(place), *([one.kind] if kinds else []), *figures])
    styles = ["red" if one.change > 0 else "green" for one in changes]
    return _Rows(heads, rows, styles, texts=3 if kinds else 2, spared=("where",))


def change_in_words(one: Change) -> str:
    """Return `new`, `gone`, or by how much of itself a function's own time changed: `+31 %`."""
    if one.ratio is None:
        return "new"
    if not one.after:
        return "gone"
    return f"{one.ratio:+.0%}" if one.ratio < 10 else f"x{one.after / one.before:.0f}"


# ---- texts


def _shown(text: str) -> str:
    """Return a text as it may stand in a terminal: without characters that control it."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _middle_cut(text: str, width: int) -> str:
    """Return a qualified name with its middle left out: its last part tells most, its first whose it is."""
    if len(text) <= width:
        return text
    behind = width * 2 // 3
    return f"{text[: width - behind - 1]}…{text[-behind:]}"


def _front_cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def _time(seconds: float) -> str:
    return format_duration(seconds) if seconds else "-"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
