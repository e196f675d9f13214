"""What drills have found, for people: each promise with the number asked and the number measured."""

import math
from collections.abc import Sequence

from rich.console import Console
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
    for measure in result.measures:
        mark, style = ("✓", "green") if measure.kept else ("✗", "bold red")
        console.print(Text.assemble("  ", (mark, style), f" {measure.promise}"), soft_wrap=True)
        console.print(Text.assemble("      ", (_figure(measure.measured, measure.unit), style), _bound(measure)))


def _bound(measure: Measure) -> str:
    """Return what was asked, and what was measured beside it."""
    text = f", asked {'≥' if measure.at_least else '≤'} {_figure(measure.asked, measure.unit)}"
    if measure.beside_measured is None:
        return text
    return f"{text}; {measure.beside} {_figure(measure.beside_measured, measure.unit)}"


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
