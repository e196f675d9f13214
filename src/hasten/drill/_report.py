"""What drills have found, for people: each promise with the number asked and the number measured."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hasten.drill._result import DrillResult, Measure

_DIGITS = 3
_LARGE = 1000


def print_result(result: DrillResult, console: Console) -> None:
    """Print one drill: its name, what it does, its promises."""
    console.print()
    console.print(Text.assemble((result.drill, "bold"), f"  {result.about}"), soft_wrap=True)
    if result.impossible:
        console.print(Text.assemble("  ", ("-", "yellow"), f" not run: {result.impossible}"), soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(ratio=1)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    for measure in result.measures:
        table.add_row(*_row(measure))
    console.print(table)


def _row(measure: Measure) -> tuple[Text, str, str, Text, str]:
    mark, style = ("✓", "green") if measure.kept else ("✗", "bold red")
    sign = "≥" if measure.at_least else "≤"
    beside = ""
    if measure.beside_measured is not None:
        beside = f"{measure.beside} {_figure(measure.beside_measured, measure.unit)}"
    figure = Text(_figure(measure.measured, measure.unit), style=style)
    return (
        Text(f"  {mark}", style=style),
        measure.promise,
        f"{sign} {_figure(measure.asked, measure.unit)}",
        figure,
        beside,
    )


def _figure(value: float, unit: str) -> str:
    if value == math.inf:
        return "never"
    text = f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.{_DIGITS}g}"
    return f"{text} {unit}".rstrip()


def summary(results: Sequence[DrillResult]) -> str:
    """Return one line: how many promises hold, and which drills had one that does not."""
    measures = [measure for result in results for measure in result.measures]
    broken = [result.drill for result in results if not result.kept]
    text = f"{sum(measure.kept for measure in measures)} of {len(measures)} promises hold"
    if broken:
        text += f"; not those of {', '.join(broken)}"
    not_run = [result.drill for result in results if result.impossible]
    return text + (f"; not run: {', '.join(not_run)}" if not_run else "")
