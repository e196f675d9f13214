"""What `hasten top` shows: a sample, drawn for a terminal of any width. Pure: no clock, no terminal, no network."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hasten._core.durations import format_duration
from hasten.cli._kinds import KIND_MARKS, KIND_STYLES
from hasten.monitor._sample import Point, Sample, Share, Timed

SORTS = ("in flight", "a second", "p99", "failed")
_NARROW = 80  # columns; below, tables have what matters most
_WIDE = 120  # columns; from here on, two things stand side by side
_BLOCKS = "▁▂▃▄▅▆▇█"
_WORST_LAG = 0.1
_SHOWN_FROM = 0.25  # seconds that a block lasts before it is told
_NOTHING = "-"
_FULL = "█"
_SORT_KEYS: dict[str, Callable[[Timed], float]] = {
    "in flight": lambda row: row.busy,
    "a second": lambda row: row.rate,
    "p99": lambda row: row.p99 or 0.0,
    "failed": lambda row: row.failed,
}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as far as it is known.

    Attributes:
      url: Of its admin port.
      sample: The newest; None before there is one.
      points: The last seconds, oldest first.
      trouble: Why there is nothing new; empty where there is.
    """

    url: str
    sample: Sample | None = None
    points: Sequence[Point] = ()
    trouble: str = ""


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of them.

    Attributes:
      chosen: Number of the process that is shown in full.
      sort: Of the routes, one of SORTS.
      keys: Whether there are keys to press.
      colours: Without them bars are made of different marks.
    """

    processes: tuple[Seen, ...]
    chosen: int = 0
    sort: str = SORTS[0]
    paused: bool = False
    keys: bool = False
    colours: bool = False
    width: int = 80


def draw(screen: Screen) -> RenderableType:
    """Return one frame."""
    parts: list[RenderableType] = []
    if len(screen.processes) > 1:
        parts.append(_processes(screen))
    seen = screen.processes[screen.chosen]
    parts.append(_head(seen, screen))
    if screen.keys:
        parts.append(_keys(screen))  # not below, where a low terminal would cut it off
    if seen.sample is None:
        parts.append(Text("no figures yet", style="dim"))
    else:
        parts += _figures(seen.sample, seen.points, screen)
    return Group(*parts)


def _figures(sample: Sample, points: Sequence[Point], screen: Screen) -> Iterable[RenderableType]:
    if sample.point.blocked >= _SHOWN_FROM:
        yield _blocked(sample)
    yield _now(sample, screen.width)
    yield _courses(points, screen.width)
    where, sites = _where(sample.shares, screen), _sites(sample)
    yield from _side_by_side(where, sites, screen.width)
    yield _routes(sample, screen)
    yield from _side_by_side(_objectives(sample), _checks(sample), screen.width)
    yield from _side_by_side(_caches(sample), _pools(sample), screen.width)
    yield from _side_by_side(
        _calls("gRPC answered", sample.answered), _calls("gRPC called", sample.called), screen.width
    )
    yield from _side_by_side(_consumers(sample), _calls("published", sample.published), screen.width)


def _side_by_side(left: RenderableType | None, right: RenderableType | None, width: int) -> Iterable[RenderableType]:
    there = [one for one in (left, right) if one is not None]
    if width < _WIDE or len(there) < 2:
        yield from there
        return
    grid = Table.grid(expand=True, padding=(0, 3, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(*there)
    yield grid


# ---- the head


def _processes(screen: Screen) -> RenderableType:
    table = _table("process", "requests/s", "errors/s", "p99", "lag", "CPU", "state")
    for number, seen in enumerate(screen.processes):
        mark = ">" if number == screen.chosen else " "
        name = Text(f"{mark} {_name(seen)}", style="bold" if number == screen.chosen else "")
        if seen.sample is None:
            table.add_row(name, *[_NOTHING] * 5, Text(seen.trouble or "connecting", style="yellow"))
            continue
        point = seen.sample.point
        table.add_row(
            name,
            _count(point.rate),
            _flagged(_count(point.errors), when=point.errors > 0),
            _time(point.p99),
            _flagged(_time(point.blocked or point.lag), when=(point.blocked or point.lag or 0.0) > _WORST_LAG),
            f"{point.cpu:.0%}",
            _state(seen),
        )
    return table


def _name(seen: Seen) -> str:
    address = seen.url.removeprefix("http://")
    return address if seen.sample is None or not seen.sample.service else f"{seen.sample.service} {address}"


def _state(seen: Seen) -> Text:
    if seen.trouble:
        return Text("reconnecting", style="yellow")
    if seen.sample is None:
        return Text("connecting", style="yellow")
    return Text("ready", style="green") if seen.sample.ready else Text("not ready", style="bold red")


def _head(seen: Seen, screen: Screen) -> RenderableType:
    sample = seen.sample
    name = "hasten top" if sample is None else sample.service or "app"
    parts: list[str | Text] = [Text(name, style="bold"), "  "]
    if sample is not None:
        parts += [Text(f"worker {sample.worker} · up {_long(sample.point.at - sample.started)} · ", style="dim")]
    parts += [Text(seen.url, style="dim"), "  ", _state(seen)]
    if sample is not None and not sample.ready:
        waits = next(check for check in sample.checks if not check.ok)
        parts.append(f" {waits.name}: {waits.reason}".rstrip(": "))
    if seen.trouble:
        parts.append(f": {seen.trouble}")
    if screen.paused:
        parts += ["  ", Text(" paused ", style="black on yellow")]
    return Text.assemble(*parts, overflow="ellipsis", no_wrap=True)


def _blocked(sample: Sample) -> RenderableType:
    place = f" at {sample.blocked_at}" if sample.blocked_at else ""
    return Text(f" EVENT LOOP BLOCKED for {sample.point.blocked:.1f} s{place} ", style="bold white on red")


def _now(sample: Sample, width: int) -> RenderableType:
    point = sample.point
    lag = point.blocked or point.lag
    burn = max((one.burn for one in sample.objectives if one.burn is not None), default=None)
    figures = [
        ("requests", f"{_count(point.rate)}/s", False),
        ("errors", f"{_count(point.errors)}/s", point.errors > 0),
        ("in flight", _count(point.active), False),
        ("p50", _time(point.p50), False),
        ("p90", _time(point.p90), False),
        ("p99", _time(point.p99), False),
        ("burn", _NOTHING if burn is None else f"{_count(burn)}x", burn is not None and burn > 1),
        ("lag", _time(lag), lag is not None and lag > _WORST_LAG),
        ("CPU", f"{point.cpu:.0%}", False),
        ("memory", f"{point.memory / 2**20:,.0f} MiB", False),
        ("GC", f"{point.collecting:.1%}", False),
    ]
    return _wrapped(figures, width)


def _wrapped(figures: Iterable[tuple[str, str, bool]], width: int) -> Text:
    """Return figures in lines, none of which parts a figure from its label."""
    text, taken = Text(), 0
    for label, value, wrong in figures:
        needed = len(label) + len(value) + 3
        if taken and taken + needed - 2 > width:
            text.append("\n")
            taken = 0
        text.append(f"{label} ", style="dim").append(value, style="bold red" if wrong else "bold").append("  ")
        taken += needed
    return text


def _courses(points: Sequence[Point], width: int) -> RenderableType:
    """Return the last seconds of three figures, one block a second."""
    room = max(8, min(60, (width - 34) // 3))
    grid = Table.grid(padding=(0, 2, 0, 0))
    cells = []
    for label, values in (
        ("requests", [point.rate for point in points]),
        ("p99", [point.p99 for point in points]),
        ("lag", [max(point.lag or 0.0, point.blocked) for point in points]),
    ):
        cells.append(Text.assemble((f"{label} ", "dim"), (spark(values[-room:]), "cyan")))
    grid.add_row(*cells)
    return grid


def spark(values: Sequence[float | None]) -> str:
    """Return values as blocks from zero to the highest; a blank where there is none."""
    most = max((value for value in values if value is not None), default=0.0)
    top = len(_BLOCKS) - 1
    return "".join(" " if value is None else _BLOCKS[round(value / most * top) if most else 0] for value in values)


# ---- where the time goes


def _where(shares: Sequence[Share], screen: Screen) -> RenderableType | None:
    if not shares:
        return None
    room = screen.width // 2 - 4 if screen.width >= _WIDE else screen.width
    bar = max(10, room - 40)
    grid = Table.grid(padding=(0, 1, 0, 0))
    for number, share in enumerate(shares):
        name = share.endpoint or "(no route)" if number else "all requests"
        whole = sum(share.kinds.values())
        grid.add_row(_cut(name, 26), _bar(share.kinds, whole, bar, screen), Text(_time(whole), justify="right"))
    legend = _legend(shares[0].kinds, room, screen)
    return Group(_title("where the time goes", "recorded requests, last 10 s"), grid, legend)


def _legend(kinds: dict[str, float], room: int, screen: Screen) -> Text:
    """Return the kinds with their shares, from one per cent on, in lines that part none from its mark."""
    whole = sum(kinds.values())
    legend, taken = Text(), 0
    for kind, seconds in kinds.items():
        if seconds < whole / 100:
            continue
        share = f"{seconds / whole:.0%}" if whole else "0%"
        needed = len(kind) + len(share) + 5
        if taken and taken + needed - 2 > room:
            legend.append("\n")
            taken = 0
        legend.append(_mark(kind, screen), style=KIND_STYLES.get(kind, "")).append(f" {kind} ")
        legend.append(share, style="bold").append("  ")
        taken += needed
    return legend


def _bar(kinds: dict[str, float], whole: float, width: int, screen: Screen) -> Text:
    """Return shares as a bar of exactly `width` cells."""
    bar, spent, filled = Text(), 0.0, 0
    for kind, seconds in kinds.items():
        spent += seconds
        until = round(spent / whole * width) if whole else width
        bar.append(_mark(kind, screen) * (until - filled), style=KIND_STYLES.get(kind, ""))
        filled = until
    return bar


def _mark(kind: str, screen: Screen) -> str:
    if screen.colours:
        return _FULL
    return KIND_MARKS.get(kind, KIND_MARKS["unexplained"])


def _sites(sample: Sample) -> RenderableType | None:
    if not sample.sites:
        return None
    table = _table("what blocked the loop", "times", "in all", "last")
    for one in sample.sites[:6]:
        ago = None if one.last is None else sample.point.at - one.last
        last = "before" if ago is None else f"{_long(ago)} ago"
        row = _cut(one.site.rpartition("/")[2], 40), _count(one.count), _time(one.seconds)
        table.add_row(*row, _flagged(last, when=ago is not None and ago < 10))
    return table


# ---- tables


def _routes(sample: Sample, screen: Screen) -> RenderableType:
    narrow = screen.width < _NARROW
    rows = sorted(sample.routes, key=_SORT_KEYS[screen.sort], reverse=True)
    shown = ("a second", "p99") if narrow else ("a second", "failed", "p50", "p90", "p99", "promised", "in flight")
    heads = ("route", *[f"{head} ↓" if head == screen.sort else head for head in shown])
    table = _table(*heads)
    for row in rows:
        name = _cut(row.name, max(20, screen.width - (30 if narrow else 74)))
        late = _flagged(_time(row.p99), when=0.0 < row.threshold < (row.p99 or 0.0))
        if narrow:
            table.add_row(name, _count(row.rate), late)
            continue
        promised = Text(f"{_exact(row.threshold)}" if row.threshold else "", style="dim")
        failed = _flagged(_count(row.failed), when=row.failed > 0)
        table.add_row(name, _count(row.rate), failed, _time(row.p50), _time(row.p90), late, promised, _count(row.busy))
    if not rows:
        table.add_row(Text("no request has ended in the last 10 s", style="dim"), *[""] * (len(heads) - 1))
    if sample.routes_more:
        table.add_row(Text(f"and {sample.routes_more} more", style="dim"), *[""] * (len(heads) - 1))
    return table


def _objectives(sample: Sample) -> RenderableType | None:
    if not sample.objectives:
        return None
    table = _table("objective, last 5 min", "promised", "bad", "burn")
    for one in sample.objectives:
        promised = f"{one.target * 100:g} %" + (f" in {_exact(one.threshold)}" if one.threshold else "")
        burn = _NOTHING if one.burn is None else f"{_count(one.burn)}x"
        bad = f"{_count(one.bad)} of {_count(one.events)}"
        table.add_row(_cut(f"{one.name} ({one.of})", 44), promised, bad, _flagged(burn, when=(one.burn or 0.0) > 1))
    return table


def _checks(sample: Sample) -> RenderableType | None:
    wrong = [check for check in sample.checks if not check.ok]
    open_breakers = [one for one in sample.dependencies if one.state != "closed"]
    if not wrong and not open_breakers:
        return None
    table = _table("not well", "why")
    for check in wrong:
        table.add_row(Text(check.name, style="bold red"), check.reason)
    for breaker in open_breakers:
        table.add_row(
            Text(f"breaker {breaker.name}", style="bold red"), f"{breaker.state}, {_count(breaker.refused)}/s refused"
        )
    return table


def _caches(sample: Sample) -> RenderableType | None:
    if not sample.caches:
        return None
    table = _table("cache and region", "lookups/s", "hits", "loads/s", "failed", "load p99")
    for one in sample.caches[:8]:
        hits = _NOTHING if one.hit is None else f"{one.hit:.1%}"
        failed = _flagged(_count(one.failed), when=one.failed > 0)
        table.add_row(_cut(one.name, 32), _count(one.rate), hits, _count(one.loads), failed, _time(one.p99))
    return table


def _pools(sample: Sample) -> RenderableType | None:
    if not sample.pools:
        return None
    table = _table("pool", "in use", "waiting")
    for one in sample.pools[:8]:
        waiting = _flagged(_count(one.waiting), when=one.waiting > 0)
        table.add_row(one.name, f"{_count(one.used)} of {_count(one.limit)}", waiting)
    return table


def _calls(title: str, rows: Sequence[Timed]) -> RenderableType | None:
    if not rows:
        return None
    table = _table(title, "a second", "failed", "p50", "p99")
    for row in rows[:8]:
        failed = _flagged(_count(row.failed), when=row.failed > 0)
        table.add_row(_cut(row.name, 40), _count(row.rate), failed, _time(row.p50), _time(row.p99))
    return table


def _consumers(sample: Sample) -> RenderableType | None:
    if not sample.consumers:
        return None
    table = _table("handled", "a second", "failed", "p99", "waiting", "dead")
    for row in sample.consumers[:8]:
        failed = _flagged(_count(row.failed), when=row.failed > 0)
        waiting = _NOTHING if row.waiting is None else _count(row.waiting)
        dead = _flagged(_NOTHING if row.dead is None else _count(row.dead), when=bool(row.dead))
        table.add_row(_cut(row.name, 32), _count(row.rate), failed, _time(row.p99), waiting, dead)
    return table


# ---- parts


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True, overflow="ellipsis")
    return table


def _title(title: str, small: str) -> Text:
    return Text.assemble((title, "bold"), ("  " + small, "dim"))


def _keys(screen: Screen) -> Text:
    keys = [("q", "quit"), ("p", "go on" if screen.paused else "pause"), ("s", f"sort: {screen.sort}")]
    if len(screen.processes) > 1:
        keys.append(("tab", "next process"))
    text = Text(overflow="ellipsis", no_wrap=True)
    for key, meaning in keys:
        text.append(f" {key} ", style="reverse").append(f" {meaning}   ")
    return text


def _flagged(text: str, *, when: bool) -> Text:
    return Text(text, style="bold red" if when else "")


def _cut(text: str, width: int) -> Text:
    return Text(text if len(text) <= width else f"{text[: width - 1]}…")


def _time(seconds: float | None) -> str:
    return _NOTHING if seconds is None else format_duration(seconds) if seconds else "0 ms"


def _exact(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1.0 else f"{seconds * 1e3:g} ms"


def _count(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 9.95 else f"{value:.2f}".rstrip("0").rstrip(".")


def _long(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
